package server

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

// sharedBudget is an account that gives back what was not used, for a provider that does.
const sharedBudget = `
cold_start: trust
priority_classes: {standard: {weight: 4, max_wait: 2m}}
organizations:
  acme:
    accounts:
      main:
        provider: openai
        margin: 0%
        charge: {refund: true}
        pools:
          gpt: {models: [gpt], limits: {requests: {quota: 300, window: min, shape: sliding_window}, tokens: {quota: 100k, window: min, shape: sliding_window}, concurrency: 24}}
    projects: {workers: {}, envoy: {}}
`

// A trade is a strict provider that workers and gateways call in virtual time.
type trade struct {
	w     *world
	start time.Time
	mu    sync.Mutex
	at    *provider.Provider
	next  uint64
	sent  [2]atomic.Int64 // by workers, by gateways
}

// call makes a call of an estimate, and gives what it has used.
func (tr *trade) call(g *rand.Rand, estimate int64, by int) (used int64) {
	tr.mu.Lock()
	tr.next++
	id := tr.next
	v := tr.at.Arrive(time.Since(tr.start), provider.Call{ID: id, Input: estimate / 2, MaxOutput: estimate - estimate/2})
	tr.mu.Unlock()
	if !v.OK {
		tr.w.t.Errorf("after %v: the provider refuses: %+v", time.Since(tr.start), v)
		return 0
	}
	tr.sent[by].Add(1)
	time.Sleep(time.Duration(g.Int64N(int64(4 * time.Second))))
	output := g.Int64N(estimate - estimate/2 + 1)
	tr.mu.Lock()
	tr.at.Complete(time.Since(tr.start), id, output)
	tr.mu.Unlock()
	return estimate/2 + output
}

func pause(g *rand.Rand, most time.Duration) { time.Sleep(time.Duration(g.Int64N(int64(most)))) }

// work is a worker: it waits for its grants.
func (tr *trade) work(g *rand.Rand, id string, until time.Duration) {
	estimate := 200 + g.Int64N(1800)
	for k := 0; time.Since(tr.start) < until; {
		output := estimate - estimate/2
		began := time.Now()
		a, err := tr.w.Acquire(tr.w.t.Context(), &pb.AcquireRequest{
			RequestId: name(id, k), Project: "workers", Destination: &pb.AcquireRequest_Model{Model: "gpt"},
			InputTokens: estimate / 2, MaxOutputTokens: &output, Block: durationpb.New(20 * time.Second),
		})
		if err != nil {
			tr.w.t.Error(err)
			return
		}
		granted := a.GetGranted()
		if granted == nil {
			if a.GetWait() == nil {
				tr.w.t.Errorf("got %v, want a grant or a place", a)
				return
			}
			continue // its place is kept
		}
		left := granted.StartWithin.AsDuration() - time.Since(began) + 300*time.Millisecond // transit
		pause(g, left)
		used := tr.call(g, estimate, 0)
		pause(g, 100*time.Millisecond)
		if _, err := tr.w.Release(tr.w.t.Context(), &pb.ReleaseRequest{LeaseId: granted.LeaseId, Consumption: usedOf(estimate/2, used-estimate/2)}); err != nil {
			tr.w.t.Error(err)
		}
		k, estimate = k+1, 200+g.Int64N(1800)
	}
}

func usedOf(input, output int64) *pb.ReleaseRequest_Usage {
	return &pb.ReleaseRequest_Usage{Usage: &pb.Usage{InputTokens: &input, OutputTokens: &output}}
}

// pass is a gateway: it draws, and sends its client away where it may not.
func (tr *trade) pass(g *rand.Rand, id string, until time.Duration) {
	for k := 0; time.Since(tr.start) < until; k++ {
		estimate := 200 + g.Int64N(1800)
		by := func(n int64, phase string) *common.RateLimitDescriptor {
			words := []string{"account", "main", "request_id", name(id, k)}
			if phase != "" && k%2 == 0 {
				words = append(words, "phase", phase)
			}
			return hitsAt(n, descriptor(words...))
		}
		if a := tr.w.draw(by(estimate, "request")); a.OverallCode != isOK {
			if a.Statuses[0].Code != isOver || a.Statuses[0].DurationUntilReset.AsDuration() <= 0 {
				tr.w.t.Errorf("over, and no wait: %v", a)
			}
			pause(g, 2*time.Second)
			continue
		}
		pause(g, time.Second) // start_within and transit
		used := tr.call(g, estimate, 1)
		switch k % 5 {
		case 0:
			tr.w.draw(by(used-estimate-1, "end")) // at least one is given back, which is one too many
			tr.w.draw(hitsAt(1, descriptor("account", "main", "metric", "tokens", "phase", "end")))
		case 1:
			tr.w.draw(by(0, "end")) // its usage is not known
		default:
			tr.w.draw(by(used, "end"))
		}
	}
}

// TestDrawShared: workers and gateways on one account never send it more than it takes, and
// between them use what there is.
func TestDrawShared(t *testing.T) {
	for seed := range uint64(3) {
		inWorld(t, sharedBudget, memory.Options{}, func(w *world) {
			strict, err := provider.New(provider.Config{
				Limits: []provider.Limit{
					{Metric: provider.Requests, Quota: 300, Window: time.Minute, Shape: provider.Sliding},
					{Metric: provider.Tokens, Quota: 100_000, Window: time.Minute, Shape: provider.Sliding},
					{Metric: provider.Concurrency, Quota: 24, Shape: provider.Stock},
				},
				Charge: provider.Charge{Estimate: provider.EstimateSum, Settle: true, CachedPerMille: 1000},
			})
			if err != nil {
				w.t.Fatal(err)
			}
			const length = 6 * time.Minute
			tr := &trade{w: w, start: time.Now(), at: strict}
			var all sync.WaitGroup
			for i := range 16 {
				g := rand.New(rand.NewPCG(seed, uint64(i)))
				all.Go(func() {
					if i%2 == 0 {
						tr.work(g, name("w", i), length)
					} else {
						tr.pass(g, name("g", i), length)
					}
				})
			}
			all.Wait()
			workers, gateways := tr.sent[0].Load(), tr.sent[1].Load()
			best := 0.0
			for i := range 2 {
				best = max(best, strict.Use(i, time.Minute, length))
			}
			w.t.Logf("seed %d: %d calls by workers, %d by gateways, use %.3f", seed, workers, gateways, best)
			if best < 0.85 || workers < 100 || gateways < 100 {
				w.t.Errorf("use %.3f with %d and %d calls: too little", best, workers, gateways)
			}
			time.Sleep(5 * time.Minute)
			w.wantHeld(map[string]int64{"pool/main/gpt concurrency": 0, "pool/main/gpt tokens": 0})
		})
	}
}
