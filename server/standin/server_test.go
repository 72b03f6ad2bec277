package standin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/server/policy"
	"github.com/watermaster-project/watermaster/server/standin"
)

// limits are an account's, in windows that the tests do not outlast.
func limits(shape provider.Shape, requests, tokens int64) provider.Config {
	return provider.Config{Charge: provider.Charge{CachedPerMille: 1000}, Limits: []provider.Limit{
		{Metric: provider.Requests, Quota: requests, Window: time.Minute, Shape: shape},
		{Metric: provider.Tokens, Quota: tokens, Window: time.Minute, Shape: shape},
	}}
}

// An account is one that is served.
type account struct {
	t *testing.T
	*standin.Server
	url string
}

func start(t *testing.T, o standin.Options) *account {
	t.Helper()
	s, err := standin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return &account{t, s, h.URL}
}

// post sends a body with headers, each a name and a value.
func (a *account) post(path, body string, header ...string) *http.Response {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer any")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = w.Body.Close() })
	return w
}

// all reads a body.
func all(t *testing.T, w *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The three APIs, as their clients ask them. A prompt of 40 bytes is 10 tokens.
var prompt = strings.Repeat("word ", 8)

var apis = []struct{ name, path, body string }{
	{"chat", "/v1/chat/completions", `{"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": "` + prompt + `"}]%s}`},
	{"azure", "/openai/deployments/m/chat/completions?api-version=1", `{"model": "x", "max_completion_tokens": 20, "messages": [{"role": "user", "content": "` + prompt + `"}]%s}`},
	{"responses", "/v1/responses", `{"model": "m", "max_output_tokens": 20, "input": "` + prompt + `"%s}`},
	{"messages", "/v1/messages", `{"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": [{"type": "text", "text": "` + prompt + `"}]}]%s}`},
}

// usageOf reads the usage as the service does.
func usageOf(t *testing.T, raw any) (input, output int64) {
	t.Helper()
	m, _ := raw.(map[string]any)
	u, ok := policy.NormalizeUsage(m)
	if !ok {
		t.Errorf("%v is not read as a usage", raw)
	}
	return u.Input, u.Output
}

// events lists the data of a stream's events.
func events(t *testing.T, w *http.Response) (list []map[string]any, done bool) {
	t.Helper()
	for lines := bufio.NewScanner(w.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			return list, true
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(data), &m); err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		list = append(list, m)
	}
	return list, false
}

// find gives what stands at a path of fields in the last event that has it.
func find(list []map[string]any, path ...string) (v any) {
	for _, m := range list {
		at, ok := any(m), true
		for _, field := range path {
			var x map[string]any
			if x, ok = at.(map[string]any); ok {
				at, ok = x[field]
			}
			if !ok {
				break
			}
		}
		if ok && at != nil {
			v = at
		}
	}
	return v
}

// TestUsage: a reply tells what it used, plain and streamed, as its provider does, in a form
// that the service reads; and that is what the account counts.
func TestUsage(t *testing.T) {
	for _, api := range apis {
		t.Run(api.name, func(t *testing.T) {
			a := start(t, standin.Options{Provider: limits(provider.Sliding, 10, 1000)})
			var plain map[string]any
			if err := json.Unmarshal([]byte(all(t, a.post(api.path, fmt.Sprintf(api.body, "")))), &plain); err != nil {
				t.Fatal(err)
			}
			if in, out := usageOf(t, plain["usage"]); in != 10 || out != 20 {
				t.Errorf("plain: used %d and %d tokens, want 10 and 20: %v", in, out, plain)
			}
			w := a.post(api.path, fmt.Sprintf(api.body, `, "stream": true, "stream_options": {"include_usage": true}`), "x-standin-split", "1")
			list, done := events(t, w)
			usage := find(list, "usage")
			switch api.name {
			case "responses":
				usage = find(list, "response", "usage")
			case "messages":
			default:
				if !done {
					t.Error("the stream does not end with [DONE]")
				}
			}
			if in, out := usageOf(t, usage); in != 10 || out != 20 {
				t.Errorf("streamed: used %d and %d tokens, want 10 and 20: %v", in, out, usage)
			}
			if r := a.Report(); r.Accepted != 2 || r.Limits[1].Used != 60 || r.InFlight != 0 {
				t.Errorf("the account saw %+v", r)
			}
		})
	}
}

// TestUsageIsAskedFor: OpenAI's chat streams tell their usage to those who ask.
func TestUsageIsAskedFor(t *testing.T) {
	a := start(t, standin.Options{})
	list, _ := events(t, a.post(apis[0].path, fmt.Sprintf(apis[0].body, `, "stream": true`)))
	if find(list, "usage") != nil || len(list) != 22 {
		t.Errorf("%d events with usage %v", len(list), find(list, "usage"))
	}
}

