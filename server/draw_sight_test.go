package server

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

// TestDrawPhases: what the requests about one call come to, as the pool's tokens, requests and
// calls in flight.
func TestDrawPhases(t *testing.T) {
	first := func(n int64, more ...string) *common.RateLimitDescriptor {
		return hitsAt(n, descriptor(append([]string{"account", "main", "request_id", "r"}, more...)...))
	}
	begin, end := []string{"phase", "request"}, []string{"phase", "end"}
	type step struct {
		ask                       *common.RateLimitDescriptor
		code                      rls.RateLimitResponse_Code
		after                     time.Duration
		tokens, requests, running int64
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"less was used", []step{{first(1000), isOK, 0, 1000, 1, 1}, {first(300), isOK, 0, 300, 1, 0}}},
		{"more was used", []step{{first(1000), isOK, 0, 1000, 1, 1}, {first(1800), isOK, 0, 1800, 1, 0}}},
		{"more than there is", []step{{first(1000), isOK, 0, 1000, 1, 1}, {first(30_000), isOK, 0, 30_000, 1, 0}}},
		{"usage not known", []step{{first(1000), isOK, 0, 1000, 1, 1}, {first(0), isOK, 0, 1000, 1, 0}}},
		{"given back", []step{{first(1000), isOK, 0, 1000, 1, 1}, {first(-400), isOK, 0, 600, 1, 0}}},
		{"more given back than it had", []step{{first(1000), isOK, 0, 1000, 1, 1}, {first(-4000), isOK, 0, 0, 1, 0}}},
		{"a third request is a call of its own", []step{{first(1000), isOK, 0, 1000, 1, 1}, {first(300), isOK, 0, 300, 1, 0}, {first(50), isOK, 0, 350, 2, 1}}},
		{"without an estimate", []step{{descriptor("account", "main", "request_id", "r"), isOK, 0, 0, 1, 1}, {first(300), isOK, 0, 0, 1, 0}}},
		{"an end that is late", []step{{first(1000), isOK, 0, 1000, 1, 1}, {first(300), isOK, 30 * time.Second, 300, 1, 0}}},
		{"a lost end", []step{{first(1000), isOK, 0, 1000, 1, 1}, {hitsAt(0, descriptor("account", "main")), isOK, 11 * time.Minute, 0, 0, 0}}},
		{"an end after the TTL", []step{{first(1000), isOK, 0, 1000, 1, 1}, {first(300), isOK, 11 * time.Minute, 0, 0, 0}}},
		{"phases", []step{{first(1000, begin...), isOK, 0, 1000, 1, 1}, {first(300, end...), isOK, 0, 300, 1, 0}}},
		{"the first one again", []step{{first(1000, begin...), isOK, 0, 1000, 1, 1}, {first(1000, begin...), isOK, 0, 1000, 1, 1}, {first(300, end...), isOK, 0, 300, 1, 0}}},
		{"the first one again, later", []step{{first(1000, begin...), isOK, 0, 1000, 1, 1}, {first(1000, begin...), isOK, 5 * time.Second, 1000, 1, 1}, {first(300, end...), isOK, 0, 300, 1, 0}}},
		{"an id that is used anew", []step{{first(1000, begin...), isOK, 0, 1000, 1, 1}, {first(300, end...), isOK, 0, 300, 1, 0}, {first(1000, begin...), isOK, 0, 1300, 2, 1}, {first(200, end...), isOK, 0, 500, 2, 0}}},
		{"the end twice", []step{{first(1000, begin...), isOK, 0, 1000, 1, 1}, {first(300, end...), isOK, 0, 300, 1, 0}, {first(300, end...), isOK, 0, 300, 1, 0}}},
		{"checked first, charged by force", []step{{first(0, begin...), isOK, 0, 0, 0, 0}, {first(300, end...), isOK, 0, 300, 1, 0}, {first(30_000, end...), isOK, 0, 30_300, 2, 0}, {first(1, begin...), isOver, 0, 30_300, 2, 0}}},
		{"an end of nothing", []step{{first(0, end...), isOK, 0, 0, 0, 0}, {first(-5, end...), isOK, 0, 0, 0, 0}, {descriptor("account", "main", "phase", "end", "request_id", "r", "metric", "requests"), isOK, 0, 0, 1, 0}}},
		{"by metric", []step{
			{first(1000, "metric", "tokens"), isOK, 0, 1000, 0, 0},
			{first(300, "metric", "tokens"), isOK, 0, 300, 0, 0},
		}},
		{"refused, then asked again", []step{{first(19_000), isOK, 0, 19_000, 1, 1},
			{hitsAt(2000, descriptor("account", "main", "request_id", "s")), isOver, 0, 19_000, 1, 1},
			{first(300), isOK, 0, 300, 1, 0},
			{hitsAt(2000, descriptor("account", "main", "request_id", "s")), isOK, 0, 2300, 2, 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, drawnOn, memory.Options{}, func(w *world) {
				for i, s := range tt.steps {
					time.Sleep(s.after)
					if a := w.draw(s.ask); a.OverallCode != s.code {
						w.t.Errorf("step %d: got %v", i, a)
					}
					got := [3]int64{w.held("pool/main/gpt", "tokens/min"), w.held("pool/main/gpt", "requests/min"), w.held("pool/main/gpt", "concurrency")}
					if want := [3]int64{s.tokens, s.requests, s.running}; got != want {
						w.t.Errorf("step %d: holds %v tokens, requests and calls, want %v", i, got, want)
					}
				}
			})
		})
	}
}

