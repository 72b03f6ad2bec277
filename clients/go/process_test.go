package watermaster

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// binary is the service's program: $WATERMASTER, else the repository's .bin/watermaster, which is
// built where it is missing.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("WATERMASTER"); path != "" {
		return path, nil
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, ".bin", "watermaster")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	build := exec.Command("go", "build", "-o", path, "./server/cmd/watermaster")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// process is a program of the service that runs until it is killed, at the latest when the test ends.
type process struct {
	address string
	cmd     *exec.Cmd
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// start runs the service's program and waits until it prints an address, the first group of pattern.
func start(t *testing.T, pattern string, args ...string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd}
	t.Cleanup(p.kill)
	found, ended := make(chan string, 1), make(chan string, 1)
	go func() {
		printed := regexp.MustCompile(pattern)
		var lines []string
		for scanner := bufio.NewScanner(out); scanner.Scan(); { // to the end, so that it never waits for a reader
			if m := printed.FindStringSubmatch(scanner.Text()); m != nil {
				found <- m[1]
			} else if len(lines) < 20 {
				lines = append(lines, scanner.Text())
			}
		}
		ended <- strings.Join(lines, "\n")
	}()
	select {
	case p.address = <-found:
	case printed := <-ended:
		t.Fatalf("%v ended: %s", args, printed)
	case <-time.After(20 * time.Second):
		t.Fatalf("%v serves nothing", args)
	}
	return p
}

// serve runs `watermaster serve` at an address, "127.0.0.1:0" for any.
func serve(t *testing.T, config, address string) *process {
	t.Helper()
	return start(t, `msg=serving .* grpc=(\S+)`, "serve", "--config", config, "--grpc", address, "--http", "")
}