// TestRefusal: what is over a limit is refused as the provider does, and the service reads why,
// for how long, and whether to try again.
func TestRefusal(t *testing.T) {
	tests := []struct {
		name   string
		config provider.Config
		api    int
		before int
		body   string // in the place of %s
		class  policy.FailureClass
		says   string
		wait   bool
	}{
		{"requests", limits(provider.Sliding, 2, 1000), 0, 2, "", policy.FailureThrottled, "on requests per min (RPM): Limit 2, Used 2, Requested 1. Please try again in", true},
		{"tokens", limits(provider.Fixed, 10, 50), 0, 1, "", policy.FailureThrottled, "on tokens per min (TPM): Limit 50, Used 30, Requested 30. Please try again in", true},
		{"too large", limits(provider.Bucket, 10, 29), 0, 0, "", policy.FailureTooLarge, "Request too large for m in organization", false},
		{"messages", limits(provider.Bucket, 10, 50), 3, 1, "", policy.FailureThrottled, "50 tokens per minute: 30 are used and it asks for 30", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := start(t, standin.Options{Provider: tt.config})
			api := apis[tt.api]
			body := fmt.Sprintf(api.body, tt.body)
			for range tt.before {
				if w := a.post(api.path, body); w.StatusCode != http.StatusOK {
					t.Fatalf("got %d: %s", w.StatusCode, all(t, w))
				}
			}
			w := a.post(api.path, body)
			text := all(t, w)
			if w.StatusCode != http.StatusTooManyRequests || !strings.Contains(text, tt.says) {
				t.Errorf("got %d: %s", w.StatusCode, text)
			}
			f := (&policy.Policy{}).Report(&policy.Settlement{Observation: policy.Observation{
				HTTPStatus: w.StatusCode, Headers: policy.HeadersFrom(w.Header), Body: []byte(text), Now: time.Now(),
			}}, &limiter.Report{})
			if f.Class != tt.class || f.Retry != tt.wait || tt.wait && f.After < 10*time.Second {
				t.Errorf("it is read as %+v", f)
			}
			if r := a.Report(); r.Refused != 1 || r.Statuses[http.StatusTooManyRequests] != 1 {
				t.Errorf("the account saw %+v", r)
			}
		})
	}
}

// TestHeaders: each answer says how its limits stand, in a form that the service reads.
func TestHeaders(t *testing.T) {
	for _, api := range []int{0, 3} {
		a := start(t, standin.Options{Provider: limits(provider.Sliding, 10, 100_000)})
		w := a.post(apis[api].path, fmt.Sprintf(apis[api].body, ""))
		got := map[limiter.Metric]policy.Reading{}
		for _, r := range policy.ReadHeaders(policy.HeadersAny, policy.HeadersFrom(w.Header), time.Now()) {
			got[r.Metric] = r
		}
		requests, tokens := got[limiter.Requests], got[limiter.Tokens]
		if requests.Limit != 10 || requests.Remaining != 9 || requests.Reset < 30*time.Second || requests.Reset > time.Minute+2*time.Second {
			t.Errorf("%s: requests %+v", apis[api].name, requests)
		}
		left := int64(99_970)
		if api == 3 {
			left = 100_000 // in thousands
		}
		if tokens.Limit != 100_000 || tokens.Remaining != left {
			t.Errorf("%s: tokens %+v", apis[api].name, tokens)
		}
	}
}

// TestRoundedHeaders: what is left, in thousands, is never more than the limit.
func TestRoundedHeaders(t *testing.T) {
	a := start(t, standin.Options{Provider: limits(provider.Sliding, 10, 700)})
	w := a.post(apis[3].path, fmt.Sprintf(apis[3].body, ""))
	if got, want := w.Header.Get("Anthropic-Ratelimit-Tokens-Remaining"), "700"; w.StatusCode != 200 || got != want {
		t.Errorf("%d, %s tokens remain, want %s", w.StatusCode, got, want)
	}
}

// TestBadRequests are answered with what is wrong, and cost nothing.
func TestBadRequests(t *testing.T) {
	a := start(t, standin.Options{Provider: limits(provider.Sliding, 10, 1000)})
	for _, tt := range []struct {
		name, path, body string
		header           []string
		status           int
	}{
		{"no key", apis[0].path, "{}", []string{"Authorization", ""}, 401},
		{"no JSON", apis[0].path, "{", nil, 400},
		{"more than JSON", apis[0].path, "{} {}", nil, 400},
		{"no model", apis[0].path, `{"messages": [{}]}`, nil, 400},
		{"no messages", apis[0].path, `{"model": "m", "messages": []}`, nil, 400},
		{"half a token", apis[0].path, `{"model": "m", "messages": [{}], "max_tokens": 0.5}`, nil, 400},
		{"no input", apis[2].path, `{"model": "m"}`, nil, 400},
		{"no max_tokens", apis[3].path, `{"model": "m", "messages": [{}]}`, nil, 400},
		{"an unknown path", "/v1/complete", `{}`, nil, 404},
		{"an absurd wish", apis[0].path, fmt.Sprintf(apis[0].body, ""), []string{"x-standin-delay", "ever"}, 400},
	} {
		if w := a.post(tt.path, tt.body, tt.header...); w.StatusCode != tt.status {
			t.Errorf("%s: got %d: %s", tt.name, w.StatusCode, all(t, w))
		}
	}
	if r := a.Report(); r.Calls != 0 {
		t.Errorf("the account saw %d calls", r.Calls)
	}
}