// TestDrawProjects: in another project the same request_id is another call.
func TestDrawProjects(t *testing.T) {
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		w.draw(hitsAt(1000, descriptor("project", "search", "account", "main", "request_id", "r")))
		w.draw(hitsAt(10, descriptor("project", "envoy", "account", "main", "request_id", "r")))
		w.wantHeld(map[string]int64{"project/search tokens": 1000, "pool/main/gpt tokens": 1010})
		w.draw(hitsAt(200, descriptor("project", "search", "account", "main", "request_id", "r")))
		w.wantHeld(map[string]int64{"project/search tokens": 200, "pool/main/gpt tokens": 210})
	})
}

// TestDrawOfWorker: a call that a worker's lease has paid for is let through and charges
// nothing; at its end its usage is told.
func TestDrawOfWorker(t *testing.T) {
	const pool = "pool/main/gpt "
	worker := func(w *world) *pb.Granted {
		most := int64(500)
		return w.grant(&pb.AcquireRequest{RequestId: "r", Project: "search", Destination: &pb.AcquireRequest_Route{Route: "any"}, InputTokens: 500,
			MaxOutputTokens: &most, Constraints: &pb.Constraints{Accounts: []string{"main"}}})
	}
	by := func(n int64, words ...string) *common.RateLimitDescriptor { return hitsAt(n, descriptor(words...)) }
	for _, tt := range []struct {
		name string
		ask  func(lease string) []*common.RateLimitDescriptor
		want int64 // tokens
		runs bool  // it is not settled
	}{
		{"by lease", func(l string) []*common.RateLimitDescriptor {
			return list(by(900, "account", "main", "lease_id", l), by(900, "account", "main", "lease_id", l))
		}, 1000, true},
		{"by lease, at its end", func(l string) []*common.RateLimitDescriptor {
			return list(by(900, "lease_id", l, "phase", "end", "project", "search", "account", "main"))
		}, 900, false},
		{"by its request_id", func(string) []*common.RateLimitDescriptor {
			return list(by(900, "account", "main", "request_id", "r"), by(800, "request_id", "r"))
		}, 1000, true},
		{"by its request_id, at the end", func(string) []*common.RateLimitDescriptor {
			return list(by(1200, "account", "main", "request_id", "r", "phase", "end"))
		}, 1200, true},
		{"in another project", func(string) []*common.RateLimitDescriptor {
			return list(by(100, "account", "main", "request_id", "r", "project", "envoy"))
		}, 1100, true},
		{"by no lease", func(string) []*common.RateLimitDescriptor {
			return list(by(100, "account", "main", "lease_id", "nonsense"))
		}, 1100, true},
		{"by an unknown lease", func(string) []*common.RateLimitDescriptor {
			return list(by(100, "account", "main", "lease_id", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB"))
		}, 1100, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, drawnOn, memory.Options{}, func(w *world) {
				g := worker(w)
				for _, d := range tt.ask(g.LeaseId) {
					if a := w.draw(d); a.OverallCode != isOK {
						w.t.Fatalf("got %v", a)
					}
				}
				w.wantHeld(map[string]int64{pool + "tokens": tt.want})
				r, err := w.Renew(w.t.Context(), &pb.RenewRequest{LeaseIds: []string{g.LeaseId}})
				if err != nil || r.Renewals[0].Gone == tt.runs {
					w.t.Errorf("got %v, %v, want it to run: %t", r, err, tt.runs)
				}
			})
		})
	}
}

