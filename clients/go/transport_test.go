package watermaster

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

// provider answers requests in this process.
type provider func(*http.Request) (*http.Response, error)

func (p provider) RoundTrip(req *http.Request) (*http.Response, error) { return p(req) }

func respond(status int, kind string, body io.Reader, header ...string) (*http.Response, error) {
	h := http.Header{"Content-Type": {kind}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(body), ContentLength: -1}, nil
}

const (
	jsonKind  = "application/json"
	eventKind = "text/event-stream; charset=utf-8"
	chatURL   = "https://api.openai.com/v1/chat/completions"
	claudeURL = "https://api.anthropic.com/v1/messages"
	chatBody  = `{"model":"gpt-5","max_tokens":20,"messages":[{"role":"user","content":"What is the capital of France?"}]}`
	streaming = `{"model":"gpt-5","max_tokens":20,"stream":true,"messages":[]}`
	good      = `{"id":"c","choices":[{}],"usage":{"prompt_tokens":9,"completion_tokens":4}}`
	chunk     = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"
	extra     = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\n"
	done      = "data: [DONE]\n\n"
	begun     = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n"
)

func newPost(ctx context.Context, url, body string, header ...string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

// broken is a body that breaks off.
type broken struct{ io.Reader }

var errReset = errors.New("connection reset by peer")

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = errReset
	}
	return n, err
}

// ofClaude grants Anthropic's account, if it does.
func ofClaude(does bool) *fake {
	f := &fake{}
	if does {
		f.acquire = func(_ context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			return f.granted(in, &watermasterv1.Target{Account: "claude", Provider: "anthropic", Model: in.GetModel()}, 10*time.Second), nil
		}
	}
	return f
}

// Each call ends its lease once, whatever becomes of it.
func TestOneReleaseOnEveryPath(t *testing.T) {
	text := strings.NewReader
	readAll := func(resp *http.Response) { _, _ = io.Copy(io.Discard, resp.Body); resp.Body.Close() }
	closeOnly := func(resp *http.Response) { resp.Body.Close() }
	readSome := func(resp *http.Response) { _, _ = resp.Body.Read(make([]byte, 10)); resp.Body.Close() }
	const (
		derived = watermasterv1.Outcome_OUTCOME_UNSPECIFIED
		unknown = watermasterv1.Outcome_OUTCOME_UNKNOWN
	)
	for _, row := range []struct {
		name, url, body string
		answer          func() (*http.Response, error)
		then            func(*http.Response)
		outcome         watermasterv1.Outcome
		status          uint32
		used            int64 // output tokens; -1: unknown
		seen            string
	}{
		{"a good answer", chatURL, chatBody, func() (*http.Response, error) { return respond(200, jsonKind, text(good)) }, readAll, derived, 200, 4, ""},
		{"not read", chatURL, chatBody, func() (*http.Response, error) { return respond(200, jsonKind, text(good)) }, closeOnly, unknown, 200, -1, ""},
		{"read in part", chatURL, chatBody, func() (*http.Response, error) { return respond(200, jsonKind, text(good)) }, readSome, unknown, 200, -1, ""},
		{"broken off", chatURL, chatBody, func() (*http.Response, error) { return respond(200, jsonKind, broken{text(good[:20])}) }, readAll, unknown, 200, -1, ""},
		{"no JSON", chatURL, chatBody, func() (*http.Response, error) { return respond(200, "text/plain", text("hello")) }, readAll, derived, 200, -1, ""},
		{"a stream", chatURL, streaming, func() (*http.Response, error) { return respond(200, eventKind, text(chunk+extra+done)) }, readAll, derived, 200, 4, ""},
		{"a stream without its end", chatURL, streaming, func() (*http.Response, error) { return respond(200, eventKind, text(chunk)) }, readAll, unknown, 200, -1, ""},
		{"a stream that is cut", chatURL, streaming, func() (*http.Response, error) { return respond(200, eventKind, broken{text(chunk + extra)}) }, readAll, unknown, 200, 4, ""},
		{"a stream that is closed", claudeURL, streaming, func() (*http.Response, error) { return respond(200, eventKind, text(begun+chunk)) }, func(resp *http.Response) {
			_, _ = io.ReadFull(resp.Body, make([]byte, len(begun)))
			resp.Body.Close()
		}, unknown, 200, 1, ""},
		{"a stream that fails", claudeURL, streaming, func() (*http.Response, error) {
			return respond(200, eventKind, text(begun+"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"))
		}, readAll, derived, 529, 1, `{"error":{"type":"overloaded_error","message":"Overloaded"}}`},
		{"a wrong request", chatURL, chatBody, func() (*http.Response, error) {
			return respond(400, jsonKind, text(`{"error":{"message":"SECRET","type":"invalid_request_error"}}`))
		}, readAll, derived, 400, -1, `{"error":{"type":"invalid_request_error"}}`},
		{"broken before the answer", chatURL, chatBody, func() (*http.Response, error) { return nil, errReset }, nil, unknown, 0, -1, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				f := n.serve(one, ofClaude(row.url == claudeURL))
				l := n.limiter(one, Options{})
				tr := NewTransport(l, provider(func(*http.Request) (*http.Response, error) { return row.answer() }))
				resp, err := tr.RoundTrip(newPost(t.Context(), row.url, row.body))
				if (row.then == nil) != (err != nil) {
					t.Fatalf("got %v", err)
				}
				if row.then != nil {
					row.then(resp)
				}
				n.end(l)
				all := f.released()
				if len(all) != 1 || len(f.asked()) != 1 {
					t.Fatalf("%d leases were released, %d asked for", len(all), len(f.asked()))
				}
				used := int64(-1)
				if u := all[0].GetUsage(); u != nil && u.OutputTokens != nil {
					used = *u.OutputTokens
				}
				o := all[0].GetObservation()
				if all[0].GetOutcome() != row.outcome || o.GetHttpStatus() != row.status || used != row.used || o.GetBody() != row.seen {
					t.Errorf("released %v", all[0])
				}
			})
		})
	}
}

