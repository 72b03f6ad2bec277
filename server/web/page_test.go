package web_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/watermaster-project/watermaster/server/web"
)

func TestPages(t *testing.T) {
	var lost atomic.Bool
	w := newWorld(t, web.Options{
		Ready: func() error {
			if lost.Load() {
				return errors.New("organization acme: its state is lost")
			}
			return nil
		},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("up 1\n")) }),
		Config:  func() ([]byte, error) { return []byte("revision: 7\n"), nil },
		Authorize: func(r *http.Request, what string) error {
			switch r.Header.Get("X-Api-Key") {
			case what:
				return nil
			case "":
				return status.Error(codes.Unauthenticated, "send a key")
			}
			return errors.New("the reason is hidden")
		},
	})
	tests := []struct {
		method, path, key string
		code              int
		content, says     string
	}{
		{"GET", "/", "", 200, "text/plain; charset=utf-8", "POST /v1/acquire "},
		{"GET", "/", "", 200, "text/plain; charset=utf-8", "GET  /debug/config "},
		{"GET", "/healthz", "", 200, "text/plain; charset=utf-8", "ok\n"},
		{"HEAD", "/healthz", "", 200, "text/plain; charset=utf-8", ""},
		{"GET", "/readyz", "", 200, "text/plain; charset=utf-8", "ok\n"},
		{"GET", "/openapi.json", "", 200, "application/json", `"/v1/headroom/watch"`},
		{"GET", "/metrics", "metrics", 200, "text/plain; charset=utf-8", "up 1\n"},
		{"GET", "/metrics", "debug", 403, "application/json", `"code":7`},
		{"GET", "/metrics", "", 401, "application/json", "send a key"},
		{"GET", "/debug/config", "debug", 200, "text/yaml; charset=utf-8", "revision: 7\n"},
		{"GET", "/debug/config", "metrics", 403, "application/json", "debug is not for you"},
		{"HEAD", "/debug/config", "", 401, "application/json", ""},
	}
	for _, tt := range tests {
		a := w.do(tt.method, tt.path, "", "X-Api-Key: "+tt.key)
		if a.StatusCode != tt.code || a.Header.Get("Content-Type") != tt.content || !strings.Contains(a.text, tt.says) {
			t.Errorf("%s %s by %q: got %s, %s, %s", tt.method, tt.path, tt.key, a.Status, a.Header.Get("Content-Type"), a.text)
		}
		if strings.Contains(a.text, "hidden") {
			t.Errorf("%s %s by %q tells %s", tt.method, tt.path, tt.key, a.text)
		}
	}
	lost.Store(true)
	if a := w.do("GET", "/readyz", ""); a.StatusCode != 503 || a.text != "not ready: organization acme: its state is lost\n" {
		t.Errorf("not ready: got %s %s", a.Status, a.text)
	}
	if a := w.do("GET", "/healthz", ""); a.StatusCode != 200 {
		t.Errorf("not ready, but alive: got %s", a.Status)
	}
}

func TestConfigThatCannotBeShown(t *testing.T) {
	w := newWorld(t, web.Options{Config: func() ([]byte, error) { return nil, errors.New("at a hidden path") }})
	if a := w.do("GET", "/debug/config", ""); a.StatusCode != 500 || a.json["code"] != 13.0 || strings.Contains(a.text, "hidden") {
		t.Errorf("got %s %s", a.Status, a.text)
	}
}

func TestNewNeedsGRPC(t *testing.T) {
	if _, err := web.New(nothing); err == nil {
		t.Error("got no error")
	}
}

// TestBounds holds what a connection may take.
func TestBounds(t *testing.T) {
	w := newWorld(t, nothing)
	h := w.web.HTTPServer("127.0.0.1:1")
	if h.Addr != "127.0.0.1:1" || h.Handler != w.web || h.ReadHeaderTimeout != 5*time.Second || h.ReadTimeout <= h.ReadHeaderTimeout ||
		h.IdleTimeout <= 0 || h.WriteTimeout != 0 || h.MaxHeaderBytes != 8<<10 {
		t.Errorf("got %+v", h)
	}
	if a := w.do("GET", "/healthz", "", "X-Long: "+strings.Repeat("x", 16<<10)); a.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 16 KiB: got %s", a.Status)
	}
}

// A timed writer tells the deadlines that it is given.
type timed struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
}

func (r *timed) SetWriteDeadline(at time.Time) error {
	r.deadlines = append(r.deadlines, at)
	return nil
}

// TestSlowReaders: whoever does not read has a time to do so, anew for every write.
func TestSlowReaders(t *testing.T) {
	w := newWorldBehind(t, nothing)
	r := &timed{ResponseRecorder: httptest.NewRecorder()}
	w.web.ServeHTTP(r, httptest.NewRequestWithContext(t.Context(), "GET", "/healthz", nil))
	if r.Code != 200 || len(r.deadlines) != 2 { // to take off the last one's, and to write
		t.Fatalf("got %d, deadlines %v", r.Code, r.deadlines)
	}
	if in := time.Until(r.deadlines[1]); in <= 0 || in > time.Minute {
		t.Errorf("a deadline in %v", in)
	}
}
