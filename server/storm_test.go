package server

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

// TestStorm: callers that come, wait, give up, come back under the same key from two sides,
// and are cut off. A stock of eight is never exceeded, and in the end nothing is left over.
func TestStorm(t *testing.T) {
	inWorld(t, roomy, memory.Options{}, func(w *world) {
		const callers, each = 64, 60
		var mu sync.Mutex
		running := map[string]int{} // how many hold each lease
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				g := rand.New(rand.NewPCG(7, uint64(i)))
				for k := range each {
					w.stormOnce(g, name(name("r", i/2), k), &mu, running) // two callers have the same ids
				}
			})
		}
		all.Wait()
		time.Sleep(11 * time.Minute) // for grants whose answers were lost
		o := w.organization()
		w.limit("pool/a/p", "concurrency")
		o.replica.Lock()
		defer o.replica.Unlock()
		if _, waiting := o.engine().Counts(); waiting != 0 || len(o.places) != 0 {
			t.Errorf("%d wait, %d places", waiting, len(o.places))
		}
		for _, l := range o.engine().Limits(o.now()) {
			if l.Spec.Window <= 1 && l.Held != 0 {
				t.Errorf("%d held of %s", l.Held, l.Spec.Name)
			}
		}
		if len(running) != 0 {
			t.Errorf("%d leases were not released", len(running))
		}
	})
}

// stormOnce makes one call, in one of many ways.
func (w *world) stormOnce(g *rand.Rand, id string, mu *sync.Mutex, running map[string]int) {
	ctx, cancel := w.t.Context(), context.CancelFunc(func() {})
	switch g.IntN(4) {
	case 0:
		ctx, cancel = context.WithTimeout(ctx, time.Duration(1+g.IntN(400))*time.Millisecond)
	case 1:
		ctx, cancel = context.WithCancel(ctx)
		time.AfterFunc(time.Duration(g.IntN(20))*time.Millisecond, cancel)
	}
	defer cancel()
	r := ask(id, block(time.Duration(g.IntN(50))*time.Millisecond), maxWait(time.Duration(g.IntN(3))*time.Second))
	r.LeaseTtl = durationpb.New(2 * time.Minute)
	for {
		a, err := w.Acquire(ctx, r)
		if err != nil {
			if c := status.Code(err); c != codes.Canceled && c != codes.DeadlineExceeded {
				w.t.Error(err)
			}
			return
		}
		if a.GetWait() != nil && g.IntN(3) > 0 {
			time.Sleep(a.GetWait().RetryAfter.AsDuration())
			continue
		}
		lease := a.GetGranted().GetLeaseId()
		if lease == "" {
			return
		}
		mu.Lock()
		running[lease]++
		if n := len(running); n > 8 {
			w.t.Errorf("%d run at once", n)
		}
		mu.Unlock()
		time.Sleep(time.Duration(g.IntN(3000)) * time.Microsecond)
		mu.Lock()
		running[lease]--
		last := running[lease] == 0
		if last {
			delete(running, lease)
		}
		mu.Unlock()
		if last {
			if _, err := w.Release(w.t.Context(), &pb.ReleaseRequest{LeaseId: lease}); err != nil {
				w.t.Error(err)
			}
		}
		return
	}
}
