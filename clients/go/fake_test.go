package watermaster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

// network has services in memory at addresses, any of which may be away, so that a test lives in
// one bubble of synctest.
type network struct {
	t     *testing.T
	mu    sync.Mutex
	nodes map[string]*fake
}

// fake is a LimiterService that notes what it is asked. It grants, unless acquire says otherwise.
type fake struct {
	watermasterv1.UnimplementedLimiterServiceServer
	acquire func(ctx context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error)
	renew   func(in *watermasterv1.RenewRequest) (*watermasterv1.RenewResponse, error)
	release func(ctx context.Context, in *watermasterv1.ReleaseRequest) (*watermasterv1.ReleaseResponse, error)
	every   time.Duration // renew_every of the grants; 0: absent
	within  time.Duration // start_within; 0: 10 s
	name    string

	network  *network
	server   *grpc.Server
	health   *health.Server
	listener *bufconn.Listener

	mu       sync.Mutex
	acquires []*watermasterv1.AcquireRequest
	renewals []*watermasterv1.RenewRequest
	releases []*watermasterv1.ReleaseRequest
	reports  []*watermasterv1.ReportRequest
	checks   int
}

func newNetwork(t *testing.T) *network { return &network{t: t, nodes: map[string]*fake{}} }

// serve lets a fake answer at an address, as often as it was stopped.
func (n *network) serve(name string, f *fake) *fake {
	f.name, f.network = name, n
	f.listener = bufconn.Listen(1 << 16)
	f.server = grpc.NewServer(grpc.UnaryInterceptor(f.intercept))
	f.health = health.NewServer()
	watermasterv1.RegisterLimiterServiceServer(f.server, f)
	grpc_health_v1.RegisterHealthServer(f.server, f.health)
	n.mu.Lock()
	n.nodes[name] = f
	n.mu.Unlock()
	go func() { _ = f.server.Serve(f.listener) }()
	return f
}

// stop refuses connections from now on, and breaks those that are open.
func (f *fake) stop() {
	f.network.mu.Lock()
	delete(f.network.nodes, f.name)
	f.network.mu.Unlock()
	f.server.Stop()
}

func (n *network) dial(_ context.Context, name string) (net.Conn, error) {
	n.mu.Lock()
	f := n.nodes[name]
	n.mu.Unlock()
	if f == nil {
		return nil, errors.New("connection refused")
	}
	return f.listener.Dial()
}

// limiter is closed at the end of the test; the services are stopped after it.
func (n *network) limiter(addresses string, o Options) *Limiter {
	n.t.Helper()
	o.DialOptions = append(o.DialOptions, grpc.WithContextDialer(n.dial))
	l, err := New(addresses, o)
	if err != nil {
		n.t.Fatal(err)
	}
	return l
}

// end closes all, so that synctest finds no goroutine left.
func (n *network) end(l *Limiter) {
	l.Close()
	for _, f := range n.nodes {
		f.server.Stop()
	}
}

func (f *fake) intercept(ctx context.Context, in any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	f.mu.Lock()
	switch in := in.(type) {
	case *watermasterv1.AcquireRequest:
		f.acquires = append(f.acquires, in)
	case *watermasterv1.RenewRequest:
		f.renewals = append(f.renewals, in)
	case *watermasterv1.ReleaseRequest:
		f.releases = append(f.releases, in)
	case *watermasterv1.ReportRequest:
		f.reports = append(f.reports, in)
	case *grpc_health_v1.HealthCheckRequest:
		f.checks++
	}
	f.mu.Unlock()
	return handle(ctx, in)
}

func (f *fake) Acquire(ctx context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
	f.mu.Lock()
	acquire := f.acquire
	f.mu.Unlock()
	if acquire != nil {
		return acquire(ctx, in)
	}
	return f.grant(in), nil
}

func (f *fake) Renew(_ context.Context, in *watermasterv1.RenewRequest) (*watermasterv1.RenewResponse, error) {
	f.mu.Lock()
	renew := f.renew
	f.mu.Unlock()
	if renew != nil {
		return renew(in)
	}
	out := &watermasterv1.RenewResponse{}
	for _, id := range in.GetLeaseIds() {
		out.Renewals = append(out.Renewals, &watermasterv1.Renewal{LeaseId: id, Ttl: durationpb.New(30 * time.Second)})
	}
	return out, nil
}

func (f *fake) Release(ctx context.Context, in *watermasterv1.ReleaseRequest) (*watermasterv1.ReleaseResponse, error) {
	f.mu.Lock()
	release := f.release
	f.mu.Unlock()
	if release != nil {
		return release(ctx, in)
	}
	return &watermasterv1.ReleaseResponse{}, nil
}

func (f *fake) Report(context.Context, *watermasterv1.ReportRequest) (*watermasterv1.ReportResponse, error) {
	return &watermasterv1.ReportResponse{
		Advice:   &watermasterv1.Advice{Retry: true, RetryAfter: durationpb.New(time.Second), FailureClass: watermasterv1.FailureClass_FAILURE_CLASS_THROTTLED},
		Pressure: &watermasterv1.Pressure{Level: watermasterv1.PressureLevel_PRESSURE_LEVEL_HIGH},
	}, nil
}

// change is for what the fake does while it is being asked.
func (f *fake) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

// grant names the lease by the request's key.
func (f *fake) grant(in *watermasterv1.AcquireRequest) *watermasterv1.AcquireResponse {
	g := &watermasterv1.Granted{
		LeaseId:     fmt.Sprintf("%s/%d", in.GetRequestId(), in.GetAttempt()),
		Target:      &watermasterv1.Target{Account: "openai-main", Provider: "openai", Model: first(in.GetModel(), "of-route")},
		StartWithin: durationpb.New(first(f.within, 10*time.Second)), Ttl: in.GetLeaseTtl(), Waited: durationpb.New(0),
	}
	if f.every > 0 {
		g.RenewEvery = durationpb.New(f.every)
	}
	return &watermasterv1.AcquireResponse{
		RequestId: in.GetRequestId(), Decision: &watermasterv1.AcquireResponse_Granted{Granted: g},
		Pressure: &watermasterv1.Pressure{Level: watermasterv1.PressureLevel_PRESSURE_LEVEL_NORMAL},
	}
}

func waitAnswer(after time.Duration) *watermasterv1.AcquireResponse {
	return &watermasterv1.AcquireResponse{
		Decision: &watermasterv1.AcquireResponse_Wait{Wait: &watermasterv1.Wait{RetryAfter: durationpb.New(after)}},
		Pressure: &watermasterv1.Pressure{Level: watermasterv1.PressureLevel_PRESSURE_LEVEL_SATURATED},
	}
}

func rejectAnswer(r *watermasterv1.Rejected) *watermasterv1.AcquireResponse {
	return &watermasterv1.AcquireResponse{
		Decision: &watermasterv1.AcquireResponse_Rejected{Rejected: r}, Pressure: &watermasterv1.Pressure{},
	}
}

var errAway = status.Error(codes.Unavailable, "the store cannot be used")

func (f *fake) asked() []*watermasterv1.AcquireRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.acquires)
}

func (f *fake) renewed() []*watermasterv1.RenewRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.renewals)
}

func (f *fake) released() []*watermasterv1.ReleaseRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.releases)
}

func (f *fake) checked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.checks
}

// calls are those for leases.
func (f *fake) calls() int { return len(f.asked()) + len(f.released()) }
