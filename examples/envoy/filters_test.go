package envoy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	chatPath     = "/v1/chat/completions"
	messagesPath = "/v1/messages"
)

// post sends a body through a gateway; headers are pairs. body is as far as it came.
func (g *gateway) post(ctx context.Context, path, body string, headers ...string) (a *http.Response, text string, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	q.Header.Set("Content-Type", contentJSON)
	q.Header.Set("Authorization", "Bearer any")
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Transfer-Encoding" {
			q.ContentLength = -1 // unknown
			continue
		}
		q.Header.Set(headers[i], headers[i+1])
	}
	if a, err = http.DefaultClient.Do(q); err != nil {
		return nil, "", err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return a, string(b), err
}

// TestEnvoyTells shows what a real Envoy with tokens.yaml tells the service, at the request and
// at its end, whatever becomes of the call. Semantics of the service rest on it.
func TestEnvoyTells(t *testing.T) {
	r, up := startRecorder(t), startUpstream(t)
	g := startGateway(t, "tokens.yaml", r.address, up.URL)
	const (
		body     = `{"model":"m","max_tokens":500,"messages":[]}` // 44 bytes
		request  = "acme [account=openai model=m phase=request request_id=ID hits 511]"
		asked    = "acme [account=anthropic model=m phase=request request_id=ID] [account=anthropic metric=input_tokens model=m phase=request request_id=ID hits 11] [account=anthropic metric=output_tokens model=m phase=request request_id=ID hits 500]"
		ended    = "acme [account=openai model=m phase=end request_id=ID hits %d]"
		endedTwo = "acme [account=anthropic metric=input_tokens model=m phase=end request_id=ID hits %d] [account=anthropic metric=output_tokens model=m phase=end request_id=ID hits %d]"
	)
	for i, row := range []struct {
		reply, path, body string
		headers           []string
		status            int // 0: the client is gone before
		over              bool
		err               error
		request, end      string
	}{
		{reply: "openai", status: 200, request: request, end: fmt.Sprintf(ended, 77)},
		{reply: "openai stream", status: 200, request: request, end: fmt.Sprintf(ended, 55)},
		{reply: "claude", path: messagesPath, status: 200, request: asked, end: fmt.Sprintf(endedTwo, 30, 4)},
		{reply: "claude stream", path: messagesPath, status: 200, request: asked, end: fmt.Sprintf(endedTwo, 31, 9)},
		// Where the usage is not known the end says 0.
		{reply: "openai stream without usage", status: 200, request: request, end: fmt.Sprintf(ended, 0)},
		{reply: "no usage", status: 200, request: request, end: fmt.Sprintf(ended, 0)},
		{reply: "refusal", status: 429, request: request, end: fmt.Sprintf(ended, 0)},
		{reply: "page", status: 503, request: request, end: fmt.Sprintf(ended, 0)},
		{reply: "empty", status: 500, request: request, end: fmt.Sprintf(ended, 0)},
		// What a stream has told before it broke counts.
		{reply: "stream that breaks", path: messagesPath, status: 200, request: asked, end: fmt.Sprintf(endedTwo, 31, 3)},
		{reply: "stream " + waitsForClient, path: messagesPath, status: 200, request: asked, end: fmt.Sprintf(endedTwo, 31, 0)},
		{reply: "nothing " + waitsForClient, request: request, end: fmt.Sprintf(ended, 0)},
		// The end of what was refused is told, too.
		{reply: "openai", over: true, status: 429, request: request, end: fmt.Sprintf(ended, 0)},
		{reply: "openai", err: status.Error(codes.Unavailable, "away"), status: 503, request: request, end: fmt.Sprintf(ended, 0)},
		// No body makes a call free.
		{reply: "openai", body: `{"model":"m"}`, status: 200, request: strings.Replace(request, "511", "4099", 1), end: fmt.Sprintf(ended, 77)},
		{reply: "openai", body: `{"model":"m","max_completion_tokens":9,"max_tokens":5}`, status: 200, request: strings.Replace(request, "511", "22", 1), end: fmt.Sprintf(ended, 77)},
		{reply: "openai", body: `{"model":"m","max_tokens":-500}`, status: 200, request: strings.Replace(request, "511", "1000007", 1), end: fmt.Sprintf(ended, 77)},
		{reply: "openai", body: `{"model":"m","max_tokens":5e12}`, status: 200, request: strings.Replace(request, "511", "1000007", 1), end: fmt.Sprintf(ended, 77)},
		{reply: "openai", body: `{"model":"m","max_tokens":"x"}`, status: 200, request: strings.Replace(request, "511", "4103", 1), end: fmt.Sprintf(ended, 77)},
		{reply: "openai", body: `{"model":"m","max_tokens":null}`, status: 200, request: strings.Replace(request, "511", "4103", 1), end: fmt.Sprintf(ended, 77)},
		{reply: "openai", body: `{"model":"m","max_tok`, status: 200, request: "acme [account=openai phase=request request_id=ID hits 4101]", end: "acme [account=openai phase=end request_id=ID hits 77]"},
		{reply: "openai", body: `{}`, status: 200, request: "acme [account=openai phase=request request_id=ID hits 4096]", end: "acme [account=openai phase=end request_id=ID hits 77]"},
		{reply: "openai", headers: []string{"Transfer-Encoding", "chunked"}, status: 200, request: request, end: fmt.Sprintf(ended, 77)},
		{reply: "openai", headers: []string{"Content-Type", "text/plain"}, status: 200, request: "acme [account=openai phase=request request_id=ID hits 4107]", end: "acme [account=openai phase=end request_id=ID hits 77]"},
		// What a caller may add.
		{
			reply: "openai", headers: []string{"x-project", "search", "x-watermaster-lease-id", "L"}, status: 200,
			request: "acme [account=openai lease_id=L model=m phase=request project=search request_id=ID hits 511]",
			end:     "acme [account=openai lease_id=L model=m phase=end project=search request_id=ID hits 77]",
		},
	} {
		if row.path == "" {
			row.path = chatPath
		}
		if row.body == "" {
			row.body = body
		}
		name := fmt.Sprintf("%d %s %s", i, row.reply, row.body)
		r.answer(row.over, row.err)
		id := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		ctx, cancel := t.Context(), func() {}
		if strings.HasSuffix(row.reply, waitsForClient) {
			ctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond)
		}
		a, _, err := g.post(ctx, row.path, row.body, append([]string{replyHeader, row.reply, "X-Request-Id", id}, row.headers...)...)
		cancel()
		switch {
		case row.status == 0:
			if a != nil {
				t.Errorf("%s: got status %d, want none", name, a.StatusCode)
			}
		case a == nil:
			t.Errorf("%s: %v", name, err)
		case a.StatusCode != row.status || a.Header.Get("X-Request-Id") != id:
			t.Errorf("%s: got status %d for the call %s, want %d for %s", name, a.StatusCode, a.Header.Get("X-Request-Id"), row.status, id)
		}
		got := r.asked(t, 2)
		want := []string{strings.ReplaceAll(row.request, "ID", id), strings.ReplaceAll(row.end, "ID", id)}
		if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
			t.Errorf("%s: Envoy told\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestUpstreamAway: the end of a call is told also where nobody has taken it.
func TestUpstreamAway(t *testing.T) {
	r := startRecorder(t)
	g := startGateway(t, "tokens.yaml", r.address, "127.0.0.1:"+freePort(t))
	a, _, err := g.post(t.Context(), chatPath, `{"model":"m"}`, "X-Request-Id", "r")
	must(t, err)
	if got := r.asked(t, 2); a.StatusCode != 503 || got[1] != "acme [account=openai model=m phase=end request_id=r hits 0]" {
		t.Errorf("got status %d and %q", a.StatusCode, got)
	}
}

// TestRequestIDIsMade: a caller without an id gets one, which is told at the request and its end.
func TestRequestIDIsMade(t *testing.T) {
	r, up := startRecorder(t), startUpstream(t)
	g := startGateway(t, "tokens.yaml", r.address, up.URL)
	a, _, err := g.post(t.Context(), chatPath, `{"model":"m"}`, replyHeader, "openai")
	must(t, err)
	id := a.Header.Get("X-Request-Id")
	for _, told := range r.asked(t, 2) {
		if len(id) != 36 || !strings.Contains(told, "request_id="+id+" ") {
			t.Errorf("the caller was told %q, and the service %s", id, told)
		}
	}
}

// TestPlainTells: what a gateway with plain.yaml asks, once.
func TestPlainTells(t *testing.T) {
	r, up := startRecorder(t), startUpstream(t)
	g := startGateway(t, "plain.yaml", r.address, up.URL)
	for _, row := range []struct{ user, want string }{
		{"", "gateway [route=chat]"},
		{"ann", "gateway [route=chat] [user=ann]"},
	} {
		r.answer(false, nil)
		var headers []string
		if row.user != "" {
			headers = []string{"x-user", row.user}
		}
		_, _, err := g.post(t.Context(), chatPath, "{}", append(headers, replyHeader, "openai")...)
		must(t, err)
		if got := r.asked(t, 1); len(got) != 1 || got[0] != row.want {
			t.Errorf("user %q: got %q, want %q", row.user, got, row.want)
		}
	}
}
