package main

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestDemo: what the demo promises holds in ten seconds of it as well.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes real time; without -short it runs")
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed: make tools (or apt-get install redis-server) installs it")
	}
	var out strings.Builder
	err := run(t.Context(), &out, "", 60, 2, 10*time.Second)
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{"provider 429s: 0 of ", "kill -9 replica-2", "kill -9 redis", "replica-2 is started again", "worst window", "interactive ", "batch "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() || testing.Verbose() {
		t.Log(strings.ReplaceAll(out.String(), "\r", "\n"))
	}
}

func TestDemoRefuses(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out, "", 10, 1, time.Minute); err == nil || !strings.Contains(err.Error(), "two replicas") {
		t.Errorf("one replica: got %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := run(t.Context(), &out, "", 10, 3, time.Minute); !errors.Is(err, errNoRedis) {
		t.Errorf("without redis-server: got %v, want how to get it", err)
	}
}
