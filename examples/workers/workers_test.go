// Package workers holds programs that call a provider through many a framework, and this
// test, which runs each of them as it is.
package workers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
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
	var said strings.Builder
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if len(found) == 0 {
				said.WriteString(lines.Text() + "\n")
			}
			if m := address.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1:]
			}
		}
	}()
	select {
	case a := <-found:
		return a
	case <-ended:
		t.Fatalf("%v does not say where it serves:\n%s", command, said.String())
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
	if testing.Short() {
		t.Skip("it is about programs that have no race detector")
	}
	binary := filepath.Join(t.TempDir(), "watermaster")
	if out, err := exec.Command("go", "build", "-o", binary, "../../server/cmd/watermaster").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	python, err := filepath.Abs("../../.bin/clients/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	programs := []struct {
		name    string
		command []string
		needs   string // a file that is there once `make clients` has been run
		taken   int    // tokens that somebody else has been granted before
		calls   int    // that reach the provider
		says    []string
	}{
		{"bash", []string{"bash", "acquire.sh", "How deep is the lake?"}, "", 0, 1, []string{" "}},
		{"LangChain", []string{python, "langchain_chat.py"}, python, 0, 4, []string{"plain:", "streamed:", "side by side:"}},
		{"LiteLLM", []string{python, "litellm_chat.py"}, python, 0, 3, []string{"plain:", "streamed:", "asynchronous:"}},
		{"Agents SDK", []string{python, "agents_sdk.py"}, python, 0, 4, []string{"answer:", "streamed:", "with a tool:"}},
		{"batch", []string{python, "batch.py"}, python, 0, 24, []string{"24/24"}},
		{"agent", []string{python, "agent_loop.py"}, python, 0, 2, []string{"after 1 tool calls:"}},
		{"agent under pressure", []string{python, "agent_loop.py"}, python, 172_000, 2, []string{"pressure is HIGH", "at most 1 tool calls", "after 1 tool calls:"}},
		{"Vercel AI SDK", []string{"node", "vercel_ai.mjs"}, "node_modules", 0, 3, []string{"plain:", "streamed:", "urgent:"}},
	}
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
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
			if p.taken > 0 {
				take(t, service[1], p.taken)
			}
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
			others := min(1, p.taken)
			if granted, leases := decided(t, service[1]); granted < p.calls+others || leases > others {
				t.Errorf("%d calls were granted, and %d leases are still out; want at least %d and %d", granted, leases, p.calls+others, others)
			}
		})
	}
}

// take has somebody else be granted so many tokens.
func take(t *testing.T, address string, tokens int) {
	t.Helper()
	body := fmt.Sprintf(`{"request_id": "other", "organization": "acme", "project": "other", "model": "gpt-5", "input_tokens": %d, "max_output_tokens": 0}`, tokens)
	answer, err := http.Post("http://"+address+"/v1/acquire", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); !strings.Contains(string(text), "lease_id") {
		t.Fatalf("not granted: %s", text)
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