// A call for which no connection could be made has not been sent, and may be sent again.
func TestNoConnection(t *testing.T) {
	n := newNetwork(t)
	f := n.serve(one, &fake{})
	l := n.limiter(one, Options{Retries: 1})
	tr := NewTransport(l, &http.Transport{})
	tr.pause = func(context.Context, time.Duration) error { return nil }
	_, err := tr.RoundTrip(newPost(t.Context(), "http://127.0.0.1:1/v1/chat/completions", chatBody))
	if err == nil {
		t.Fatal("there was a connection")
	}
	n.end(l)
	all, asked := f.released(), f.asked()
	if len(all) != 2 || len(asked) != 2 || asked[0].GetRequestId() != asked[1].GetRequestId() || asked[1].GetAttempt() != 1 {
		t.Fatalf("asked %v", asked)
	}
	for _, in := range all {
		if in.GetOutcome() != watermasterv1.Outcome_OUTCOME_UNSENT {
			t.Errorf("released %v", in)
		}
	}
}

// A body that nobody holds any more ends its call, with what it has told so far.
func TestDroppedBody(t *testing.T) {
	n := newNetwork(t)
	released := make(chan *watermasterv1.ReleaseRequest, 2)
	f := ofClaude(true)
	f.release = func(_ context.Context, in *watermasterv1.ReleaseRequest) (*watermasterv1.ReleaseResponse, error) {
		released <- in
		return &watermasterv1.ReleaseResponse{}, nil
	}
	n.serve(one, f)
	l := n.limiter(one, Options{})
	defer n.end(l)
	tr := NewTransport(l, provider(func(*http.Request) (*http.Response, error) { return respond(200, eventKind, strings.NewReader(begun)) }))
	func() {
		resp, err := tr.RoundTrip(newPost(t.Context(), claudeURL, streaming))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadFull(resp.Body, make([]byte, len(begun)))
	}()
	stop := time.After(10 * time.Second)
	for {
		runtime.GC()
		select {
		case in := <-released:
			if in.GetOutcome() != watermasterv1.Outcome_OUTCOME_UNKNOWN || in.GetUsage().GetInputTokens() != 9 || in.GetStartedAfter() == nil {
				t.Errorf("released %v", in)
			}
			return
		case <-stop:
			t.Fatal("not released")
		case <-time.After(time.Millisecond):
		}
	}
}

