package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

var quickstart = filepath.Join("..", "..", "..", "examples", "quickstart", "config.yaml")

// A running is a server that runs in this process, as a command line started it.
type running struct {
	t          *testing.T
	grpc, http string // where it listens
	line       string // what it said when it began
	log        *log
	stop       context.CancelFunc
	ended      chan error
	once       sync.Once
}

// A log is what a server has written so far.
type log struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{} // of capacity 1
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait returns the first line that holds a text.
func (l *log) wait(t *testing.T, text string) string {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		for line := range strings.Lines(l.String()) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				return line
			}
		}
		select {
		case <-l.more:
		case <-late:
			t.Fatalf("the log never said %q:\n%s", text, l)
		}
	}
}

// start runs `watermaster serve` with arguments, on ports that are free.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &running{t: t, log: &log{more: make(chan struct{}, 1)}, stop: stop, ended: make(chan error, 1)}
	root := newRoot()
	root.SetArgs(append([]string{"serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-format", "json"}, args...))
	root.SetErr(r.log)
	go func() {
		err := root.ExecuteContext(ctx)
		if err != nil {
			fmt.Fprintf(r.log, "\"serving\" ended: %v\n", err)
		}
		r.ended <- err
	}()
	t.Cleanup(func() { r.end() })
	r.line = r.log.wait(t, `"serving"`)
	var line struct{ Grpc, HTTP string }
	if err := json.Unmarshal([]byte(r.line), &line); err != nil {
		t.Fatalf("%v: %s", err, r.log)
	}
	r.grpc, r.http = line.Grpc, line.HTTP
	return r
}

// end ends the server and gives its error.
func (r *running) end() (err error) {
	r.stop()
	r.once.Do(func() { err = <-r.ended })
	return err
}

// client calls the server; c is nil for plain text.
func (r *running) client(c credentials.TransportCredentials) pb.LimiterServiceClient {
	if c == nil {
		c = insecure.NewCredentials()
	}
	conn, err := grpc.NewClient(r.grpc, grpc.WithTransportCredentials(c))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return pb.NewLimiterServiceClient(conn)
}

func request(id string, tokens int64) *pb.AcquireRequest {
	return &pb.AcquireRequest{
		RequestId: id, Project: "search", Destination: &pb.AcquireRequest_Route{Route: "smart"},
		InputTokens: tokens, MaxOutputTokens: proto.Int64(800), Block: durationpb.New(20 * time.Second),
	}
}

