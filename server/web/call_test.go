package web_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestCalls leads a call through its life by JSON.
func TestCalls(t *testing.T) {
	w := newWorld(t, nothing)
	a := w.ok("POST", "/v1/acquire", `{
		"request_id": "r1", "project": "search", "route": "one",
		"inputTokens": 1200, "max_output_tokens": "500", "lease_ttl": "30s", "labels": {"agent": "planner"}}`)
	lease, _ := at(a, "granted", "lease_id").(string)
	if lease == "" || at(a, "request_id") != "r1" || at(a, "granted", "target", "model") != "gpt" {
		t.Fatalf("got %v, want a grant", a)
	}
	for _, tt := range []struct {
		path []any
		want any
	}{
		{[]any{"granted", "ttl"}, "30s"},
		{[]any{"granted", "charges", 0, "on_completion"}, false}, // what is 0 is there
		{[]any{"pressure", "level"}, "PRESSURE_LEVEL_SATURATED"}, // the only slot is taken
		{[]any{"pressure", "waiting"}, "0"},
		{[]any{"pressure", "max_tool_calls"}, nil}, // what is unset is not
		{[]any{"wait"}, nil},
	} {
		if got := at(a, tt.path...); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.path, got, tt.want)
		}
	}
	if within, _ := at(a, "granted", "start_within").(string); !strings.HasSuffix(within, "s") {
		t.Errorf("start_within %q, want seconds", within)
	}

	a = w.ok("POST", "/v1/acquire", `{"request_id": "r2", "project": "search", "route": "one", "block": "0s"}`)
	if at(a, "wait", "retry_after") == nil || at(a, "wait", "binding", 1, "metric") != "concurrency" {
		t.Errorf("got %v, want wait", a)
	}
	a = w.ok("POST", "/v1/acquire", `{"request_id": "r3", "project": "search", "model": "gpt", "max_wait": "0s"}`)
	if at(a, "rejected", "reason") != "REASON_WAIT_TOO_LONG" {
		t.Errorf("got %v, want a refusal", a)
	}

	a = w.ok("POST", "/v1/renew", `{"lease_ids": ["`+lease+`", "gone"]}`)
	if at(a, "renewals", 0, "gone") == true || at(a, "renewals", 1, "gone") != true {
		t.Errorf("renew: got %v", a)
	}
	a = w.ok("POST", "/v1/report", `{"lease_id": "`+lease+`", "usage": {"output_tokens": 10}}`)
	if at(a, "pressure", "level") == nil {
		t.Errorf("report: got %v, want pressure", a)
	}
	a = w.ok("POST", "/v1/release", `{"lease_id": "`+lease+`", "outcome": "OUTCOME_SUCCEEDED",
		"provider_usage": {"prompt_tokens": 5000, "completion_tokens": 100}}`)
	charged := ""
	for _, s := range at(a, "settlements").([]any) {
		if at(s, "metric") == "tokens" {
			charged = at(s, "charged").(string)
		}
	}
	if charged != "5100" || at(a, "late") != false {
		t.Errorf("release: got %v, want 5,100 tokens", a)
	}

	a = w.ok("GET", "/v1/headroom?account=main&project=search", "")
	if at(a, "headroom", "organization") != "acme" || at(a, "headroom", "config_revision") != "7" {
		t.Errorf("headroom: got %v", a)
	}
}

// TestGone: who goes away while waiting gives up the place.
func TestGone(t *testing.T) {
	w := newWorld(t, nothing)
	w.occupy()
	ctx, leave := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, "POST", w.url+"/v1/acquire",
		strings.NewReader(`{"request_id": "second", "project": "search", "route": "one", "block": "20s", "max_wait": "60s"}`))
	ended := make(chan error, 1)
	go func() {
		_, err := w.client.Do(r)
		ended <- err
	}()
	w.until("the second waits", 5*time.Second, func() bool { return w.waiting() == "1" })
	leave()
	if err := <-ended; err == nil {
		t.Error("got an answer, want none")
	}
	w.until("the place is given up", time.Second, func() bool { return w.waiting() == "" })
}

// TestLongerThanReading: the time to send a request does not bound that to answer it.
func TestLongerThanReading(t *testing.T) {
	w := newWorldBehind(t, nothing)
	w.http.ReadTimeout = 100 * time.Millisecond
	w.listen()
	lease := w.occupy()
	waiter := make(chan *answer, 1)
	go func() {
		waiter <- w.do("POST", "/v1/acquire", `{"request_id": "second", "project": "search", "route": "one", "block": "10s"}`)
	}()
	w.until("the second waits", 5*time.Second, func() bool { return w.waiting() == "1" })
	select {
	case a := <-waiter:
		t.Fatalf("got %s %s, want it to wait", a.Status, a.text)
	case <-time.After(4 * w.http.ReadTimeout): // what must not happen cannot be waited for
	}
	w.ok("POST", "/v1/release", `{"lease_id": "`+lease+`", "outcome": "OUTCOME_SUCCEEDED"}`)
	if a := <-waiter; at(a.json, "granted") == nil {
		t.Errorf("got %s %s, want a grant", a.Status, a.text)
	}
}

// TestWatch reads a stream: at once, after a change, and its end.
func TestWatch(t *testing.T) {
	w := newWorldBehind(t, nothing)
	w.http.ReadTimeout = 100 * time.Millisecond
	w.listen()
	r, _ := http.NewRequestWithContext(t.Context(), "GET", w.url+"/v1/headroom/watch?interval=100ms&account=main", nil)
	a, err := w.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if got := a.Header.Get("Content-Type"); a.StatusCode != http.StatusOK || got != "application/x-ndjson" {
		t.Errorf("got %s, %s", a.Status, got)
	}
	next := lines(a.Body)
	held := func() any {
		v, err := next()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range at(v, "result", "headroom", "limits").([]any) {
			if at(l, "metric") == "concurrency" {
				return at(l, "held")
			}
		}
		return nil
	}
	if got := held(); got != "0" {
		t.Errorf("at first: held %v, want 0", got)
	}
	time.Sleep(2 * w.http.ReadTimeout) // the time to send the request is over
	w.occupy()
	if got := held(); got != "1" {
		t.Errorf("after a grant: held %v, want 1", got)
	}
	w.service.Drain()
	v, err := next()
	if err != nil || at(v, "error", "code") != 14.0 || at(v, "error", "message") == "" {
		t.Errorf("at the end: got %v, %v, want UNAVAILABLE", v, err)
	}
	if v, err := next(); err != io.EOF {
		t.Errorf("after the end: got %v, %v", v, err)
	}
}

// TestWatchRefused: the error of a stream that does not begin is like any other.
func TestWatchRefused(t *testing.T) {
	w := newWorld(t, nothing)
	a := w.do("GET", "/v1/headroom/watch?account=mian", "")
	if a.StatusCode != http.StatusNotFound || a.json["code"] != 5.0 || at(a.json, "details", 0, "metadata", "nearest") != "main" {
		t.Errorf("got %s %s", a.Status, a.text)
	}
}
