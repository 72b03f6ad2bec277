package sdktest

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
	root, err := filepath.Abs("../../..")
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

// process is a program of the service that runs until it is killed.
type process struct {
	address string
	cmd     *exec.Cmd
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// start runs the program and waits until it prints an address, the first group of pattern.
func start(pattern string, args ...string) (*process, error) {
	path, err := binary()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(path, args...)}
	out, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
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
		return p, nil
	case printed := <-ended:
		return nil, fmt.Errorf("%v ended: %s", args, printed)
	case <-time.After(20 * time.Second):
		p.kill()
		return nil, fmt.Errorf("%v serves nothing", args)
	}
}

func serve(config string) (*process, error) {
	return start(`msg=serving .* grpc=(\S+)`, "serve", "--config", config, "--grpc", "127.0.0.1:0", "--http", "")
}

func provide(args ...string) (*process, error) {
	return start(`serves at http://(\S+)`, append([]string{"provider", "--listen", "127.0.0.1:0"}, args...)...)
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
