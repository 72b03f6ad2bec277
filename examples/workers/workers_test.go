// Package workers holds programs that call a provider through many a framework, and this
// test, which runs each of them as it is.
package workers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// serves starts a command and gives what it says of the addresses at which it serves.
func serves(t *testing.T, address *regexp.Regexp, command ...string) []string {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...) //nolint:gosec // a command of this repository
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	found := make(chan []string, 1)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if m := address.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1:]
			}
		}
	}()
	select {
	case a := <-found:
		return a
	case <-time.After(30 * time.Second):
		t.Fatalf("%v does not say where it serves", command)
		return nil
	}
}

// A report is what the provider has seen.
type report struct {
	Accepted int `json:"accepted"`
	Refused  int `json:"refused"`
}

func reported(t *testing.T, provider string) (r report) {
	t.Helper()
	answer, err := http.Get(provider + "/report")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestExamples(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "watermaster")
	if out, err := exec.Command("go", "build", "-o", binary, "../../server/cmd/watermaster").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	python, err := filepath.Abs("../../.bin/clients/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	programs := []struct {
		command []string
		needs   string // a file that is there once `make clients` has been run
		calls   int    // that reach the provider
		says    []string
	}{
		{[]string{"bash", "acquire.sh", "How deep is the lake?"}, "", 1, []string{" "}},
		{[]string{python, "langchain_chat.py"}, python, 4, []string{"plain:", "streamed:", "side by side:"}},
		{[]string{python, "litellm_chat.py"}, python, 3, []string{"plain:", "streamed:", "asynchronous:"}},
		{[]string{python, "agents_sdk.py"}, python, 4, []string{"answer:", "streamed:", "with a tool:"}},
		{[]string{python, "batch.py"}, python, 24, []string{"24/24"}},
		{[]string{python, "agent_loop.py"}, python, 5, []string{"after 4 tool calls:"}},
		{[]string{"node", "vercel_ai.mjs"}, "node_modules", 3, []string{"plain:", "streamed:", "urgent:"}},
	}
	for _, p := range programs {
		t.Run(filepath.Base(p.command[1]), func(t *testing.T) {
			if p.needs != "" {
				if _, err := os.Stat(p.needs); err != nil {
					t.Skipf("there is no %s; make clients installs it", p.needs)
				}
			}
			t.Parallel()
			text, err := os.ReadFile(p.command[1])
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(text, []byte("\n")); n > 60 {
				t.Errorf("%d lines, want at most 60", n)
			}
			provider := serves(t, regexp.MustCompile(`serves at (http://\S+)`), binary, "provider", "--listen", "127.0.0.1:0", "--rate", "0",
				"--requests", "600", "--tokens", "200000", "--concurrency", "20")[0]
			service := serves(t, regexp.MustCompile(`msg=serving .* grpc=(\S+) http=(\S+)`), binary, "serve", "--config", "config.yaml",
				"--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			run := exec.CommandContext(ctx, p.command[0], p.command[1:]...) //nolint:gosec // the examples
			run.Env = append(os.Environ(), "OPENAI_BASE_URL="+provider+"/v1", "OPENAI_API_KEY=any", "WATERMASTER="+service[0], "WATERMASTER_HTTP="+service[1],
				"OPENAI_AGENTS_DISABLE_TRACING=1", "LITELLM_LOCAL_MODEL_COST_MAP=True")
			out, err := run.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, say := range p.says {
				if !strings.Contains(string(out), say) {
					t.Errorf("it does not say %q:\n%s", say, out)
				}
			}
			if r := reported(t, provider); r.Accepted != p.calls || r.Refused > 0 {
				t.Errorf("the provider has seen %+v, want %d calls and none refused\n%s", r, p.calls, out)
			}
			if granted, leases := decided(t, service[1]); granted < p.calls || leases > 0 {
				t.Errorf("%d calls were granted, and %d leases are still out; want at least %d and none", granted, leases, p.calls)
			}
		})
	}
}

// decided tells how many calls the service has granted, and how many leases are in force.
func decided(t *testing.T, address string) (granted, leases int) {
	t.Helper()
	answer, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "} ")
		n := 0
		for _, c := range value {
			if c < '0' || c > '9' {
				break
			}
			n = 10*n + int(c-'0')
		}
		switch {
		case strings.HasPrefix(name, "watermaster_decisions_total{") && strings.Contains(name, `decision="granted"`):
			granted += n
		case strings.HasPrefix(name, "watermaster_leases{"):
			leases += n
		}
	}
	return granted, leases
}
