// Package process runs the service and its stand-in for a provider as processes, for the tests of
// this module and of the one with the SDKs.
package process

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// A Process is a program of the service that runs until it is killed.
type Process struct {
	Address string // host:port, where it serves
	cmd     *exec.Cmd
}

// Kill ends it as kill -9 does.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// Serve runs `watermaster serve` at an address, "127.0.0.1:0" for any.
func Serve(config, address string) (*Process, error) {
	return start(`msg=serving .* grpc=(\S+)`, "serve", "--config", config, "--grpc", address, "--http", "")
}

// Provide runs `watermaster provider` with more flags.
func Provide(flags ...string) (*Process, error) {
	return start(`serves at http://(\S+)`, append([]string{"provider", "--listen", "127.0.0.1:0"}, flags...)...)
}

// binary is the program: $WATERMASTER, else the repository's .bin/watermaster, which is built where
// it is missing.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("WATERMASTER"); path != "" {
		return path, nil
	}
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "server", "cmd", "watermaster")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			return "", errors.New("these tests run within a clone of the repository, or name the service's program in $WATERMASTER")
		}
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

// start runs the program and waits until it prints an address, the first group of pattern.
func start(pattern string, args ...string) (*Process, error) {
	path, err := binary()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(path, args...)}
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
	case p.Address = <-found:
		return p, nil
	case printed := <-ended:
		return nil, fmt.Errorf("%v ended: %s", args, printed)
	case <-time.After(20 * time.Second):
		p.Kill()
		return nil, fmt.Errorf("%v serves nothing", args)
	}
}
