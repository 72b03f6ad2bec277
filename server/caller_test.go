package server

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

// The keys of the tests. None of them may ever be seen in what the server writes.
const (
	workersKey = "wm_CANARY-workers"
	searchKey  = "wm_CANARY-search"
	otherKey   = "wm_CANARY-other"
	operator   = "wm_CANARY-operator"
	monitorKey = "wm_CANARY-monitor"
	meshKey    = "wm_CANARY-mesh"    // an organization's Envoys
	gatewayKey = "wm_CANARY-gateway" // everybody's
)

// guarded is small with another organization beside it, and credentials.
func guarded() string {
	var b strings.Builder
	b.WriteString(small)
	b.WriteString(`
  other:
    accounts: {a: {provider: openai, pools: {p: {models: [m], limits: {requests: 10/min}}}}}
    routes: {one: {targets: [{account: a, model: m}]}}
credentials:
`)
	for _, c := range []struct{ name, key, rest string }{
		{"workers", workersKey, "organization: acme"},
		{"search", searchKey, "organization: acme, projects: [search], priority_classes: [standard, batch]"},
		{"other", otherKey, "organization: other, projects: [p]"},
		{"operator", operator, `organization: "*", services: [monitor, admin]`},
		{"monitor", monitorKey, "organization: acme, services: [monitor]"},
		{"mesh", meshKey, "organization: acme, services: [envoy]"},
		{"gateway", gatewayKey, `organization: "*", services: [envoy]`},
	} {
		fmt.Fprintf(&b, "  - {name: %s, sha256: %x, %s}\n", c.name, sha256.Sum256([]byte(c.key)), c.rest)
	}
	return b.String()
}

// as makes the context of a caller with a key.
func (w *world) as(key string) context.Context {
	if key == "" {
		return w.t.Context()
	}
	return metadata.AppendToOutgoingContext(w.t.Context(), "authorization", "Bearer "+key)
}

// TestCredentials: every call with a right key, a wrong one, none, another organization's and
// one for other services.
func TestCredentials(t *testing.T) {
	inWorld(t, guarded(), memory.Options{}, func(w *world) {
		a, err := w.Acquire(w.as(workersKey), ask("a"))
		if err != nil || a.GetGranted() == nil {
			t.Fatalf("got %v, %v, want a grant", a, err)
		}
		id := a.GetGranted().LeaseId
		calls := map[string]func(context.Context) error{
			"acquire": func(ctx context.Context) error { _, err := w.Acquire(ctx, ask("b", block(0))); return err },
			"renew": func(ctx context.Context) error {
				r, err := w.Renew(ctx, &pb.RenewRequest{LeaseIds: []string{id}})
				if err == nil && r.Renewals[0].Gone {
					return status.Error(codes.NotFound, "gone")
				}
				return err
			},
			"report": func(ctx context.Context) error {
				_, err := w.Report(ctx, &pb.ReportRequest{LeaseId: id})
				return err
			},
			"headroom": func(ctx context.Context) error {
				_, err := w.GetHeadroom(ctx, &pb.GetHeadroomRequest{Organization: "acme"})
				return err
			},
			"watch": func(ctx context.Context) error {
				s, err := w.WatchHeadroom(ctx, &pb.WatchHeadroomRequest{Organization: "acme"})
				if err == nil {
					_, err = s.Recv()
				}
				return err
			},
			"release": func(ctx context.Context) error {
				_, err := w.Release(ctx, &pb.ReleaseRequest{LeaseId: id})
				return err
			},
		}
		const ok, none, denied, unknown = codes.OK, codes.Unauthenticated, codes.PermissionDenied, codes.NotFound
		for _, row := range []struct {
			key                                               string
			acquire, renew, report, headroom, watch, released codes.Code
		}{
			{"", none, none, none, none, none, none},
			{"wm_CANARY-wrong", none, none, none, none, none, none},
			{otherKey, denied, unknown, unknown, denied, denied, unknown}, // project search is not its own either
			{operator, denied, denied, denied, ok, ok, denied},
			{monitorKey, denied, denied, denied, ok, ok, denied},
			{searchKey, ok, ok, ok, ok, ok, ok},
		} {
			for name, want := range map[string]codes.Code{
				"acquire": row.acquire, "renew": row.renew, "report": row.report, "headroom": row.headroom, "watch": row.watch,
			} {
				ctx, cancel := context.WithCancel(w.as(row.key))
				if err := calls[name](ctx); status.Code(err) != want {
					t.Errorf("%s with %q: got %v, want %v", name, row.key, err, want)
				} else if strings.Contains(fmt.Sprint(err), "CANARY") {
					t.Errorf("%s with %q: the error tells the key: %v", name, row.key, err)
				}
				cancel()
			}
			if err := calls["release"](w.as(row.key)); status.Code(err) != row.released {
				t.Errorf("release with %q: got %v, want %v", row.key, err, row.released)
			}
		}
		if _, err := healthpb.NewHealthClient(w.conn).Check(w.t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
			t.Errorf("health: %v, want it without a key", err)
		}
	})
}

