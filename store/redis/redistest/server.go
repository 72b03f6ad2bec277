package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// A Server is a redis-server that the test started.
type Server struct {
	Port int
	Dir  string

	t       testing.TB
	args    []string
	env     []string
	command *exec.Cmd
	ended   chan struct{}
}

// Start starts a server with an append-only file, synced every second. args are as on
// redis-server's command line, such as "--maxmemory", "1mb". Without redis-server the test
// is skipped.
func Start(t testing.TB, args ...string) *Server { return start(t, nil, args) }

func start(t testing.TB, env, args []string) *Server {
	t.Helper()
	return launch(t, env, append([]string{
		"--save", "", "--appendonly", "yes", "--appendfsync", "everysec",
		"--maxmemory-policy", "noeviction", "--repl-diskless-sync-delay", "0",
	}, args...))
}

// launch starts redis-server with what every kind of server has, and args.
func launch(t testing.TB, env, args []string) *Server {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed: make tools (or apt-get install redis-server) installs it")
	}
	s := &Server{t: t, Dir: t.TempDir(), Port: FreePort(t), env: env}
	if len(args) > 0 && !strings.HasPrefix(args[0], "--") { // a configuration comes first
		s.args, args = args[:1:1], args[1:]
	}
	s.args = append(append([]string{binary}, s.args...), "--port", fmt.Sprint(s.Port), "--bind", "127.0.0.1",
		"--dir", s.Dir, "--logfile", filepath.Join(s.Dir, "log"))
	s.args = append(s.args, args...)
	s.Restart()
	t.Cleanup(func() {
		s.Continue()
		s.Kill()
	})
	return s
}

// Address gives host:port.
func (s *Server) Address() string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

// URL gives what redis.Open takes.
func (s *Server) URL() string { return "redis://" + s.Address() }

// Restart starts the server again after Kill, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.Launch()
	s.Wait()
}

// Launch starts the server again after Kill, with more arguments from here on.
func (s *Server) Launch(args ...string) {
	s.t.Helper()
	s.args = append(s.args, args...)
	c := exec.Command(s.args[0], s.args[1:]...) //nolint:gosec // what runs is what the test says
	c.Env = append(os.Environ(), s.env...)
	c.SysProcAttr = dieWithUs()
	if err := c.Start(); err != nil {
		s.t.Fatalf("start redis-server: %v", err)
	}
	s.command, s.ended = c, make(chan struct{})
	ended := s.ended
	go func() {
		_ = c.Wait() // it is killed
		close(ended)
	}()
}

// Wait waits until the server answers, with all its data.
func (s *Server) Wait() {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		select {
		case <-s.ended:
			s.t.Fatalf("redis-server has ended:\n%s", s.said())
		default:
		}
		if s.ping() == nil {
			return
		}
	}
	s.t.Fatalf("redis-server does not answer:\n%s", s.said())
}

func (s *Server) said() []byte {
	b, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
	return b
}

func (s *Server) ping() error {
	c, err := net.DialTimeout("tcp", s.Address(), time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	b := make([]byte, 64)
	n, err := c.Read(b)
	if err == nil && !strings.HasPrefix(string(b[:n]), "+PONG") && !strings.HasPrefix(string(b[:n]), "-NOAUTH") {
		err = errors.New(string(b[:n]))
	}
	return err
}

// Written waits until all that was answered is in the append-only file. While the disk takes
// its time to sync, Redis holds back what it appends, for up to 2 s, and answers all the same.
func (s *Server) Written() {
	s.t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: s.Address()})
	defer func() { _ = c.Close() }()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if info, err := c.Info(context.Background(), "persistence").Result(); err == nil && strings.Contains(info, "aof_buffer_length:0\r") {
			return
		}
	}
	s.t.Fatal("the append-only file is not written")
}

// Kill ends the server as kill -9 does. Its files stay.
func (s *Server) Kill() {
	select {
	case <-s.ended: // its number may be another's by now
	default:
		killAll(s.command.Process.Pid)
		<-s.ended
	}
}

// Pause stops the server until Continue; connections stay.
func (s *Server) Pause() { _ = s.command.Process.Signal(syscall.SIGSTOP) }

// Continue undoes Pause.
func (s *Server) Continue() { _ = s.command.Process.Signal(syscall.SIGCONT) }

// FreePort gives a port that is free; in a cluster the one 10,000 above is used as well.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if port < 55000 {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}
