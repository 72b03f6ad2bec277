package faults

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// Row 5. Replies of Redis are lost after it has done what it was told. The replica, or the
// caller at another, asks again, and each request is charged once, each release counts once.
func TestLostReplies(t *testing.T) {
	heavy(t)
	losses := figure(1000, 10_000)
	s := redistest.Start(t)
	one, two := redistest.StartProxy(t, s.Address()), redistest.StartProxy(t, s.Address())
	a, b := join(t, budget, one.URL()), join(t, budget, two.URL())
	var left, unreleased, slow atomic.Int64
	left.Store(int64(losses / 4))
	start := time.Now()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for n := left.Add(-1); n >= 0 && !t.Failed(); n = left.Add(-1) {
				var lease string
				for k := range 3 {
					one.LoseReplies(1)
					began := time.Now()
					g := acquire(t, ask(fmt.Sprintf("r%d-%d", n, k), "wide", time.Second), time.Second, a.limiter, b.limiter)
					if lease = g.GetLeaseId(); lease == "" {
						t.Errorf("request %d-%d was not granted", n, k)
						return
					}
					if time.Since(began) > 50*time.Millisecond {
						slow.Add(1)
					}
					unreleased.Add(1)
				}
				one.LoseReplies(1)
				if _, err := release(t, lease, time.Second, a.limiter, b.limiter); err != nil {
					t.Errorf("release: %v", err)
				}
				unreleased.Add(-1)
			}
		})
	}
	all.Wait()
	one.LoseReplies(0)
	t.Logf("%d replies lost in %v, %d grants took more than 50 ms", losses, time.Since(start), slow.Load())
	acquire(t, ask("last", "wide", time.Second), time.Second, b.limiter) // it reads all that the other did
	unreleased.Add(1)
	acquired := int64(losses/4*3) + 1
	for name, m := range map[string]pb.MonitorServiceClient{"the replica": a.monitor, "the other": b.monitor} {
		for metric, want := range map[string]int64{"requests": acquired, "tokens": 10 * acquired, "concurrency": unreleased.Load()} {
			eventually(t, fmt.Sprintf("%s holds %d %s", name, want, metric), 2*time.Second, func() bool {
				return held(t, m, "wide", metric) == want
			})
		}
	}
}
