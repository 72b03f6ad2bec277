package server

import (
	"maps"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

// startedAfter makes a release that tells when its call was sent.
func startedAfter(lease string, d time.Duration) *pb.ReleaseRequest {
	return &pb.ReleaseRequest{LeaseId: lease, Outcome: pb.Outcome_OUTCOME_SUCCEEDED, StartedAfter: durationpb.New(d)}
}

func (w *world) releaseAs(r *pb.ReleaseRequest) {
	w.t.Helper()
	if _, err := w.Release(w.t.Context(), r); err != nil {
		w.t.Fatalf("release: %v", err)
	}
}

// TestMetricsOfLateStarts: a late start is counted once a lease, however often it is told.
func TestMetricsOfLateStarts(t *testing.T) {
	const within = 700 * time.Millisecond
	tests := []struct {
		name         string
		tell         func(w *world, lease string)
		sent, unsent float64
	}{
		{"nothing is told", func(w *world, lease string) { w.release(lease) }, 0, 0},
		{"in time", func(w *world, lease string) { w.releaseAs(startedAfter(lease, within)) }, 0, 0},
		{"too late", func(w *world, lease string) { w.releaseAs(startedAfter(lease, within+time.Millisecond)) }, 1, 0},
		{"told twice", func(w *world, lease string) {
			w.releaseAs(startedAfter(lease, time.Second))
			w.releaseAs(startedAfter(lease, time.Second))
		}, 1, 0},
		{"reported, reported again, and released", func(w *world, lease string) {
			for range 2 {
				if _, err := w.Report(w.t.Context(), &pb.ReportRequest{LeaseId: lease, StartedAfter: durationpb.New(time.Second)}); err != nil {
					t.Fatal(err)
				}
			}
			w.releaseAs(startedAfter(lease, time.Second))
		}, 1, 0},
		{"given up in time", func(w *world, lease string) {
			time.Sleep(within)
			w.releaseAs(&pb.ReleaseRequest{LeaseId: lease, Outcome: pb.Outcome_OUTCOME_UNSENT})
		}, 0, 0},
		{"given up too late", func(w *world, lease string) {
			time.Sleep(within + time.Millisecond)
			w.releaseAs(&pb.ReleaseRequest{LeaseId: lease, Outcome: pb.Outcome_OUTCOME_UNSENT})
			w.releaseAs(&pb.ReleaseRequest{LeaseId: lease, Outcome: pb.Outcome_OUTCOME_UNSENT})
		}, 0, 1},
		{"too late after a wait", func(w *world, lease string) {
			next := w.later(w.t.Context(), ask("next"))
			time.Sleep(5 * time.Second)
			w.release(lease)
			g := (<-next).GetGranted()
			if d := g.GetStartWithin().AsDuration(); !near(d, 5*time.Second+within) {
				t.Fatalf("start within %v, want 5.7 s", d)
			}
			w.releaseAs(startedAfter(g.LeaseId, 5*time.Second+within+10*time.Millisecond))
		}, 1, 0},
		{"in time after a wait", func(w *world, lease string) {
			next := w.later(w.t.Context(), ask("next"))
			time.Sleep(5 * time.Second)
			w.release(lease)
			w.releaseAs(startedAfter((<-next).GetGranted().GetLeaseId(), 5*time.Second+within-10*time.Millisecond))
		}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, small, memory.Options{}, func(w *world) {
				tt.tell(w, w.grant(ask("a")).LeaseId)
				s := w.scrape()
				const name = "watermaster_late_starts_total"
				sent := s[name+`{organization="acme",project="search",sent="true"}`]
				unsent := s[name+`{organization="acme",project="search",sent="false"}`]
				if sent != tt.sent || unsent != tt.unsent {
					t.Errorf("%v sent late and %v given up, want %v and %v", sent, unsent, tt.sent, tt.unsent)
				}
				if n := len(w.organization().lateStarts); n != 0 {
					t.Errorf("%d leases are remembered", n)
				}
			})
		})
	}
}

