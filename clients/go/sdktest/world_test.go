package sdktest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	watermaster "github.com/watermaster-project/watermaster/clients/go"
	"github.com/watermaster-project/watermaster/clients/go/internal/process"
)

// key is what the SDKs are given as the provider's key. It must never reach the service.
const key = "sk-0marker0of0the0key0"

// The service and the provider of all tests that need none of their own.
var service, provider *process.Process

// statuses are those that a provider may fail with; each has an account, since a failure
// may close one.
var statuses = []int{400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503, 529}

func config(providers ...string) string {
	var b strings.Builder
	b.WriteString("cold_start: trust\norganizations:\n  acme:\n    accounts:\n")
	account := func(name, preset, attributes, limits string) {
		fmt.Fprintf(&b, "      %s: {provider: %s, attributes: {%s}, pools: {all: {models: [%s], limits: {%s}}}}\n", name, preset, attributes,
			map[bool]string{true: "m, claude-m", false: name + "-m"}[name == "main" || name == "claude"], limits)
	}
	const wide = "requests: 1000000/min, tokens: 1000M/min, concurrency: 1000"
	account("main", "openai", "", wide)
	account("claude", "anthropic", "", wide)
	account("narrow", "openai", "", "concurrency: 1")
	account("small", "openai", "", "tokens: 500/min")
	for _, status := range statuses {
		account(fmt.Sprint("s", status), "openai", "", wide)
	}
	for i, address := range providers {
		account(fmt.Sprint("at", i), "openai", `base_url: "http://`+address+`/v1"`, wide)
	}
	b.WriteString("    projects:\n      \"*\": {weight: 1}\n    routes:\n      small: {targets: [{account: main, model: m}]}\n")
	if len(providers) == 2 {
		b.WriteString("      both: {targets: [{account: at0, model: at0-m}, {account: at1, model: at1-m}]}\n")
	}
	return b.String()
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "watermaster-sdk-*")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "config.yaml")
		if err = os.WriteFile(file, []byte(config()), 0o600); err == nil {
			if service, err = process.Serve(file, "127.0.0.1:0"); err == nil {
				defer service.Kill()
				if provider, err = process.Provide("--latency", "1ms", "--rate", "0", "--output", "12"); err == nil {
					defer provider.Kill()
					return m.Run()
				}
			}
		}
		fmt.Fprintln(os.Stderr, err)
		return 1
	}())
}

// own starts a service of a test's own.
func own(t *testing.T, config string) *process.Process {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := must[*process.Process](t)(process.Serve(file, "127.0.0.1:0"))
	t.Cleanup(p.Kill)
	return p
}

// worker is what a program has that calls a provider.
type worker struct {
	limiter *watermaster.Limiter
	wire    *wire
	client  *http.Client
	openai  openai.Client
	claude  anthropic.Client
}

// wire notes what goes to providers, below the client.
type wire struct {
	mu    sync.Mutex
	calls []*http.Request
	then  func() // called when a request has been written
}

// onSent calls f when the next request has reached the connection.
func (w *wire) onSent(f func()) { w.then = f }

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.calls = append(w.calls, req)
	w.mu.Unlock()
	if w.then != nil {
		ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { w.then() }})
		req = req.WithContext(ctx)
	}
	return http.DefaultTransport.RoundTrip(req)
}

func (w *wire) sent() []*http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*http.Request(nil), w.calls...)
}

// newWorker has both SDKs, at the provider of all tests unless base says another.
func newWorker(t *testing.T, address, base string, o watermaster.Options) *worker {
	t.Helper()
	o.Organization, o.Project = "acme", "tests"
	if base == "" {
		base = provider.Address
	}
	w := &worker{limiter: must[*watermaster.Limiter](t)(watermaster.New(address, o)), wire: &wire{}}
	t.Cleanup(func() { w.limiter.Close() })
	w.client = &http.Client{Transport: watermaster.NewTransport(w.limiter, w.wire)}
	w.openai = openai.NewClient(option.WithHTTPClient(w.client), option.WithAPIKey(key), option.WithBaseURL("http://"+base+"/v1"))
	w.claude = anthropic.NewClient(anthropicoption.WithHTTPClient(w.client), anthropicoption.WithAPIKey(key), anthropicoption.WithBaseURL("http://"+base))
	return w
}

// idle waits until nothing of an account is held any more.
func (w *worker) idle(t *testing.T, account string) {
	t.Helper()
	var held int64
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		headroom, err := w.limiter.Headroom(context.Background(), watermaster.Scope{Account: account})
		if err != nil {
			t.Fatal(err)
		}
		held = 0
		found := false
		for _, l := range headroom.GetLimits() {
			if l.GetMetric() == "concurrency" {
				held += l.GetHeld() + l.GetReserved()
				found = true
			}
		}
		if !found {
			t.Fatalf("%s has no limit of concurrency", account)
		}
		if held == 0 {
			return
		}
	}
	t.Errorf("%d calls of %s still hold a lease", held, account)
}

func chat(model string, words ...string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: model, MaxCompletionTokens: openai.Int(12),
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(strings.Join(append(words, "How high are the mountains?"), " "))},
	}
}

func message(words ...string) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: "claude-m", MaxTokens: 12,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(strings.Join(append(words, "How deep are the seas?"), " ")))},
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
