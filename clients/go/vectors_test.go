package watermaster

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// cases reads the cases of a file that all clients share.
func cases[T any](t testing.TB, name string) []T {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal(name, "has no cases")
	}
	return all
}

func parseURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

type requestCase struct {
	Name, Method, URL, Body string
	Want                    *requestWant
}

type requestWant struct {
	Wire      wire             `json:"wire"`
	Model     string           `json:"model"`
	Output    *int64           `json:"max_output_tokens"`
	Input     int64            `json:"input_tokens"`
	TextOnly  bool             `json:"text_only"`
	Stream    bool             `json:"stream"`
	AddsUsage bool             `json:"add_usage"`
	Units     map[string]int64 `json:"units"`
}

func TestRequestsAreReadAsByAllClients(t *testing.T) {
	for _, c := range cases[requestCase](t, "requests.json") {
		t.Run(c.Name, func(t *testing.T) {
			r, ok := readPayload(c.Method, parseURL(t, c.URL), []byte(c.Body), false)
			if !ok {
				if c.Want != nil {
					t.Fatal("is not limited")
				}
				return
			}
			units := map[string]int64{}
			maps.Copy(units, r.units())
			got := &requestWant{r.wire, r.model, r.output, r.tokens, r.textOnly, r.stream, r.askUsage, units}
			if !reflect.DeepEqual(got, c.Want) {
				t.Errorf("got %s, want %s", spelt(got), spelt(c.Want))
			}
		})
	}
}

// What a tokenizer counts is every text of the prompt that an estimate counts, and nothing else.
func TestTextsForATokenizerAreThoseOfTheEstimate(t *testing.T) {
	for _, c := range cases[requestCase](t, "requests.json") {
		r, ok := readPayload(c.Method, parseURL(t, c.URL), []byte(c.Body), true)
		if !ok {
			continue
		}
		guess := r.tokens
		r.eachText(func(s string) {
			quoted, _ := json.Marshal(s)
			c := cursor{text: quoted}
			text := c.string()
			guess += text.tokens()
		})
		if guess != c.Want.Input {
			t.Errorf("%s: got %d, want %d", c.Name, guess, c.Want.Input)
		}
		if r.tokens += r.guess(); r.tokens != c.Want.Input {
			t.Errorf("%s: guessed %d, want %d", c.Name, r.tokens, c.Want.Input)
		}
	}
}

type usageWant struct {
	Input        *int64 `json:"input_tokens,omitempty"`
	Output       *int64 `json:"output_tokens,omitempty"`
	Cached       *int64 `json:"cached_input_tokens,omitempty"`
	CacheWritten *int64 `json:"cache_write_input_tokens,omitempty"`
}

type usageCase struct {
	Name, Body   string
	Wire         wire
	Stream, Hide bool
	Want         struct {
		Usage   *usageWant
		Ended   bool
		Failure *struct {
			Status int
			Body   any
		}
		Forwarded string
	}
}

func TestUsageIsReadAsByAllClients(t *testing.T) {
	t.Parallel()
	for _, c := range cases[usageCase](t, "usage.json") {
		// Every way to cut it in two, and every way to cut it into equal pieces.
		var cuts [][]int
		for i := range len(c.Body) {
			cuts = append(cuts, []int{i, len(c.Body) - i})
		}
		for _, size := range []int{1, 2, 3, 7, 64} {
			cuts = append(cuts, []int{size})
		}
		t.Run(c.Name, func(t *testing.T) {
			for _, sizes := range cuts {
				if c.Stream {
					checkStream(t, c, sizes)
				} else {
					checkPlain(t, c, sizes)
				}
			}
		})
	}
}

// pieces gives a text in pieces of sizes, the last again and again.
func pieces(text string, sizes []int) (out []string) {
	for i := 0; text != ""; i++ {
		n := min(sizes[min(i, len(sizes)-1)], len(text))
		out = append(out, text[:n])
		if text = text[n:]; n == 0 && i >= len(sizes) {
			break
		}
	}
	return out
}

func checkPlain(t *testing.T, c usageCase, sizes []int) {
	t.Helper()
	var p plain
	for _, piece := range pieces(c.Body, sizes) {
		p.feed([]byte(piece))
	}
	tally := newTally(c.Wire)
	tally.add(p.usage)
	checkUsage(t, tally.last.usage(), c.Want.Usage)
}

func checkStream(t *testing.T, c usageCase, sizes []int) {
	t.Helper()
	s := newStream(c.Wire, c.Hide)
	got := ""
	for _, piece := range pieces(c.Body, sizes) {
		s.feed([]byte(piece))
		if !c.Hide {
			got += piece
		}
	}
	s.end()
	if got += string(s.out); got != c.Want.Forwarded {
		t.Fatalf("in pieces of %d: got %q, want %q", sizes, got, c.Want.Forwarded)
	}
	checkUsage(t, s.last.usage(), c.Want.Usage)
	if s.ended != c.Want.Ended {
		t.Errorf("in pieces of %d: ended: got %v, want %v", sizes, s.ended, c.Want.Ended)
	}
	switch want := c.Want.Failure; {
	case (s.failure == nil) != (want == nil):
		t.Errorf("failure: got %v, want %v", s.failure, want)
	case want != nil:
		var body any
		if err := json.Unmarshal(s.failure.body, &body); err != nil || s.failure.status != want.Status || !reflect.DeepEqual(body, want.Body) {
			t.Errorf("failure: got %d %v, want %d %v", s.failure.status, body, want.Status, want.Body)
		}
	}
}

