package server

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/memory"
)

// small is an organization where one call at a time runs, and little is allowed in a
// minute.
const small = `
revision: 7
cold_start: trust
models:
  gpt: {context: 100k, max_output: 1000, aliases: ["gpt-2*"], price: {input: 1, output: 2}}
organizations:
  acme:
    limits: {cost: $500/day}
    accounts:
      main:
        provider: openai
        margin: 0%
        attributes: {base_url: "https://one.example"}
        pools:
          gpt: {models: [gpt], limits: {requests: 60/min, tokens: {quota: 60k, window: min, shape: sliding_window}, concurrency: 1}}
      claude:
        provider: anthropic
        margin: 0%
        pools:
          sonnet: {models: [sonnet], limits: {requests: 600/min, output_tokens: 10k/min}}
    projects:
      search: {weight: 2, limits: {tokens: 50k/min}}
      "*": {}
    routes:
      one: {targets: [{account: main, model: gpt}]}
      any: {targets: [{account: main, model: gpt}, {account: claude, model: sonnet, quality: 0.5}]}
`

// A world is a server with a client, in virtual time.
type world struct {
	pb.LimiterServiceClient
	pb.MonitorServiceClient
	t      *testing.T
	server *Server
	grpc   *grpc.Server
	conn   *grpc.ClientConn
	log    store.Log
	dialed atomic.Int64 // connections
	dial   func() (net.Conn, error)
}

// inWorld runs a test in virtual time with a server of a configuration.
func inWorld(t *testing.T, yaml string, o memory.Options, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, yaml, memory.Open(o))
		defer w.close()
		test(w)
	})
}

func parse(t testing.TB, yaml string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(yaml), time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func newWorld(t *testing.T, yaml string, log store.Log) *world {
	t.Helper()
	return newWorldOf(t, Options{Config: parse(t, yaml), Log: log})
}

func newWorldOf(t *testing.T, o Options, more ...grpc.ServerOption) *world {
	t.Helper()
	s, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, server: s, grpc: s.NewGRPC(more...), log: o.Log}
	listener := bufconn.Listen(1 << 20)
	go func() { _ = w.grpc.Serve(listener) }()
	w.dial = func() (net.Conn, error) {
		w.dialed.Add(1)
		return listener.Dial()
	}
	w.conn, err = grpc.NewClient("passthrough:///bufconn",
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return w.dial() }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	w.LimiterServiceClient = pb.NewLimiterServiceClient(w.conn)
	w.MonitorServiceClient = pb.NewMonitorServiceClient(w.conn)
	return w
}

func (w *world) close() {
	w.conn.Close()
	w.grpc.Stop()
	w.server.Close()
}

// ask makes a request for the route "one", by project search, of 100 + 100 tokens.
func ask(id string, change ...func(*pb.AcquireRequest)) *pb.AcquireRequest {
	r := &pb.AcquireRequest{
		RequestId: id, Project: "search", Destination: &pb.AcquireRequest_Route{Route: "one"},
		InputTokens: 100, MaxOutputTokens: proto.Int64(100),
	}
	for _, f := range change {
		f(r)
	}
	return r
}

func block(d time.Duration) func(*pb.AcquireRequest) {
	return func(r *pb.AcquireRequest) { r.Block = durationpb.New(d) }
}

func maxWait(d time.Duration) func(*pb.AcquireRequest) {
	return func(r *pb.AcquireRequest) { r.MaxWait = durationpb.New(d) }
}

func ttl(d time.Duration) func(*pb.AcquireRequest) {
	return func(r *pb.AcquireRequest) { r.LeaseTtl = durationpb.New(d) }
}

func class(name string) func(*pb.AcquireRequest) {
	return func(r *pb.AcquireRequest) { r.PriorityClass = name }
}

// acquire asks and fails the test on an error.
func (w *world) acquire(r *pb.AcquireRequest) *pb.AcquireResponse {
	w.t.Helper()
	a, err := w.Acquire(w.t.Context(), r)
	if err != nil {
		w.t.Fatalf("acquire %s: %v", r.RequestId, err)
	}
	return a
}

// grant asks and wants a grant.
func (w *world) grant(r *pb.AcquireRequest) *pb.Granted {
	w.t.Helper()
	a := w.acquire(r)
	if a.GetGranted() == nil {
		w.t.Fatalf("%s got %v, want a grant", r.RequestId, a)
	}
	return a.GetGranted()
}

// release ends a lease as used in full.
func (w *world) release(lease string) *pb.ReleaseResponse {
	w.t.Helper()
	a, err := w.Release(w.t.Context(), &pb.ReleaseRequest{LeaseId: lease, Outcome: pb.Outcome_OUTCOME_SUCCEEDED})
	if err != nil {
		w.t.Fatalf("release: %v", err)
	}
	return a
}

// later asks in the background.
func (w *world) later(ctx context.Context, r *pb.AcquireRequest) <-chan answered {
	c := make(chan answered, 1)
	start := time.Now()
	go func() {
		a, err := w.Acquire(ctx, r)
		c <- answered{a, err, time.Since(start)}
	}()
	synctest.Wait()
	return c
}

type answered struct {
	*pb.AcquireResponse
	err  error
	took time.Duration
}

// limit finds a limit of the headroom of the only organization.
func (w *world) limit(scope, name string) *pb.LimitHeadroom {
	w.t.Helper()
	return w.headroomOf("", scope, name)
}

func (w *world) headroomOf(organization, scope, name string) *pb.LimitHeadroom {
	w.t.Helper()
	a, err := w.GetHeadroom(w.t.Context(), &pb.GetHeadroomRequest{Organization: organization})
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, l := range a.Headroom.Limits {
		if l.Scope == scope && l.Name == name {
			return l
		}
		all = append(all, l.Scope+" "+l.Name)
	}
	w.t.Fatalf("there is no limit %s %s: %s", scope, name, strings.Join(all, ", "))
	return nil
}

// wantHealth checks what the server tells of itself.
func (w *world) wantHealth(want healthpb.HealthCheckResponse_ServingStatus) {
	w.t.Helper()
	a, err := healthpb.NewHealthClient(w.conn).Check(w.t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	if a.Status != want {
		w.t.Errorf("health %v, want %v", a.Status, want)
	}
}

func near(got, want time.Duration) bool { return max(got-want, want-got) < 5*time.Millisecond }

func wantCode(t *testing.T, err error, want codes.Code) *status.Status {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != want {
		t.Fatalf("got %v, want %v", err, want)
	}
	return s
}

func name(prefix string, i int) string { return fmt.Sprintf("%s-%d", prefix, i) }

// squeeze takes out what the text of a message has at random.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// organization gives the world's first organization.
func (w *world) organization() *organization { return w.server.directory.Load().list[0] }

func usage(input, output int64) *pb.Usage {
	return &pb.Usage{InputTokens: &input, OutputTokens: &output}
}
