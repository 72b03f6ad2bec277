package sdktest

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3/option"

	watermaster "github.com/watermaster-project/watermaster/clients/go"
	"github.com/watermaster-project/watermaster/clients/go/internal/process"
)

// A grant is followed to the account that it names, with the key of that account; what fails
// there is tried at another.
func TestTargetsAreFollowed(t *testing.T) {
	one := must[*process.Process](t)(process.Provide("--latency", "1ms", "--rate", "0", "--requests", "1"))
	two := must[*process.Process](t)(process.Provide("--latency", "1ms", "--rate", "0"))
	t.Cleanup(one.Kill)
	t.Cleanup(two.Kill)
	s := own(t, config(one.Address, two.Address))
	w := newWorker(t, s.Address, "127.0.0.1:1", watermaster.Options{
		Account: "elsewhere", Route: "both", Keys: map[string]string{"at0": "sk-zero", "at1": "sk-one"},
	})
	for range 3 { // the first provider takes one call, and says 429 to the next
		out, err := w.openai.Chat.Completions.New(t.Context(), chat("any"), option.WithHeader("x-organization", "kept"), option.WithOrganization("org-own"))
		if err != nil {
			t.Fatal(wordsOf(err))
		}
		if !strings.HasPrefix(out.Model, "at") {
			t.Errorf("model %q", out.Model)
		}
	}
	keys := map[string]string{one.Address: "Bearer sk-zero", two.Address: "Bearer sk-one"}
	seen := map[string]int{}
	for _, req := range w.wire.sent() {
		seen[req.URL.Host]++
		h := req.Header
		if h.Get("Authorization") != keys[req.URL.Host] || h.Get("Openai-Organization") != "" || h.Get("X-Organization") != "kept" {
			t.Errorf("%s: %v", req.URL.Host, h)
		}
		if req.URL.Path != "/v1/chat/completions" {
			t.Errorf("path %s", req.URL.Path)
		}
	}
	if seen[one.Address] == 0 || seen[two.Address] == 0 {
		t.Errorf("calls: %v", seen)
	}
	w.idle(t, "at0")
	w.idle(t, "at1")
}

// What is said to the client stays with it; the prompt and the key stay with the provider.
func TestNothingLeaks(t *testing.T) {
	toService, toProvider := newTap(t, service.Address), newTap(t, provider.Address)
	w := newWorker(t, toService.address, toProvider.address, watermaster.Options{Account: "main", Retries: watermaster.NoRetries})
	claude := newWorker(t, toService.address, toProvider.address, watermaster.Options{Account: "claude", Retries: watermaster.NoRetries})
	const prompt = "marker-of-the-prompt"
	header := option.WithHeader
	said := []option.RequestOption{
		header("X-Watermaster-Priority-Class", "standard"), header("X-Watermaster-Request-Id", "id-1"), header("X-Watermaster-Max-Wait", "9"),
		header("X-Watermaster-Affinity-Key", "talk"), header("X-Watermaster-Min-Quality", "0"), header("X-Watermaster-Project", "tests"),
		header("x-watermaster-of-tomorrow", "1"), option.WithMaxRetries(0),
	}
	readChat(t, w, chat("m", prompt), said...)
	for _, status := range []string{"400", "401", "500"} {
		_, err := w.openai.Chat.Completions.New(t.Context(), chat("m", prompt), append(said, header("X-Standin-Status", status))...)
		statusOf(t, err)
	}
	if _, err := claude.claude.Messages.New(t.Context(), message(prompt)); err != nil {
		t.Fatal(err)
	}
	w.idle(t, "main")
	claude.idle(t, "claude")
	atProvider, atService := toProvider.seen(), toService.seen()
	for _, marker := range []string{prompt, key} {
		if !strings.Contains(atProvider, marker) {
			t.Errorf("%q did not reach the provider: this test sees nothing", marker)
		}
		if strings.Contains(atService, marker) {
			t.Errorf("%q reached the service", marker)
		}
	}
	if !strings.Contains(atService, "id-1") {
		t.Error("the id of the request did not reach the service: this test sees nothing")
	}
	if strings.Contains(strings.ToLower(atProvider), "x-watermaster") {
		t.Error("a header for us reached the provider")
	}
}

// The request that the SDK made stays as it was.
func TestRequestIsNotChanged(t *testing.T) {
	w := newWorker(t, service.Address, "", watermaster.Options{Account: "main", Route: "small"})
	const body = `{"model":"asked","max_tokens":1.2e1,"seed":12345678901234567890,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+provider.Address+"/v1/chat/completions", strings.NewReader(body)))
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("X-Watermaster-Max-Wait", "3")
	before, url := req.Header.Clone(), req.URL.String()
	resp := must[*http.Response](t)(w.client.Do(req))
	resp.Body.Close()
	if len(req.Header) != len(before) || req.URL.String() != url || req.ContentLength != int64(len(body)) {
		t.Errorf("became %v %v", req.URL, req.Header)
	}
	sent := w.wire.sent()[0]
	copied := must[io.ReadCloser](t)(sent.GetBody())
	again := must[[]byte](t)(io.ReadAll(copied))
	const want = `{"stream_options":{"include_usage":true},"model":"m","max_tokens":1.2e1,"seed":12345678901234567890,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	if string(again) != want {
		t.Errorf("sent %s", again)
	}
}
