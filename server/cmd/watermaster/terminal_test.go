//go:build unix

package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"
)

// A session is a command in a terminal of its own.
type session struct {
	t       *testing.T
	command *exec.Cmd
	master  *os.File
	slave   *os.File
	before  *term.State
	screen  *screen
	ended   chan error
}

// startSession starts a command on a terminal of 100 × 20.
func startSession(t *testing.T, path string, environment []string, args ...string) *session {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, master: master, slave: slave, screen: newScreen(100, 20), ended: make(chan error, 1)}
	if err := pty.Setsize(slave, &pty.Winsize{Rows: 20, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	if s.before, err = term.GetState(int(slave.Fd())); err != nil {
		t.Fatal(err)
	}
	s.command = exec.CommandContext(t.Context(), path, args...)
	s.command.Stdin, s.command.Stdout, s.command.Stderr = slave, slave, slave
	s.command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	s.command.Env = append(os.Environ(), append([]string{"TERM=xterm-256color", "NO_COLOR="}, environment...)...)
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(s.screen, master)
	}()
	go func() { s.ended <- s.command.Wait() }()
	t.Cleanup(func() {
		_ = s.command.Process.Kill()
		slave.Close()
		master.Close()
		<-read
	})
	return s
}

const patience = 20 * time.Second

// until waits until the screen shows something.
func (s *session) until(what string, seen func(text string) bool) {
	s.t.Helper()
	late := time.After(patience)
	for !seen(s.screen.text()) {
		select {
		case <-s.screen.changed:
		case <-late:
			s.t.Fatalf("the screen never shows %s:\n%s", what, s.screen.text())
		}
	}
}

func (s *session) shows(text string) {
	s.t.Helper()
	s.until(text, func(screen string) bool { return strings.Contains(screen, text) })
}

func (s *session) keys(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.master, keys); err != nil {
		s.t.Fatal(err)
	}
}

// end waits for the command's end, and checks its exit code and that the terminal is as it was.
func (s *session) end(code int) {
	s.t.Helper()
	select {
	case err := <-s.ended:
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			s.t.Fatal(err)
		}
	case <-time.After(patience):
		s.t.Fatalf("it does not end:\n%s", s.screen.text())
	}
	if got := s.command.ProcessState.ExitCode(); got != code {
		s.t.Errorf("exit code %d, want %d:\n%s", got, code, s.screen.text())
	}
	s.until("the terminal as it was", func(string) bool { return s.screen.restored() })
	after, err := term.GetState(int(s.slave.Fd()))
	if err != nil || !reflect.DeepEqual(after, s.before) {
		s.t.Errorf("the terminal's settings are others, %v: %+v, were %+v", err, after, s.before)
	}
	for _, strange := range s.screen.strange {
		s.t.Errorf("this test's terminal does not know %s", strange)
	}
}

// TestTerminal is an operator's look at a server, which restarts meanwhile.
func TestTerminal(t *testing.T) {
	path := buildBinary(t)
	l := startLive(t, "127.0.0.1:0")
	s := startSession(t, path, nil, "top", "--address", l.address, "--interval", "100ms")
	s.shows("pool/openai-main/gpt-5 tokens/min")
	s.shows("by used")
	l.acquire(t)
	s.shows("█")
	s.keys("c")
	s.shows("TOP CONSUMERS")
	s.shows("search ")
	s.keys("n")
	s.shows("by name")
	s.keys("/none")
	s.shows("filter: none")
	s.shows(`no scope or limit has "none" in its name`)
	s.keys("\x1b")
	s.shows("2 limits")
	s.shows("TOP CONSUMERS")

	s.screen.resize(60, 12)
	if err := pty.Setsize(s.slave, &pty.Winsize{Rows: 12, Cols: 60}); err != nil {
		t.Fatal(err)
	}
	s.until("the last line at the bottom", func(text string) bool {
		lines := strings.Split(text, "\n")
		return strings.HasPrefix(lines[11], "q quits") && strings.Contains(lines[2], "SCOPE") && !strings.Contains(text, "LONGEST ")
	})

	l.stop()
	s.shows("reconnecting; as of ")
	again := startLive(t, l.address)
	s.until("the server again", func(text string) bool {
		return !strings.Contains(text, "reconnecting") && strings.Contains(text, "gpt-5")
	})
	again.acquire(t)
	s.shows("█")
	s.keys("q")
	s.end(0)
}

// TestTerminalIsRestored: whatever ends the command, the terminal is as it was.
func TestTerminalIsRestored(t *testing.T) {
	path := buildBinary(t)
	l := startLive(t, "127.0.0.1:0")
	for _, tt := range []struct {
		name string
		end  func(*session)
	}{
		{"ctrl+c", func(s *session) { s.keys("\x03") }},
		{"SIGINT", func(s *session) { _ = s.command.Process.Signal(syscall.SIGINT) }},
		{"SIGTERM", func(s *session) { _ = s.command.Process.Signal(syscall.SIGTERM) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startSession(t, path, nil, "top", "--address", l.address)
			s.shows("pool/openai-main/gpt-5")
			tt.end(s)
			s.end(0)
		})
	}
	t.Run("an error", func(t *testing.T) {
		s := startSession(t, path, nil, "top", "--address", l.address, "--organization", "acne")
		s.shows(`unknown organization "acne"; the nearest is "acme"`)
		s.end(1)
	})
	t.Run("no server", func(t *testing.T) {
		s := startSession(t, path, nil, "top", "--address", closedPort(t))
		s.shows("reconnecting; 127.0.0.1:")
		s.shows("connection refused")
		s.keys("q")
		s.end(0)
	})
}

// TestTerminalPlain: what is asked to be plain is, on a terminal too.
func TestTerminalPlain(t *testing.T) {
	path := buildBinary(t)
	l := startLive(t, "127.0.0.1:0")
	for _, tt := range []struct {
		name        string
		environment []string
		args        []string
	}{
		{"--plain", nil, []string{"--plain"}},
		{"--count", nil, []string{"--count", "1"}},
		{"a terminal that can do nothing", []string{"TERM=dumb"}, nil},
	} {
		s := startSession(t, path, tt.environment, append([]string{"top", "--address", l.address}, tt.args...)...)
		s.shows("pool/openai-main/gpt-5 tokens/min")
		s.end(0)
		if text := s.screen.text(); !strings.HasPrefix(text, "acme ") {
			t.Errorf("%s:\n%s", tt.name, text)
		}
	}
}
