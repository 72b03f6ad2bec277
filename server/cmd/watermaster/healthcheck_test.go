package main

import (
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// buildBinary builds the command, for tests that need a process of its own.
func buildBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "watermaster")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// TestHealthcheck: the word, the message and the exit code of a process, as Docker sees them.
func TestHealthcheck(t *testing.T) {
	path := buildBinary(t)
	serving := startLive(t, "127.0.0.1:0")
	draining := startLive(t, "127.0.0.1:0")
	draining.server.Drain()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // connects, and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, tt := range []struct {
		name, args string
		code       int
		word, why  string
	}{
		{"serving", "--address " + serving.address, 0, "SERVING", ""},
		{"a service", "--service watermaster.v1.LimiterService --address " + serving.address, 0, "SERVING", ""},
		{"no such service", "--service nonsense --address " + serving.address, 1, "SERVICE_UNKNOWN", `no service "nonsense"`},
		{"draining", "--address " + draining.address, 1, "NOT_SERVING", draining.address + " is NOT_SERVING: it is ending"},
		{"absent", "--address " + closedPort(t), 1, "UNREACHABLE", "connection refused"},
		{"silent", "--timeout 300ms --address " + silent.Addr().String(), 1, "UNREACHABLE", "no answer within 300ms"},
		{"no address", "--address 8081", 1, "", "HOST:PORT"},
		{"no time", "--timeout 0s", 1, "", "--timeout 0s"},
	} {
		c := exec.CommandContext(t.Context(), path, append([]string{"healthcheck"}, strings.Fields(tt.args)...)...)
		var errs strings.Builder
		c.Stderr = &errs
		out, _ := c.Output()
		if got := strings.TrimSuffix(string(out), "\n"); got != tt.word || c.ProcessState.ExitCode() != tt.code {
			t.Errorf("%s: %q and exit code %d, want %q and %d", tt.name, got, c.ProcessState.ExitCode(), tt.word, tt.code)
		}
		if !strings.Contains(errs.String(), tt.why) || (tt.why == "") != (errs.Len() == 0) {
			t.Errorf("%s: %q, want %q", tt.name, errs.String(), tt.why)
		}
	}
}
