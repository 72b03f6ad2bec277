package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/watermaster-project/watermaster/server"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/web"
	"github.com/watermaster-project/watermaster/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is an organization where one call at a time runs.
const small = `
revision: 7
cold_start: trust
models:
  gpt: {context: 100k, max_output: 1000}
organizations:
  acme:
    accounts:
      main:
        provider: openai
        margin: 0%
        pools:
          gpt: {models: [gpt], limits: {requests: 60/min, tokens: {quota: 60k, window: min, shape: sliding_window}, concurrency: 1}}
    projects:
      search: {}
    routes:
      one: {targets: [{account: main, model: gpt}]}
`

// A world is a service with a client over a real connection.
type world struct {
	t       testing.TB
	service *server.Server
	grpc    *grpc.Server // the gateway's
	web     *web.Server
	http    *http.Server
	client  *http.Client
	url     string
	close   func()
}

// newWorld makes a world that the test's end closes. Interceptors come after the service's own.
func newWorld(t testing.TB, o web.Options, interceptors ...grpc.ServerOption) *world {
	t.Helper()
	w := newWorldBehind(t, o, interceptors...)
	w.listen()
	return w
}

// newWorldBehind makes one that does not listen yet.
func newWorldBehind(t testing.TB, o web.Options, interceptors ...grpc.ServerOption) *world {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(small), time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	log := memory.Open(memory.Options{})
	service, err := server.New(t.Context(), server.Options{Config: cfg, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, service: service, client: &http.Client{Transport: &http.Transport{}}}
	o.NewGRPC = func(more ...grpc.ServerOption) *grpc.Server {
		w.grpc = service.NewGRPC(append(slices.Clone(interceptors), more...)...)
		return w.grpc
	}
	s, err := web.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.web, w.http = s, s.HTTPServer("")
	w.close = sync.OnceFunc(func() {
		service.Drain()
		w.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := w.http.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		s.Close()
		service.Close()
		log.Close()
	})
	t.Cleanup(w.close)
	return w
}

// An answer is what came back, the body read as JSON if it is any.
type answer struct {
	*http.Response
	text string
	json map[string]any
}

// do sends a request as curl would: headers are lines "Name: value".
func (w *world) do(method, path, body string, headers ...string) *answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	a, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	out := &answer{Response: a, text: string(text)}
	_ = json.Unmarshal(text, &out.json)
	return out
}

// ok sends a request and wants 200.
func (w *world) ok(method, path, body string) map[string]any {
	w.t.Helper()
	a := w.do(method, path, body)
	if a.StatusCode != http.StatusOK || a.json == nil {
		w.t.Fatalf("%s %s: got %s %s", method, path, a.Status, a.text)
	}
	return a.json
}

// at finds a value in JSON by a path; a number is an index.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// occupy takes the only slot and gives the lease.
func (w *world) occupy() string {
	w.t.Helper()
	a := w.ok("POST", "/v1/acquire", `{"request_id": "first", "project": "search", "route": "one"}`)
	lease, ok := at(a, "granted", "lease_id").(string)
	if !ok {
		w.t.Fatalf("got %v, want a grant", a)
	}
	return lease
}

// waiting counts who waits, in all classes.
func (w *world) waiting() string {
	w.t.Helper()
	limits, _ := at(w.ok("GET", "/v1/headroom?account=main", ""), "headroom", "limits").([]any)
	for _, l := range limits {
		if at(l, "metric") == "concurrency" {
			var all []string
			for _, c := range at(l, "by_class").([]any) {
				if n := at(c, "waiting"); n != "0" {
					all = append(all, n.(string))
				}
			}
			return strings.Join(all, "+")
		}
	}
	w.t.Fatalf("no limit of concurrency in %v", limits)
	return ""
}

// until waits for what another goroutine or the network brings about.
func (w *world) until(what string, within time.Duration, is func() bool) {
	w.t.Helper()
	for end := time.Now().Add(within); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%s: not within %v", what, within)
		}
	}
}

// lines reads a stream of JSON.
func lines(body io.Reader) func() (map[string]any, error) {
	scanner := bufio.NewScanner(body)
	scanner.Buffer(nil, 1<<20)
	return func() (map[string]any, error) {
		if !scanner.Scan() {
			if err := scanner.Err(); err != nil {
				return nil, err
			}
			return nil, io.EOF
		}
		var v map[string]any
		err := json.Unmarshal(scanner.Bytes(), &v)
		return v, err
	}
}

// nothing is asked beyond the calls.
var nothing = web.Options{}

// listen begins to serve on a port of this machine.
func (w *world) listen() {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.url = "http://" + l.Addr().String()
	go func() { _ = w.http.Serve(l) }()
}
