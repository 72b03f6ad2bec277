package standin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/server/standin"
)

// A watcher notes how many calls are in flight when a text is written.
type watcher struct {
	*httptest.ResponseRecorder
	text     string
	inFlight func() int64
	seen     []int64
}

func (w *watcher) Write(b []byte) (int, error) {
	if strings.Contains(string(b), w.text) {
		w.seen = append(w.seen, w.inFlight())
	}
	return w.ResponseRecorder.Write(b)
}

// TestPlaceIsFreeAtTheEnd is for callers that send the next call as soon as they have read
// what ends a stream, before the connection says so.
func TestPlaceIsFreeAtTheEnd(t *testing.T) {
	for _, tt := range []struct{ path, body, during, end string }{
		{"/v1/chat/completions", `{"model":"m","stream":true,"max_tokens":2,"messages":[{"role":"user","content":"x"}]}`, `"role"`, "[DONE]"},
		{"/v1/responses", `{"model":"m","stream":true,"max_output_tokens":2,"input":"x"}`, "response.created", "response.incomplete"},
		{"/v1/messages", `{"model":"m","stream":true,"max_tokens":2,"messages":[{"role":"user","content":"x"}]}`, "message_start", "message_stop"},
	} {
		s, err := standin.New(standin.Options{Provider: provider.Config{
			Limits: []provider.Limit{{Metric: provider.Concurrency, Quota: 1, Shape: provider.Stock}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []struct {
			text string
			want int64
		}{{tt.during, 1}, {tt.end, 0}} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, tt.path, strings.NewReader(tt.body))
			r.Header.Set("Authorization", "Bearer any")
			w := &watcher{httptest.NewRecorder(), at.text, func() int64 { return s.Report().InFlight }, nil}
			s.ServeHTTP(w, r)
			if len(w.seen) != 1 || w.seen[0] != at.want {
				t.Errorf("%s: in flight at %s: got %d, want [%d]", tt.path, at.text, w.seen, at.want)
			}
		}
	}
}

// TestNamedTool calls the tool that is named, not the first.
func TestNamedTool(t *testing.T) {
	a := start(t, standin.Options{})
	for _, tt := range []struct{ path, body string }{
		{"/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"first"}},{"type":"function","function":{"name":"second"}}],"tool_choice":{"type":"function","function":{"name":"second"}}}`},
		{"/v1/responses", `{"model":"m","input":"x","tools":[{"type":"function","name":"first"},{"type":"function","name":"second"}],"tool_choice":{"type":"function","name":"second"}}`},
		{"/v1/messages", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"first"},{"name":"second"}],"tool_choice":{"type":"tool","name":"second"}}`},
	} {
		got := all(t, a.post(tt.path, tt.body))
		if !strings.Contains(got, `"name":"second"`) || strings.Contains(got, `"name":"first"`) {
			t.Errorf("%s: got %s, want a call of second", tt.path, got)
		}
	}
}

// TestFullHouseIsNoRate: a call that finds no place is not told of a limit of requests.
func TestFullHouseIsNoRate(t *testing.T) {
	s, err := standin.New(standin.Options{Provider: provider.Config{
		Limits: []provider.Limit{{Metric: provider.Concurrency, Quota: 1, Shape: provider.Stock}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	send := func(w http.ResponseWriter) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/chat/completions",
			strings.NewReader(`{"model":"m","stream":true,"max_tokens":2,"messages":[{"role":"user","content":"x"}]}`))
		r.Header.Set("Authorization", "Bearer any")
		s.ServeHTTP(w, r)
	}
	second := httptest.NewRecorder()
	send(&watcher{httptest.NewRecorder(), `"role"`, func() int64 { send(second); return 0 }, nil})
	body := second.Body.String()
	if second.Code != http.StatusTooManyRequests || !strings.Contains(body, `"type":"concurrency"`) || !strings.Contains(body, "concurrent requests: Limit 1, Used 1") {
		t.Errorf("got %d: %s", second.Code, body)
	}
	if after := second.Header().Get("Retry-After"); after != "" {
		t.Errorf("it is told to wait %s, which nobody knows", after)
	}
}