// TestRateLimitCredentials: Envoy's service takes a credential for it; a domain of an organization
// one that is for that, and a domain with limits of its own one that is for all.
func TestRateLimitCredentials(t *testing.T) {
	const none, denied, in = codes.Unauthenticated, codes.PermissionDenied, codes.OK
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, Options{Config: parse(t, guarded()), Log: memory.Open(memory.Options{}), Envoy: EnvoyOptions{
			Limits: limitsOf(t, gateway), Domains: map[string]string{"sidecars": "acme"},
		}})
		defer w.close()
		requests := []*rls.RateLimitRequest{
			{Domain: "gateway", Descriptors: []*common.RateLimitDescriptor{descriptor("user", "a")}},
			{Domain: "acme", Descriptors: []*common.RateLimitDescriptor{descriptor("project", "search")}},
			{Domain: "sidecars", Descriptors: []*common.RateLimitDescriptor{descriptor("project", "search")}},
			{Domain: "other", Descriptors: []*common.RateLimitDescriptor{descriptor("project", "p")}},
			{Domain: "x", Descriptors: []*common.RateLimitDescriptor{descriptor("organization", "other", "project", "p")}},
			{Domain: "x", Descriptors: []*common.RateLimitDescriptor{descriptor("user", "a")}},
		}
		for _, row := range []struct {
			key  string
			want [6]codes.Code
		}{
			{"", [6]codes.Code{none, none, none, none, none, none}},
			{"wm_CANARY-wrong", [6]codes.Code{none, none, none, none, none, none}},
			{workersKey, [6]codes.Code{denied, denied, denied, denied, denied, denied}},
			{monitorKey, [6]codes.Code{denied, denied, denied, denied, denied, denied}},
			{operator, [6]codes.Code{denied, denied, denied, denied, denied, denied}},
			{meshKey, [6]codes.Code{denied, in, in, denied, denied, in}},
			{gatewayKey, [6]codes.Code{in, in, in, in, in, in}},
		} {
			for i, r := range requests {
				_, err := rls.NewRateLimitServiceClient(w.conn).ShouldRateLimit(w.as(row.key), r)
				got := status.Code(err)
				if got != none && got != denied {
					got = in // whatever it then says
				}
				if got != row.want[i] {
					t.Errorf("%q to %s %v: got %v, want %v", row.key, r.Domain, r.Descriptors, err, row.want[i])
				}
				if strings.Contains(fmt.Sprint(err), "CANARY") {
					t.Errorf("%q: the error tells the key: %v", row.key, err)
				}
			}
		}
	})
}