// A long stream's lease is renewed until it ends.
func TestLongStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := n.serve(one, &fake{every: 10 * time.Second})
		l := n.limiter(one, Options{})
		from, to := io.Pipe()
		tr := NewTransport(l, provider(func(*http.Request) (*http.Response, error) { return respond(200, eventKind, from) }))
		resp, err := tr.RoundTrip(newPost(t.Context(), chatURL, streaming))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for range 6 {
				time.Sleep(10 * time.Second)
				_, _ = io.WriteString(to, chunk)
			}
			_, _ = io.WriteString(to, extra+done)
			to.Close()
		}()
		text, err := io.ReadAll(resp.Body)
		if want := strings.Repeat(chunk, 6) + done; err != nil || string(text) != want {
			t.Errorf("got %q, %v", text, err)
		}
		time.Sleep(time.Minute)
		if renewed := len(f.renewed()); renewed < 5 || renewed > 7 || len(f.released()) != 1 {
			t.Errorf("%d renewals, %d releases", renewed, len(f.released()))
		}
		n.end(l)
	})
}

// granted is a grant that goes to a target, for as long as it may start.
func (f *fake) granted(in *watermasterv1.AcquireRequest, target *watermasterv1.Target, within time.Duration) *watermasterv1.AcquireResponse {
	out := f.grant(in)
	out.GetGranted().Target = target
	out.GetGranted().StartWithin = durationpb.New(within)
	return out
}

// What is granted too late, or to an account that the worker has no key of, is given back unsent.
func TestGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := &fake{}
		own := &watermasterv1.Target{Account: "openai-main", Provider: "openai", Model: "gpt-5"}
		f.acquire = func(_ context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			switch in.GetAttempt() {
			case 0:
				return f.granted(in, own, time.Nanosecond), nil
			case 1:
				return f.granted(in, &watermasterv1.Target{Account: "foreign", Provider: "openai", Attributes: map[string]string{"base_url": "https://other.example/v1"}}, time.Second), nil
			}
			return f.granted(in, own, time.Second), nil
		}
		n.serve(one, f)
		l := n.limiter(one, Options{})
		sent := 0
		tr := NewTransport(l, provider(func(*http.Request) (*http.Response, error) {
			sent++
			return respond(200, jsonKind, strings.NewReader(good))
		}))
		// The time at which the first grant would have had to start passes on its way.
		f.within = 0
		acquire := f.acquire
		f.acquire = func(ctx context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			time.Sleep(time.Millisecond)
			return acquire(ctx, in)
		}
		resp, err := tr.RoundTrip(newPost(t.Context(), chatURL, chatBody))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		n.end(l)
		var outcomes []watermasterv1.Outcome
		for _, in := range f.released() {
			outcomes = append(outcomes, in.GetOutcome())
		}
		slices.Sort(outcomes)
		const unsent = watermasterv1.Outcome_OUTCOME_UNSENT
		if sent != 1 || !slices.Equal(outcomes, []watermasterv1.Outcome{0, unsent, unsent}) {
			t.Errorf("sent %d times, released %v", sent, outcomes)
		}
		asked := f.asked()
		if got := asked[2].GetConstraints().GetExcludeAccounts(); len(asked) != 3 || !slices.Equal(got, []string{"foreign"}) {
			t.Errorf("excluded %v", got)
		}
	})
}

