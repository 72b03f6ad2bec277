package envoy

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const chatBody = `{"model":"gpt-5","max_tokens":20,"messages":[{"role":"user","content":"hello"}]}`

// hourly gives the flag for the example's limits, by the hour: a test that is slow meets the same.
func hourly(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("limits", "gateway.yaml"))
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "gateway.yaml"), []byte(strings.ReplaceAll(string(text), "unit: second", "unit: hour")), 0o600))
	return "--envoy-limits=" + dir
}

// TestPlain: 429 where a limit of the directory is over, and only for whom it is.
func TestPlain(t *testing.T) {
	heavy(t)
	s, p := startService(t, hourly(t)), startProvider(t)
	g := startGateway(t, "plain.yaml", s.grpc, p)
	status := func(user string) int {
		a, _, err := g.post(t.Context(), chatPath, chatBody, "x-user", user)
		must(t, err)
		return a.StatusCode
	}
	var got []int
	for range 4 { // of which 3 pass
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
	for attempt := range 5 {
		user := fmt.Sprint("ann", attempt)
		ask := func() *http.Response {
			a, _, err := g.post(t.Context(), chatPath, chatBody, "x-user", user)
			must(t, err)
			return a
		}
		start := time.Now()
		passed := []*http.Response{ask(), ask(), ask()}
		refused := ask()
		if time.Since(start) > 800*time.Millisecond { // a second has passed, or nearly
			continue
		}
		told := time.Now()
		rest(time.Until(start.Add(900 * time.Millisecond)))
		early := ask()
		tooLate := time.Since(start) >= time.Second
		rest(time.Until(told.Add(time.Second)))
		late := ask()

		for i, a := range passed {
			left := strconv.Itoa(2 - i)
			for name, want := range map[string]string{
				"X-RateLimit-Limit": "3, 600;w=60, 3;w=1", "X-RateLimit-Remaining": left, "Retry-After": "",
				"RateLimit-Limit": "3", "RateLimit-Remaining": left, // the service's own
			} {
				if got := a.Header.Get(name); a.StatusCode != 200 || got != want {
					t.Errorf("call %d: status %d, %s is %q, want 200 and %q", i, a.StatusCode, name, got, want)
				}
			}
		}
		for name, want := range map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1", "Retry-After": "1"} {
			if got := refused.Header.Get(name); refused.StatusCode != 429 || got != want {
				t.Errorf("the fourth call: status %d, %s is %q, want 429 and %q", refused.StatusCode, name, got, want)
			}
		}
		if early.StatusCode != 429 && !tooLate {
			t.Errorf("a moment before the first one is a second old: status %d, want 429", early.StatusCode)
		}
		if late.StatusCode != 200 {
			t.Errorf("after Retry-After: status %d, want 200", late.StatusCode)
		}
		return
	}
	t.Skip("this machine is too slow for four calls in a second")
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
		s, p := startService(t, append(row.args, hourly(t))...), startProvider(t)
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
