package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"sync"
)

// A process is one that the fleet started.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{} // closed once it has ended and all of its lines were read

	mu   sync.Mutex
	tail []string // the last lines that nobody understood, for errors
}

// start starts a command in a directory. Each line that it writes goes to heard, which
// says whether it understood it.
func start(name, dir string, command []string, heard func(line string) bool) (*process, error) {
	p := &process{name: name, cmd: exec.Command(command[0], command[1:]...), done: make(chan struct{})} //nolint:gosec // commands of this repository
	p.cmd.Dir = dir
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr = p.cmd.Stdout
	p.in = in
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if !heard(lines.Text()) {
				p.mu.Lock()
				p.tail = append(p.tail[max(0, len(p.tail)-20):], lines.Text())
				p.mu.Unlock()
			}
		}
		_ = p.cmd.Wait() // how it ended is for those to judge who read its lines
	}()
	return p, nil
}

// said gives the last lines that were not understood.
func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.tail, "\n")
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// serve starts a command that tells where it serves, and waits until it has.
func serve(ctx context.Context, name string, command []string, address *regexp.Regexp) (*process, string, error) {
	found := make(chan string, 1)
	var once sync.Once
	p, err := start(name, "", command, func(line string) bool {
		if m := address.FindStringSubmatch(line); m != nil {
			once.Do(func() { found <- m[1] })
		}
		return false
	})
	if err != nil {
		return nil, "", err
	}
	select {
	case a := <-found:
		return p, a, nil
	case <-p.done:
		return nil, "", fmt.Errorf("%s has ended:\n%s", name, p.said())
	case <-ctx.Done():
		p.kill()
		return nil, "", errors.Join(ctx.Err(), fmt.Errorf("%s does not serve:\n%s", name, p.said()))
	}
}