// What is asked of the service is what the request says, corrected by what was seen.
func TestAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := n.serve(one, &fake{})
		l := n.limiter(one, Options{})
		used := "100"
		tr := NewTransport(l, provider(func(*http.Request) (*http.Response, error) {
			return respond(200, jsonKind, strings.NewReader(`{"id":"resp_1","usage":{"input_tokens":`+used+`,"output_tokens":40}}`))
		}))
		post := func(url, body string) *watermasterv1.AcquireRequest {
			resp, err := tr.RoundTrip(newPost(WithCall(t.Context(), Call{PriorityClass: "batch"}), url, body, "X-Watermaster-Max-Wait", "2.5", "X-Stainless-Retry-Count", "1"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			asked := f.asked()
			return asked[len(asked)-1]
		}
		const responsesURL = "https://api.openai.com/v1/responses"
		long := `{"model":"gpt-5","max_output_tokens":50,"input":"` + strings.Repeat("word ", 80) + `"}` // 100 tokens
		in := post(responsesURL, long)
		if in.GetModel() != "gpt-5" || in.GetInputTokens() != 120 || in.GetMaxOutputTokens() != 50 || in.GetPriorityClass() != "batch" ||
			in.GetMaxWait().AsDuration() != 2500*time.Millisecond || in.GetAttempt() != 1 || !slices.Equal(in.GetConstraints().GetProviders(), []string{"openai"}) {
			t.Errorf("asked %v", in)
		}
		used = "200" // twice as many as estimated
		for range 60 {
			in = post(responsesURL, long)
		}
		if got := in.GetInputTokens(); got < 190 || got > 240 {
			t.Errorf("learned to ask for %d, want some more than 200", got)
		}
		in = post(responsesURL, `{"model":"new","input":"hi","previous_response_id":"resp_1"}`)
		if got := in.GetInputTokens(); got != 290 { // (1 + 200 + 40) × 1.2
			t.Errorf("asked for %d", got)
		}
		n.end(l)
	})
}

// A service that grants what was excluded is not asked for ever.
func TestForeignForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := n.serve(one, ofClaude(true))
		l := n.limiter(one, Options{})
		tr := NewTransport(l, provider(func(*http.Request) (*http.Response, error) { return nil, errReset }))
		resp, err := tr.RoundTrip(newPost(t.Context(), chatURL, chatBody))
		if err != nil || resp.StatusCode != 429 || resp.Header.Get("X-Watermaster-Reason") != "NO_TARGET" {
			t.Errorf("got %v, %v", resp, err)
		}
		n.end(l)
		if len(f.asked()) != 2 || len(f.released()) != 2 {
			t.Errorf("asked %d times, released %d", len(f.asked()), len(f.released()))
		}
	})
}

// A connection may take longer to make than the grant allows: then nothing is sent on it.
func TestGivenBackWhenConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := &fake{within: time.Second}
		n.serve(one, f)
		l := n.limiter(one, Options{})

		listener := bufconn.Listen(1 << 16)
		calls := 0
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if body, err := io.ReadAll(r.Body); err != nil || string(body) != chatBody {
				return // it broke off: no provider counts that
			}
			calls++
			w.Header().Set("Content-Type", jsonKind)
			_, _ = io.WriteString(w, good)
		})}
		go func() { _ = server.Serve(listener) }()
		dials := 0
		base := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if dials++; dials == 1 {
				time.Sleep(2 * time.Second)
			}
			return listener.DialContext(ctx)
		}}
		resp, err := NewTransport(l, base).RoundTrip(newPost(t.Context(), "http://provider/v1/chat/completions", chatBody))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		base.CloseIdleConnections()
		_ = server.Close()
		n.end(l)

		released := f.released()
		slices.SortFunc(released, func(a, b *watermasterv1.ReleaseRequest) int { return int(b.GetOutcome() - a.GetOutcome()) })
		if len(released) != 2 || released[0].GetOutcome() != watermasterv1.Outcome_OUTCOME_UNSENT || released[1].GetOutcome() != 0 {
			t.Errorf("released %v, want one that never left and one that did", released)
		}
		if asked := f.asked(); calls != 1 || len(asked) != 2 || asked[1].GetAttempt() != 1 {
			t.Errorf("the provider has counted %d calls, asked for by %v", calls, asked)
		}
	})
}
