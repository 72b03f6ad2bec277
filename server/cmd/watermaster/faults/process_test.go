package faults

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// A process is a replica that can be killed.
type process struct {
	t       *testing.T
	address string
	args    []string
	cmd     *exec.Cmd
	limiter pb.LimiterServiceClient
	monitor pb.MonitorServiceClient
}

// spawn starts a replica as a process of its own, until the test ends.
func spawn(t *testing.T, configuration, url string) *process {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &process{t: t, address: l.Addr().String()}
	must(t, l.Close())
	path, err := binary()
	must(t, err)
	p.args = []string{path, "serve", "--config", write(t, "config.yaml", configuration), "--grpc", p.address, "--http", "", "--store", url}
	p.begin()
	t.Cleanup(p.kill)
	conn := dial(t, p.address)
	p.limiter, p.monitor = pb.NewLimiterServiceClient(conn), pb.NewMonitorServiceClient(conn)
	return p
}

// begin starts it, again after kill, and returns when it serves.
func (p *process) begin() {
	p.t.Helper()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	out, err := p.cmd.StderrPipe()
	must(p.t, err)
	must(p.t, p.cmd.Start())
	lines := bufio.NewScanner(out)
	var before []string
	for lines.Scan() {
		if strings.Contains(lines.Text(), "msg=serving") {
			said := p.t.Output()
			go func() {
				for lines.Scan() { // so that it never waits to be read
					io.WriteString(said, p.address+" "+lines.Text()+"\n")
				}
			}()
			return
		}
		before = append(before, lines.Text())
	}
	p.t.Fatalf("the replica did not begin:\n%s", strings.Join(before, "\n"))
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have been killed
	_ = p.cmd.Wait()
}

// stop stops it until resume.
func (p *process) stop()   { must(p.t, p.cmd.Process.Signal(syscall.SIGSTOP)) }
func (p *process) resume() { must(p.t, p.cmd.Process.Signal(syscall.SIGCONT)) }

// descriptors counts the open files of a process, or of this one for 0.
func descriptors(t testing.TB, pid string) int {
	t.Helper()
	list, err := os.ReadDir("/proc/" + pid + "/fd")
	if err != nil {
		t.Skipf("this system does not tell open files: %v", err)
	}
	return len(list)
}