// TestServe serves the quickstart's configuration over gRPC and HTTP, grants at once, and on
// its end sends away who waits.
func TestServe(t *testing.T) {
	r := start(t, "--config", quickstart)
	if !strings.Contains(r.line, `"store":"memory"`) || !strings.Contains(r.line, `"organizations":["acme"]`) ||
		!strings.Contains(r.line, "acme: trusted that nothing was used before") {
		t.Errorf("it said %s", r.line)
	}
	client := r.client(nil)
	for _, ask := range []*pb.AcquireRequest{request("a", 1200), request("b", 160_000)} {
		if a, err := client.Acquire(t.Context(), ask); err != nil || a.GetGranted() == nil {
			t.Fatalf("got %v, %v, want a grant", a, err)
		}
	}
	waiter := make(chan *pb.AcquireResponse, 1)
	go func() {
		a, err := client.Acquire(t.Context(), request("c", 100_000))
		if err != nil {
			t.Error(err)
		}
		waiter <- a
	}()
	for r.get("/v1/headroom")["waiting"] != "1" { // of any class of any limit
	}
	r.stop()
	if a := <-waiter; a.GetWait() == nil {
		t.Errorf("got %v, want wait", a)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

// get fetches a page over HTTP; of a JSON object it gives the strings, numbers included, by
// the keys at any depth, the last of a key that is not 0.
func (r *running) get(path string) map[string]string {
	r.t.Helper()
	body, _ := r.fetch(path)
	var tree any
	found := map[string]string{}
	var walk func(key string, v any)
	walk = func(key string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				walk(k, e)
			}
		case []any:
			for _, e := range v {
				walk(key, e)
			}
		default:
			if s := fmt.Sprint(v); s != "0" {
				found[key] = s
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &tree); err != nil {
		r.t.Fatalf("%s: %v: %s", path, err, body)
	}
	walk("", tree)
	return found
}

func (r *running) fetch(path string) (body string, status int) {
	r.t.Helper()
	a, err := http.Get("http://" + r.http + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b), a.StatusCode
}

// TestServePages: what an operator looks at.
func TestServePages(t *testing.T) {
	r := start(t, "--config", quickstart, "--pprof", "127.0.0.1:0")
	for _, row := range []struct {
		path   string
		status int
		has    string
	}{
		{"/", 200, "/v1/acquire"},
		{"/healthz", 200, "ok"},
		{"/readyz", 200, "ok"},
		{"/debug/config", 200, "openai-main:"},
		{"/metrics", 200, `watermaster_waiters{organization="acme",priority_class="interactive"} 0`},
		{"/openapi.json", 200, "/v1/acquire"},
		{"/debug/pprof/", 404, "NOT"},
	} {
		body, status := r.fetch(row.path)
		if status != row.status || row.status == 200 && !strings.Contains(body, row.has) {
			t.Errorf("%s: got %d, %.200s", row.path, status, body)
		}
	}
	var line struct{ Pprof string }
	if err := json.Unmarshal([]byte(r.line), &line); err != nil {
		t.Fatal(err)
	}
	private := &running{t: t, http: line.Pprof}
	if body, status := private.fetch("/debug/pprof/goroutine?debug=1"); status != 200 || !strings.Contains(body, "goroutine profile") {
		t.Errorf("got %d, %.200s", status, body)
	}
}

// TestServeReloads: a changed file and a SIGHUP take hold, a wrong file is told and changes
// nothing, and one that would open the service to everybody is refused.
func TestServeReloads(t *testing.T) {
	text, err := os.ReadFile(quickstart)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("limits: {"), []byte("limits: {concurrency: 9, "), 1) // which does not flow back
	path := filepath.Join(t.TempDir(), "config.yaml")
	write := func(old, new string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(strings.Replace(string(text), old, new, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("", "")
	r := start(t, "--config", path)
	if a, err := r.client(nil).Acquire(t.Context(), request("a", 1200)); err != nil || a.GetGranted() == nil {
		t.Fatalf("got %v, %v", a, err)
	}
	write("requests: 300/min", "requests: 301/min")
	r.log.wait(t, "the configuration is in force")
	if body, _ := r.fetch("/v1/headroom"); !strings.Contains(body, `"quota":"301"`) || !strings.Contains(body, `"held":"1"`) {
		t.Errorf("got %s, want the new quota and the old counters", body)
	}
	write("requests: 300/min", "requets: 302/min")
	line := r.log.wait(t, "was not reloaded")
	if problem := r.log.wait(t, "requets"); !strings.Contains(problem, "requests") || !strings.Contains(problem, ":15:") {
		t.Errorf("got %s and %s, want the line and the nearest spelling", line, problem)
	}
	if body, _ := r.fetch("/v1/headroom"); !strings.Contains(body, `"quota":"301"`) {
		t.Errorf("got %s, want the quota of before", body)
	}
	for _, want := range []string{
		`watermaster_config_reloads_total{result="ok"} 1`, `watermaster_config_reloads_total{result="failed"} 1`,
		"watermaster_config_last_reload_successful 0",
	} {
		if body, _ := r.fetch("/metrics"); !strings.Contains(body, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	write("tokens: 200k/min", "tokens: 303k/min")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for {
		if body, _ := r.fetch("/v1/headroom"); strings.Contains(body, `"quota":"303000"`) {
			break
		}
		select {
		case <-r.log.more:
		case <-time.After(20 * time.Second):
			t.Fatal(r.log)
		}
	}
}

// TestServeState: with --state a restart forgets no lease, and one process has the
// directory at a time.
func TestServeState(t *testing.T) {
	for _, fsync := range []string{"100ms", "always", "never"} {
		args := []string{"--config", quickstart, "--state", t.TempDir(), "--fsync", fsync}
		r := start(t, args...)
		if !strings.Contains(r.line, `"store":"file"`) {
			t.Errorf("it said %s", r.line)
		}
		before, err := r.client(nil).Acquire(t.Context(), request("a", 1200))
		if err != nil || before.GetGranted() == nil {
			t.Fatalf("got %v, %v, want a grant", before, err)
		}
		if _, err := execute(t, append([]string{"serve", "--grpc", "127.0.0.1:0", "--http", ""}, args...)...); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("a second server on the directory: got %v", err)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		r = start(t, args...)
		if strings.Contains(r.line, "trusted that nothing was used") {
			t.Errorf("after a restart it said %s", r.line)
		}
		after, err := r.client(nil).Acquire(t.Context(), request("a", 1200))
		if got, want := after.GetGranted().GetLeaseId(), before.GetGranted().GetLeaseId(); err != nil || got != want {
			t.Errorf("--fsync %s: asked again after a restart: got lease %q, %v; want %q", fsync, got, err, want)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestServeRefuses(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{[]string{}, "--config"},
		{[]string{"--config", quickstart, "--grpc", "0.0.0.0:0"}, "--insecure"},
		{[]string{"--config", quickstart, "--grpc", ":0"}, "--insecure"},
		{[]string{"--config", quickstart, "--grpc", "nonsense"}, "--grpc"},
		{[]string{"--config", quickstart, "--http", "0.0.0.0:0"}, "--http"},
		{[]string{"--config", quickstart, "--pprof", "0.0.0.0:0"}, "--pprof"},
		{[]string{"--config", quickstart, "--grace", "1s", "--drain-delay", "2s"}, "--drain-delay"},
		{[]string{"--config", quickstart, "--max-waiting", "0"}, "--max-waiting"},
		{[]string{"--config", quickstart, "--tls-cert", "x"}, "--tls-key"},
		{[]string{"--config", quickstart, "--tls-client-ca", "x"}, "--tls-cert"},
		{[]string{"--config", quickstart, "--tls-cert", "nowhere.pem", "--tls-key", "nowhere.pem"}, "nowhere.pem"},
		{[]string{"--config", quickstart, "--fsync", "always"}, "--state"},
		{[]string{"--config", quickstart, "--fsync", "often", "--state", t.TempDir()}, "--fsync"},
		{[]string{"--config", quickstart, "--state", "serve_test.go/x"}, "--state"},
		{[]string{"--config", quickstart, "--state", t.TempDir(), "--store", "redis://127.0.0.1"}, "one of them"},
		{[]string{"--config", quickstart, "--store-user", "x"}, "--store is reached"},
		{[]string{"--config", quickstart, "--store", "rediss://127.0.0.1", "--store-cert", "x"}, "--store-key"},
		{[]string{"--config", quickstart, "--store", "redis://127.0.0.1", "--store-ca", "x"}, "rediss"},
		{[]string{"--config", quickstart, "--store", "rediss://127.0.0.1", "--store-ca", "nowhere.pem"}, "nowhere.pem"},
		{[]string{"--config", quickstart, "--store", "redis://:x@127.0.0.1", "--store-password-file", "x"}, "--store-password-file"},
		{[]string{"--config", quickstart, "--store", "redis://127.0.0.1", "--store-password-file", "nowhere.key"}, "nowhere.key"},
		{[]string{"--config", quickstart, "--store", "redis://127.0.0.1", "--store-timeout", "0s"}, "--store-timeout"},
		{[]string{"--config", quickstart, "--store", "redis://127.0.0.1", "--store-wait", "-1s"}, "--store-wait"},
		{[]string{"--config", quickstart, "--store", "http://127.0.0.1"}, "redis+cluster://"},
		{[]string{"--config", quickstart, "--log-level", "loud"}, "--log-level"},
		{[]string{"--config", quickstart, "--log-format", "xml"}, "--log-format"},
		{[]string{"--config", "nowhere.yaml"}, "nowhere.yaml"},
	}
	for _, tt := range tests {
		_, err := execute(t, append([]string{"serve"}, tt.args...)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.args, err, tt.want)
		}
	}
}

// TestEnvironment: a flag that is not given comes from the environment; one that is, does not.
func TestEnvironment(t *testing.T) {
	t.Setenv("WATERMASTER_CONFIG", quickstart)
	t.Setenv("WATERMASTER_LOG_FORMAT", "xml")
	if _, err := execute(t, "serve"); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Errorf("got %v, want a word on xml", err)
	}
	if _, err := execute(t, "serve", "--log-format", "yml"); err == nil || !strings.Contains(err.Error(), `"yml"`) {
		t.Errorf("got %v, want a word on yml", err)
	}
}
