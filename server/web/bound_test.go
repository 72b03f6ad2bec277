package web_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// A beginning is an answer whose first part is waited for.
type beginning struct {
	*httptest.ResponseRecorder
	began func()
}

func (b *beginning) Write(p []byte) (int, error) {
	b.began()
	return b.ResponseRecorder.Write(p)
}

// TestManyStreams: one connection carries all calls, and gRPC's bound of 1,000 for each does
// not keep more of them out.
func TestManyStreams(t *testing.T) {
	const many = 1100
	w := newWorld(t, nothing)
	ctx, leave := context.WithCancel(t.Context())
	var begun, ended sync.WaitGroup
	for range many {
		begun.Add(1)
		b := &beginning{httptest.NewRecorder(), sync.OnceFunc(begun.Done)}
		ended.Go(func() {
			w.web.ServeHTTP(b, httptest.NewRequestWithContext(ctx, "GET", "/v1/headroom/watch?interval=1h", nil))
		})
	}
	begun.Wait()
	w.ok("GET", "/v1/headroom", "")
	leave()
	ended.Wait()
}

// TestTooMany: a call too many is told so at once, and pages are served all the same.
func TestTooMany(t *testing.T) {
	w := newWorld(t, nothing)
	leave := w.web.Occupy()
	a := w.do("GET", "/v1/headroom", "")
	if a.StatusCode != http.StatusTooManyRequests || at(a.json, "code") != float64(codes.ResourceExhausted) || a.Header.Get("Retry-After") != "1" {
		t.Errorf("got %s %s, Retry-After %q", a.Status, a.text, a.Header.Get("Retry-After"))
	}
	if a := w.do("GET", "/healthz", ""); a.StatusCode != http.StatusOK {
		t.Errorf("health: got %s", a.Status)
	}
	leave()
	w.ok("GET", "/v1/headroom", "")
}

// TestSlowBody: a body that does not come holds nothing for long.
func TestSlowBody(t *testing.T) {
	w := newWorldBehind(t, nothing)
	w.http.ReadTimeout = 100 * time.Millisecond
	w.listen()
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST /v1/acquire HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, _ := io.ReadAll(a.Body)
	if a.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "did not arrive in whole") {
		t.Errorf("got %s %s", a.Status, text)
	}
}

// TestEnd: what runs when the server is closed ends, with an answer.
func TestEnd(t *testing.T) {
	w := newWorld(t, nothing)
	w.occupy()
	waiter := make(chan *answer, 1)
	go func() {
		waiter <- w.do("POST", "/v1/acquire", `{"request_id": "second", "project": "search", "route": "one", "block": "20s"}`)
	}()
	w.until("the second waits", 5*time.Second, func() bool { return w.waiting() == "1" })
	w.close()
	if a := <-waiter; a.StatusCode != http.StatusOK || at(a.json, "wait") == nil {
		t.Errorf("got %s %s, want wait", a.Status, a.text)
	}
}