func checkUsage(t *testing.T, u *Usage, want *usageWant) {
	t.Helper()
	var got *usageWant
	if u != nil {
		got = &usageWant{u.InputTokens, u.OutputTokens, u.CachedInputTokens, u.CacheWriteInputTokens}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("usage: got %s, want %s", spelt(got), spelt(want))
	}
}

func TestTargetsAreFollowedAsByAllClients(t *testing.T) {
	type row struct {
		Name, URL, Account string
		Wire               wire
		Headers            map[string]string
		Body               json.RawMessage
		Keys               map[string]string
		Route              bool
		Target             Target
		Want               *struct {
			URL     string
			Headers map[string]string
			Absent  []string
			Model   string
		}
	}
	for _, c := range cases[row](t, "targets.json") {
		t.Run(c.Name, func(t *testing.T) {
			u := parseURL(t, c.URL)
			r, ok := readPayload(http.MethodPost, u, c.Body, false)
			if !ok {
				t.Fatal("is not limited")
			}
			w, ok := keyring{c.Account, c.Keys}.follow(u, &r, c.Route, &c.Target)
			if !ok || c.Want == nil {
				if ok || c.Want != nil {
					t.Errorf("followed: %v", ok)
				}
				return
			}
			h := http.Header{}
			for name, value := range c.Headers {
				h.Set(name, value)
			}
			w.apply(h)
			if w.url.String() != c.Want.URL {
				t.Errorf("got %s, want %s", w.url, c.Want.URL)
			}
			for name, value := range c.Want.Headers {
				if h.Get(name) != value {
					t.Errorf("%s: got %q, want %q", name, h.Get(name), value)
				}
			}
			for _, name := range c.Want.Absent {
				if h.Get(name) != "" {
					t.Errorf("%s: got %q", name, h.Get(name))
				}
			}
			var body struct{ Model string }
			if err := json.Unmarshal(r.rewritten(w.model, false), &body); err != nil || body.Model != c.Want.Model {
				t.Errorf("model: got %q, %v, want %q", body.Model, err, c.Want.Model)
			}
			if u.String() != c.URL {
				t.Errorf("the caller's URL became %s", u)
			}
		})
	}
}

func TestRefusalsAreWordedAsByAllClients(t *testing.T) {
	type row struct {
		Name      string
		Wire      wire
		RequestID string `json:"request_id"`
		Rejected  struct {
			Reason     Reason
			RetryAfter *float64 `json:"retry_after"`
			Binding    []struct {
				Scope, Name, Metric string
				Window              float64
				Quota               int64
				Utilization         float64
			}
			Message string
		}
		Want struct {
			Status  int
			Headers map[string]string
			Absent  []string
			Body    any
		}
	}
	for _, c := range cases[row](t, "refusals.json") {
		t.Run(c.Name, func(t *testing.T) {
			r := &Rejected{Reason: c.Rejected.Reason, Message: c.Rejected.Message}
			if after := c.Rejected.RetryAfter; after != nil {
				r.RetryAfter = new(time.Duration(*after * float64(time.Second)))
			}
			for _, b := range c.Rejected.Binding {
				r.Binding = append(r.Binding, Binding{b.Scope, b.Name, b.Metric, time.Duration(b.Window * float64(time.Second)), b.Quota, b.Utilization})
			}
			resp := failed(nil, c.Wire, c.RequestID, fmt.Errorf("asked: %w", r))
			if resp.StatusCode != c.Want.Status {
				t.Errorf("status: got %d, want %d", resp.StatusCode, c.Want.Status)
			}
			for name, value := range c.Want.Headers {
				if got := resp.Header.Get(name); got != value {
					t.Errorf("%s: got %q, want %q", name, got, value)
				}
			}
			for _, name := range c.Want.Absent {
				if got, ok := resp.Header[http.CanonicalHeaderKey(name)]; ok {
					t.Errorf("%s: got %q", name, got)
				}
			}
			var body any
			if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || !reflect.DeepEqual(body, c.Want.Body) {
				t.Errorf("got %s (%v), want %s", spelt(body), err, spelt(c.Want.Body))
			}
		})
	}
}

func TestObservationsAreThoseOfAllClients(t *testing.T) {
	type row struct {
		Name    string
		Status  int
		Headers map[string]string
		Body    string
		Want    struct {
			Headers map[string]string
			Body    string
		}
	}
	for _, c := range cases[row](t, "observations.json") {
		t.Run(c.Name, func(t *testing.T) {
			h := http.Header{}
			for name, value := range c.Headers {
				h.Set(name, value)
			}
			got := observe(c.Status, h, []byte(c.Body))
			if got.Status != c.Status || !maps.Equal(got.Headers, c.Want.Headers) || got.Body != c.Want.Body {
				t.Errorf("got %s, want %s", spelt(got), spelt(c.Want))
			}
		})
	}
}

// spelt is for messages.
func spelt(v any) string {
	var b strings.Builder
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	_ = out.Encode(v)
	return strings.TrimSpace(b.String())
}