// TestFaults go wrong as they are asked to.
func TestFaults(t *testing.T) {
	a := start(t, standin.Options{})
	body := fmt.Sprintf(apis[0].body, `, "stream": true`)
	for _, status := range []int{400, 401, 429, 500, 503, 529} {
		if w := a.post(apis[0].path, body, "x-standin-status", fmt.Sprint(status)); w.StatusCode != status {
			t.Errorf("got %d, want %d", w.StatusCode, status)
		}
	}
	w := a.post(apis[0].path, body, "x-standin-cut", "3")
	text, err := io.ReadAll(w.Body)
	if n := strings.Count(string(text), "data: "); err == nil || n != 3 {
		t.Errorf("%d events, then %v", n, err)
	}
	w = a.post(apis[0].path, fmt.Sprintf(apis[0].body, ""), "x-standin-output", "5", "x-standin-cached", "4")
	var m map[string]any
	if err := json.Unmarshal([]byte(all(t, w)), &m); err != nil {
		t.Fatal(err)
	}
	if u, _ := policy.NormalizeUsage(m["usage"].(map[string]any)); u.Output != 5 || u.CachedInput != 4 {
		t.Errorf("used %+v, want 5 and 4 cached", u)
	}
}

// TestGone: a caller that goes away in mid-stream ends its call.
func TestGone(t *testing.T) {
	c := limits(provider.Sliding, 10, 1000)
	c.Limits = append(c.Limits, provider.Limit{Metric: provider.Concurrency, Quota: 1, Shape: provider.Stock})
	a := start(t, standin.Options{Provider: c, Rate: 1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+apis[0].path, strings.NewReader(fmt.Sprintf(apis[0].body, `, "stream": true`)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer any")
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Body.Close() }()
	if w := a.post(apis[0].path, fmt.Sprintf(apis[0].body, "")); w.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a second call at a time was answered %d", w.StatusCode)
	}
	cancel()
	for until := time.Now().Add(10 * time.Second); a.Report().InFlight > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the call goes on without its caller")
		}
	}
}

// TestTools: a tool that has to be called is, also in a stream, and its result is answered with a text.
func TestTools(t *testing.T) {
	a := start(t, standin.Options{})
	const tools = `, "tools": [{"type": "function", "function": {"name": "look"}, "name": "look"}], "tool_choice": %s, "stream": %v`
	for i, choice := range map[int]string{0: `"required"`, 2: `"required"`, 3: `{"type": "any"}`} {
		for _, stream := range []bool{false, true} {
			text := all(t, a.post(apis[i].path, fmt.Sprintf(apis[i].body, fmt.Sprintf(tools, choice, stream))))
			if !strings.Contains(text, `"look"`) {
				t.Errorf("%s, streamed %v: no tool is called: %s", apis[i].name, stream, text)
			}
		}
	}
	answered := `{"model": "m", "messages": [{"role": "user", "content": "x"}, {"role": "tool", "content": "y"}]` + fmt.Sprintf(tools, `"required"`, false) + `}`
	if text := all(t, a.post(apis[0].path, answered)); strings.Contains(text, "tool_calls") {
		t.Errorf("a tool is called again: %s", text)
	}
}

// TestSame: the same request has the same reply.
func TestSame(t *testing.T) {
	texts := map[string]bool{}
	for range 2 {
		a := start(t, standin.Options{Now: func() time.Time { return time.Unix(1_800_000_000, 0) }})
		texts[all(t, a.post(apis[0].path, fmt.Sprintf(apis[0].body, "")))] = true
	}
	if len(texts) != 1 {
		t.Errorf("got %d replies: %v", len(texts), texts)
	}
}

// TestReport: /report says it as JSON, and /reset forgets it.
func TestReport(t *testing.T) {
	a := start(t, standin.Options{Provider: limits(provider.Bucket, 10, 1000)})
	a.post(apis[0].path, fmt.Sprintf(apis[0].body, ""))
	for _, want := range []int64{1, 0} {
		w, err := http.Get(a.url + "/report")
		if err != nil {
			t.Fatal(err)
		}
		var r standin.Report
		if err := json.Unmarshal([]byte(all(t, w)), &r); err != nil {
			t.Fatal(err)
		}
		_ = w.Body.Close()
		if r.Accepted != want || r.Limits[0].Worst != want || !strings.Contains(r.String(), fmt.Sprintf("%d calls in", want)) {
			t.Errorf("want %d call, got %+v", want, r)
		}
		a.post("/reset", "")
	}
}
