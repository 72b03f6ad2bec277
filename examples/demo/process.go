package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"
)

// A process is one that the demo started, and may kill and start again.
type process struct {
	name, address string // host:port on which it serves
	dir           string // where its output goes
	command       []string
	cmd           *exec.Cmd
	ended         chan struct{}
	up            atomic.Bool
}

// start starts it and returns once it accepts connections.
func (p *process) start(ctx context.Context) error {
	out, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	c := exec.Command(p.command[0], p.command[1:]...) //nolint:gosec // what runs is what the demo is about
	c.Stdout, c.Stderr, c.Dir = out, out, p.dir
	if err := c.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	p.cmd, p.ended = c, ended
	go func() {
		_ = c.Wait() // it is killed, or its log says why
		p.up.Store(false)
		close(ended)
	}()
	for ctx.Err() == nil {
		select {
		case <-ended:
			return fmt.Errorf("%s has ended:\n%s", p.name, p.said())
		case <-time.After(10 * time.Millisecond):
		}
		if c, err := net.DialTimeout("tcp", p.address, time.Second); err == nil {
			p.up.Store(true)
			return c.Close()
		}
	}
	return errors.Join(fmt.Errorf("%s does not serve:\n%s", p.name, p.said()), ctx.Err())
}

// kill ends it as kill -9 does. What it has written stays.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

func (p *process) log() string { return filepath.Join(p.dir, p.name+".log") }

// said gives the end of what it wrote.
func (p *process) said() []byte {
	b, _ := os.ReadFile(p.log())
	lines := bytes.SplitAfter(b, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-15):], nil)
}

// freeAddress gives a free address of the loopback.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