// TestMetricsOfEstimates: the ratio counts where both are known, and what is above the
// estimate is owed.
func TestMetricsOfEstimates(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		release := func(outcome pb.Outcome, u *pb.Usage, o *pb.Observation) {
			r := &pb.ReleaseRequest{LeaseId: w.grant(ask(name("r", int(w.organization().leases.Load())))).LeaseId, Outcome: outcome, Observation: o}
			if u != nil {
				r.Consumption = &pb.ReleaseRequest_Usage{Usage: u}
			}
			w.releaseAs(r)
			w.releaseAs(r) // late: it counts no more
		}
		release(pb.Outcome_OUTCOME_SUCCEEDED, usage(100, 60), nil)  // 160 of 200
		release(pb.Outcome_OUTCOME_SUCCEEDED, usage(100, 100), nil) // as estimated
		release(pb.Outcome_OUTCOME_SUCCEEDED, usage(100, 101), nil) // a little more
		release(pb.Outcome_OUTCOME_SUCCEEDED, usage(100, 900), nil) // 1000 of 200
		release(pb.Outcome_OUTCOME_SUCCEEDED, nil, nil)             // not known
		release(pb.Outcome_OUTCOME_UNKNOWN, usage(100, 900), nil)   // perhaps more
		release(pb.Outcome_OUTCOME_UNSENT, nil, nil)
		release(pb.Outcome_OUTCOME_FAILED, nil, &pb.Observation{HttpStatus: 500})
		s := w.scrape()
		const ratio = "watermaster_estimate_ratio"
		for le, want := range map[string]float64{"0.75": 0, "0.9": 1, "1": 2, "1.05": 3, "2": 3, "5": 4, "+Inf": 4} {
			if got := s[ratio+`_bucket{organization="acme",project="search",le="`+le+`"}`]; got != want {
				t.Errorf("%v are at most %s, want %v", got, le, want)
			}
		}
		s.want(t, scrape{`watermaster_debt_tokens_total{organization="acme",project="search"}`: 801}, "watermaster_debt_tokens_total")
	})
}

// TestMetricsOfProviders: a 429 counts for the pool that it came from, once, and its gate is
// shown until it opens; so is a lease that nobody released.
func TestMetricsOfProviders(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		throttled := &pb.Observation{HttpStatus: 429, Headers: map[string]string{"Retry-After": "7"}}
		r := &pb.ReleaseRequest{LeaseId: w.grant(ask("a")).LeaseId, Observation: throttled}
		w.releaseAs(r)
		w.releaseAs(r)
		if _, err := w.Report(w.t.Context(), &pb.ReportRequest{Account: "claude", Model: "sonnet", Observation: throttled}); err != nil {
			t.Fatal(err)
		}
		names := []string{"watermaster_provider_throttled_total", "watermaster_gates_closed", "watermaster_leases_expired_total"}
		counted := scrape{
			`watermaster_provider_throttled_total{account="main",organization="acme",pool="gpt"}`:      1,
			`watermaster_provider_throttled_total{account="claude",organization="acme",pool="sonnet"}`: 1,
		}
		closed := maps.Clone(counted)
		closed[`watermaster_gates_closed{account="main",cause="throttled",organization="acme",pool="gpt"}`] = 1
		closed[`watermaster_gates_closed{account="claude",cause="throttled",organization="acme",pool="sonnet"}`] = 1
		w.scrape().want(t, closed, names...)

		time.Sleep(8 * time.Second)
		w.grant(ask("b", func(r *pb.AcquireRequest) { r.Project, r.LeaseTtl = "dynamic", durationpb.New(time.Second) }))
		time.Sleep(2 * time.Second)
		counted[`watermaster_leases_expired_total{organization="acme",project="dynamic"}`] = 1
		w.scrape().want(t, counted, names...)
	})
}
