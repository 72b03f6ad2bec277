package envoy

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestFleet: workers that acquire and callers of Envoy draw on one account at the same time, and ask
// for more than it has. The provider has nothing to refuse, its quota is used, and both get some.
func TestFleet(t *testing.T) {
	heavy(t)
	const seconds = 12
	s := startService(t, configure(t, "120k/min", "16000/4s", "60k/min", "8000/4s", "600/min", "400/4s"))
	providers := []string{
		startProvider(t, "--shape", "openai", "--window", "4s", "--requests", "400", "--tokens", "16000", "--latency", "30ms"),
		startProvider(t, "--shape", "anthropic", "--window", "4s", "--requests", "400", "--input-tokens", "16000", "--output-tokens", "8000", "--latency", "30ms"),
	}
	g := startGateway(t, "tokens.yaml", s.grpc, providers...)
	text := strings.Repeat("word ", 40) // 50 tokens
	forms := []struct{ account, model, path, body string }{
		{"openai", "gpt-5", chatPath, `{"model":"gpt-5","max_tokens":40,"stream":%t,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"` + text + `"}]}`},
		{"anthropic", "claude-sonnet-5", messagesPath, `{"model":"claude-sonnet-5","max_tokens":40,"stream":%t,"messages":[{"role":"user","content":"` + text + `"}]}`},
	}
	over, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
	defer cancel()
	var all sync.WaitGroup
	var byWorkers, byEnvoy, refused [2]atomic.Int64
	for i, f := range forms {
		direct := &gateway{url: providers[i]}
		for n := range 8 {
			all.Go(func() { // a worker
				for k := 0; over.Err() == nil; k++ {
					granted, err := s.acquire(t, fmt.Sprint("worker ", i, n, k), f.account, f.model, 50, 40, time.Second)
					if err != nil || granted == nil {
						if err != nil && over.Err() == nil {
							t.Errorf("acquire: %v", err)
						}
						continue
					}
					a, said, err := direct.post(t.Context(), f.path, fmt.Sprintf(f.body, false), "x-standin-output", "30")
					if err != nil || a.StatusCode != http.StatusOK {
						t.Errorf("a worker got %v %v %s", err, a, said)
					}
					if err := s.release(t, granted.LeaseId, 50, 30); err != nil {
						t.Errorf("release: %v", err)
					}
					byWorkers[i].Add(1)
				}
			})
			all.Go(func() { // a caller of Envoy, who knows nothing
				for over.Err() == nil {
					a, said, err := g.post(t.Context(), f.path, fmt.Sprintf(f.body, n%2 == 0), "x-standin-output", "30")
					switch {
					case err != nil:
						t.Errorf("a caller got %v", err)
					case a.StatusCode == http.StatusOK:
						byEnvoy[i].Add(1)
					case a.StatusCode == http.StatusTooManyRequests && a.Header.Get("X-Envoy-Ratelimited") != "":
						refused[i].Add(1)
						rest(50 * time.Millisecond) // sooner than it is told, to be in the way
					default:
						t.Errorf("a caller got %d %v %s", a.StatusCode, a.Header, said)
					}
				}
			})
		}
	}
	all.Wait()
	for i, p := range providers {
		r := reportOf(t, p)
		use := 0.0
		for _, l := range r.Limits {
			use = max(use, l.Use)
		}
		t.Logf("%s: %d calls of workers, %d through Envoy, which refused %d; the fullest limit was used to %.0f %%", forms[i].account,
			byWorkers[i].Load(), byEnvoy[i].Load(), refused[i].Load(), use*100)
		if r.Refused != 0 || r.Calls != byWorkers[i].Load()+byEnvoy[i].Load() {
			t.Errorf("%s: %d of %d calls were refused by the provider, want none", forms[i].account, r.Refused, r.Calls)
		}
		if use < 0.5 {
			t.Errorf("%s: %.0f %% of the quota was used, want half of it and more", forms[i].account, use*100)
		}
		if byWorkers[i].Load() == 0 || byEnvoy[i].Load() == 0 || refused[i].Load() == 0 {
			t.Errorf("%s: workers sent %d calls, and Envoy %d and refused %d, want some of each", forms[i].account, byWorkers[i].Load(), byEnvoy[i].Load(), refused[i].Load())
		}
	}
}