// TestCredentialNarrows: what a request leaves open is the credential's; what it names must
// be; and what it sees is its own.
func TestCredentialNarrows(t *testing.T) {
	inWorld(t, guarded(), memory.Options{}, func(w *world) {
		project := func(name string) func(*pb.AcquireRequest) { return func(r *pb.AcquireRequest) { r.Project = name } }
		wide, err := w.Acquire(w.as(workersKey), ask("a", project("ads")))
		if err != nil || wide.GetGranted() == nil {
			t.Fatalf("got %v, %v", wide, err)
		}
		for _, row := range []struct {
			change func(*pb.AcquireRequest)
			want   codes.Code
		}{
			{project(""), codes.OK},
			{project("search"), codes.OK},
			{project("ads"), codes.PermissionDenied},
			{class("batch"), codes.OK},
			{class("interactive"), codes.PermissionDenied},
			{func(r *pb.AcquireRequest) { r.Organization = "acme" }, codes.OK},
			{func(r *pb.AcquireRequest) { r.Organization = "other" }, codes.PermissionDenied},
			{func(r *pb.AcquireRequest) { r.Organization = "nowhere" }, codes.PermissionDenied},
		} {
			_, err := w.Acquire(w.as(searchKey), ask("b", row.change, block(0)))
			wantCode(t, err, row.want)
		}
		// Another project's lease is as unknown as none.
		lease := wide.GetGranted().LeaseId
		_, err = w.Release(w.as(searchKey), &pb.ReleaseRequest{LeaseId: lease})
		wantCode(t, err, codes.NotFound)
		h, err := w.GetHeadroom(w.as(searchKey), &pb.GetHeadroomRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range h.Headroom.Limits {
			if l.Scope == "project/ads" {
				t.Errorf("it sees %v", l)
			}
			for _, c := range l.TopConsumers {
				if c.Project != "search" {
					t.Errorf("it sees %v", c)
				}
			}
		}
		_, err = w.GetHeadroom(w.as(searchKey), &pb.GetHeadroomRequest{Project: "ads"})
		wantCode(t, err, codes.PermissionDenied)
		if n := w.server.denied.Load(); n != 5 {
			t.Errorf("%d calls are counted as denied, want 5", n)
		}
	})
}

// TestCredentialsReload: a key that the configuration no longer has is refused at once.
func TestCredentialsReload(t *testing.T) {
	inWorld(t, guarded(), memory.Options{}, func(w *world) {
		if _, err := w.Acquire(w.as(workersKey), ask("a", block(0))); err != nil {
			t.Fatal(err)
		}
		w.reload(strings.Replace(strings.Replace(guarded(), "revision: 7", "revision: 8", 1),
			fmt.Sprintf("%x", sha256.Sum256([]byte(workersKey))), fmt.Sprintf("%x", sha256.Sum256([]byte("wm_CANARY-rotated"))), 1))
		_, err := w.Acquire(w.as(workersKey), ask("b", block(0)))
		wantCode(t, err, codes.Unauthenticated)
		if _, err := w.Acquire(w.as("wm_CANARY-rotated"), ask("b", block(0))); err != nil {
			t.Error(err)
		}
	})
}

// TestAuthorizeHTTP: pages that tell of everybody are for who may know of everybody.
func TestAuthorizeHTTP(t *testing.T) {
	inWorld(t, guarded(), memory.Options{}, func(w *world) {
		for _, row := range []struct {
			key, what string
			want      codes.Code
		}{
			{"", "metrics", codes.Unauthenticated},
			{"wm_CANARY-wrong", "metrics", codes.Unauthenticated},
			{workersKey, "metrics", codes.PermissionDenied},
			{monitorKey, "metrics", codes.PermissionDenied},
			{operator, "metrics", codes.OK},
			{operator, "debug", codes.OK},
			{monitorKey, "debug", codes.PermissionDenied},
			{operator, "anything", codes.PermissionDenied},
		} {
			r, _ := http.NewRequest("GET", "/", nil)
			if row.key != "" {
				r.Header.Set("Authorization", "Bearer "+row.key)
			}
			if got := status.Code(w.server.AuthorizeHTTP(r, row.what)); got != row.want {
				t.Errorf("%s with %q: got %v, want %v", row.what, row.key, got, row.want)
			}
		}
	})
	inWorld(t, small, memory.Options{}, func(w *world) {
		r, _ := http.NewRequest("GET", "/", nil)
		if err := w.server.AuthorizeHTTP(r, "metrics"); err != nil {
			t.Errorf("without credentials: %v", err)
		}
	})
}

// TestHealthWatchEnds: a stream that watches the health is told, and does not hold up the end.
func TestHealthWatchEnds(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		s, err := healthpb.NewHealthClient(w.conn).Watch(w.t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if a, err := s.Recv(); err != nil || a.Status != healthpb.HealthCheckResponse_SERVING {
			t.Fatalf("got %v, %v", a, err)
		}
		start := time.Now()
		w.server.Drain()
		if a, err := s.Recv(); err != nil || a.Status != healthpb.HealthCheckResponse_NOT_SERVING {
			t.Errorf("got %v, %v", a, err)
		}
		w.grpc.GracefulStop()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the end took %v", took)
		}
	})
}
