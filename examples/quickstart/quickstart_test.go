package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/server"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/store/memory"
)

// serve serves config.yaml on a port of this machine.
func serve(t *testing.T) (address string) {
	t.Helper()
	cfg, err := config.Load("config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	log := memory.Open(memory.Options{})
	s, err := server.New(t.Context(), server.Options{Config: cfg, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := s.NewGRPC()
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(listener) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.Close()
		log.Close()
	})
	return listener.Addr().String()
}

// TestQuickstart: a fleet that wants more than the quota is served, and the provider has
// nothing to refuse.
func TestQuickstart(t *testing.T) {
	trace := filepath.Join(t.TempDir(), "trace.csv")
	rows := []string{"t_ms,input_tokens,output_tokens"}
	for i := range 50 {
		rows = append(rows, fmt.Sprintf("%d,%d,%d", 100*i, 200+40*i, 1+i%20))
	}
	if err := os.WriteFile(trace, []byte(strings.Join(rows, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(t.Context(), &out, serve(t), trace, "smart", 20, 100, 2500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	_, summary, _ := strings.Cut(out.String(), "\n\n")
	var asked, sent, refused, late, failed int
	if _, err := fmt.Sscanf(summary, "%d asked, %d sent, %d refused with 429, %d granted too late to send, %d errors\n",
		&asked, &sent, &refused, &late, &failed); err != nil {
		t.Fatalf("no summary: %v in\n%s", err, out.String())
	}
	if sent < 10 || asked <= sent || refused != 0 || failed != 0 {
		t.Errorf("%d asked, %d sent, %d refused with 429, %d errors; want 10 and more sent, some left, nothing refused", asked, sent, refused, failed)
	}
	for _, want := range []string{"requests  used", "tokens    used", "interactive ", "429s 0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() || testing.Verbose() {
		t.Log(out.String())
	}
}

func TestQuickstartRefuses(t *testing.T) {
	for _, c := range []struct {
		trace, want string
		speed       float64
	}{
		{"nowhere.csv", "nowhere.csv", 1},
		{"", "--speed", 0},
	} {
		err := run(t.Context(), &strings.Builder{}, "127.0.0.1:1", c.trace, "smart", c.speed, 1, time.Second)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want a word on %s", err, c.want)
		}
	}
}
