package envoy

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const chatBody = `{"model":"gpt-5","max_tokens":20,"messages":[{"role":"user","content":"hello"}]}`

// TestPlain: 429 where a limit of the directory is over, and only for whom it is.
func TestPlain(t *testing.T) {
	heavy(t)
	s, p := startService(t), startProvider(t)
	g := startGateway(t, "plain.yaml", s.grpc, p)
	status := func(user string) int {
		a, _, err := g.post(t.Context(), chatPath, chatBody, "x-user", user)
		must(t, err)
		return a.StatusCode
	}
	var got []int
	for range 4 { // 3 a second, and this takes less
		got = append(got, status("ann"))
	}
	if got[0] != 200 || got[1] != 200 || got[2] != 200 || got[3] != 429 {
		t.Errorf("ann got %d, want three calls and a refusal", got)
	}
	if got := status("bob"); got != 200 {
		t.Errorf("bob got %d, want 200: ann's use is not his", got)
	}
	if r := reportOf(t, p); r.Calls != 4 {
		t.Errorf("%d calls reached the provider, want 4", r.Calls)
	}
}

// TestHeaders: the headers are true. After Retry-After the same request passes, and a moment before it
// does not.
func TestHeaders(t *testing.T) {
	heavy(t)
	s, p := startService(t, "--envoy-headers"), startProvider(t)
	g := startGateway(t, "headers.yaml", s.grpc, p)
	start := time.Now()
	for i := range 3 {
		a, _, err := g.post(t.Context(), chatPath, chatBody, "x-user", "ann")
		must(t, err)
		if got, want := a.Header.Get("X-Ratelimit-Remaining"), strconv.Itoa(2-i); a.StatusCode != 200 || got != want {
			t.Errorf("call %d: status %d, X-RateLimit-Remaining %q, want %q", i, a.StatusCode, got, want)
		}
		if got := a.Header.Get("X-Ratelimit-Limit"); got != "3, 600;w=60, 3;w=1" {
			t.Errorf("X-RateLimit-Limit is %q, want the tightest limit, and both with their windows", got)
		}
		if got := a.Header.Get("Ratelimit-Remaining"); got != strconv.Itoa(2-i) {
			t.Errorf("the service's own RateLimit-Remaining is %q, want %d", got, 2-i)
		}
		if got := a.Header.Get("Retry-After"); got != "" {
			t.Errorf("Retry-After %q of a call that passed", got)
		}
	}
	a, _, err := g.post(t.Context(), chatPath, chatBody, "x-user", "ann")
	must(t, err)
	if a.StatusCode != 429 || a.Header.Get("X-Ratelimit-Remaining") != "0" || a.Header.Get("X-Ratelimit-Reset") != "1" || a.Header.Get("Retry-After") != "1" {
		t.Fatalf("status %d, headers %v, want 429 and a second to wait", a.StatusCode, a.Header)
	}
	refused := time.Now()
	rest(max(0, time.Until(start.Add(700*time.Millisecond))))
	if b, _, err := g.post(t.Context(), chatPath, chatBody, "x-user", "ann"); err != nil || time.Since(start) < time.Second && b.StatusCode != 429 {
		t.Errorf("%v after the first call: %v, status %d, want 429", time.Since(start), err, b.StatusCode)
	}
	rest(time.Until(refused.Add(time.Second)))
	if a, _, err = g.post(t.Context(), chatPath, chatBody, "x-user", "ann"); err != nil || a.StatusCode != 200 {
		t.Errorf("after Retry-After: %v, status %d, want 200", err, a.StatusCode)
	}
}

// TestShadow: all pass, and what is told is true: where Envoy does not enforce, and where the service lets pass.
func TestShadow(t *testing.T) {
	heavy(t)
	for _, row := range []struct {
		config string
		args   []string
		code   string // under which the service counts what is over
	}{
		{"shadow.yaml", nil, "over_limit"},
		{"headers.yaml", []string{"--envoy-shadow"}, "shadowed"},
	} {
		s, p := startService(t, row.args...), startProvider(t)
		g := startGateway(t, row.config, s.grpc, p)
		var left []string
		for range 5 {
			a, _, err := g.post(t.Context(), chatPath, chatBody, "x-user", "ann")
			must(t, err)
			if a.StatusCode != 200 {
				t.Errorf("%s %v: status %d, want 200", row.config, row.args, a.StatusCode)
			}
			left = append(left, a.Header.Get("X-Ratelimit-Remaining"))
		}
		if got, want := strings.Join(left, " "), "2 1 0 0 0"; got != want {
			t.Errorf("%s %v: remaining %s, want %s", row.config, row.args, got, want)
		}
		counts := regexp.MustCompile(`watermaster_ratelimit_requests_total{[^}]*code="` + row.code + `"[^}]*} 2\n`)
		if page := s.page(t, "/metrics"); !counts.MatchString(page) {
			t.Errorf("%s %v: the service does not count two requests as %s", row.config, row.args, row.code)
		}
	}
}

// page gives what a service says at a path of HTTP.
func (s *service) page(t *testing.T, path string) string {
	t.Helper()
	a, err := http.Get("http://" + s.http + path)
	must(t, err)
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	must(t, err)
	return string(b)
}