// TestDrawOfEndedWorker: a lease that has ended pays for nothing; nor is an end told twice.
func TestDrawOfEndedWorker(t *testing.T) {
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		g := w.grant(ask("r", func(r *pb.AcquireRequest) { r.Destination = &pb.AcquireRequest_Route{Route: "any"} }))
		w.release(g.LeaseId)
		before := w.held("organization", "tokens/min")
		w.draw(hitsAt(70, descriptor("lease_id", g.LeaseId, "project", "search", "phase", "end")))
		w.draw(hitsAt(70, descriptor("request_id", "r", "project", "search", "phase", "end")))
		w.wantHeld(map[string]int64{"organization tokens": before})
		w.draw(hitsAt(70, descriptor("lease_id", g.LeaseId, "project", "search")))
		w.wantHeld(map[string]int64{"organization tokens": before + 70})
	})
}

// TestDrawLease: the lease of a draw is told to the gateway, and whoever is passed it may end it.
func TestDrawLease(t *testing.T) {
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		a := w.draw(hitsAt(1000, descriptor("model", "gpt", "request_id", "r")))
		told := map[string]string{}
		for _, h := range a.RequestHeadersToAdd {
			told[h.Key] = h.Value
		}
		if told[headerAccount] == "" || told[headerModel] != "gpt" || len(told[headerLease]) != leaseText {
			w.t.Fatalf("told %v", told)
		}
		// The lease is passed on with the request, and comes back with it.
		w.draw(hitsAt(400, descriptor("lease_id", told[headerLease], "request_id", "r")))
		w.wantHeld(map[string]int64{"organization tokens": 400})
		_, err := w.Renew(w.t.Context(), &pb.RenewRequest{LeaseIds: []string{told[headerLease]}})
		if err != nil {
			w.t.Error(err)
		}
	})
}

// TestDrawCredentials: a caller draws for its own projects and classes alone, and what others
// have does not pay for it.
func TestDrawCredentials(t *testing.T) {
	const gatewayKey = "wm_CANARY-searching"
	yaml := guarded() + fmt.Sprintf("  - {name: searching, sha256: %x, organization: acme, projects: [search], priority_classes: [standard], services: [envoy]}\n", sha256.Sum256([]byte(gatewayKey)))
	inWorld(t, yaml, memory.Options{}, func(w *world) {
		client := rls.NewRateLimitServiceClient(w.conn)
		draw := func(key string, d *common.RateLimitDescriptor) (*rls.RateLimitResponse, error) {
			return client.ShouldRateLimit(w.as(key), &rls.RateLimitRequest{Domain: "acme", Descriptors: list(d)})
		}
		for _, tt := range []struct {
			name, key string
			ask       *common.RateLimitDescriptor
			want      codes.Code
		}{
			{"nobody", "", descriptor("a", "b"), codes.Unauthenticated},
			{"a worker", searchKey, descriptor("a", "b"), codes.PermissionDenied},
			{"another project", gatewayKey, descriptor("project", "other"), codes.PermissionDenied},
			{"another class", gatewayKey, descriptor("priority_class", "batch"), codes.PermissionDenied},
			{"what may be another's is given back", gatewayKey, hitsAt(-100, descriptor("project", "search")), codes.PermissionDenied},
			{"its own by name", gatewayKey, hitsAt(100, descriptor("project", "search")), codes.OK},
			{"its own by default", gatewayKey, hitsAt(10, descriptor("a", "b")), codes.OK},
		} {
			if _, err := draw(tt.key, tt.ask); status.Code(err) != tt.want {
				w.t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
			}
		}
		search := func() (held int64) {
			for _, l := range w.organization().engine().Limits(w.organization().now()) {
				if l.Scope == limiter.ScopeProject && l.Owner == "search" {
					held = l.Held
				}
			}
			return held
		}
		if got := search(); got != 110 {
			w.t.Errorf("the project holds %d, want 110", got)
		}

		// A lease of another project is as unknown: the call draws for itself.
		r := ask("w")
		r.Organization, r.Project = "acme", "lab"
		g, err := w.Acquire(w.as(workersKey), r)
		if err != nil || g.GetGranted() == nil {
			w.t.Fatalf("got %v, %v", g, err)
		}
		for i, words := range [][]string{{"lease_id", g.GetGranted().LeaseId}, {"request_id", "w"}} {
			if _, err := draw(gatewayKey, hitsAt(100, descriptor(words...))); err != nil {
				w.t.Error(err)
			}
			if got, want := search(), int64(210+100*i); got != want {
				w.t.Errorf("%v: the project holds %d, want %d", words, got, want)
			}
		}
	})
}
