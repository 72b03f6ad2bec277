package faults

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// window is budget's, with what a call may take to leave: as long as its grants count.
const window = 2250 * time.Millisecond

// timeout is what a command to Redis has.
const timeout = 100 * time.Millisecond

// A probe asks a replica at an even rate for what it must decide at once, and measures how long
// each answer takes.
type probe struct {
	mu   sync.Mutex
	took []time.Duration
	end  func()
}

func startProbe(t *testing.T, replica pb.LimiterServiceClient) *probe {
	p := &probe{}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			time.Sleep(10 * time.Millisecond)
			all.Go(func() {
				r := ask(t.Name()+time.Now().String(), "m", 0)
				within, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				start := time.Now()
				a, err := replica.Acquire(within, r)
				took := time.Since(start)
				if err != nil && status.Code(err) != codes.Unavailable {
					t.Errorf("a probe got %v, want an answer or UNAVAILABLE", err)
				}
				if g := a.GetGranted(); g != nil { // it is not sent
					_, _ = replica.Release(within, &pb.ReleaseRequest{LeaseId: g.LeaseId, Outcome: pb.Outcome_OUTCOME_UNSENT})
				}
				p.mu.Lock()
				p.took = append(p.took, took)
				p.mu.Unlock()
			})
		}
	})
	p.end = func() { cancel(); all.Wait() }
	return p
}

// percentile gives the p-th part of what was measured; it sorts it.
func percentile(list []time.Duration, p float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(len(list)-1, int(p*float64(len(list))))]
}

// Row 8. Redis is stopped, cut off, refuses connections or is slow, for all replicas. Each call
// has an answer by when_away (margin) within the timeout and 50 ms; nothing grows meanwhile; it is as
// before within 2 s; and the provider has nothing to refuse.
func TestAway(t *testing.T) {
	heavy(t)
	long := figure(2*time.Second, 30*time.Second)
	for _, row := range []struct {
		name  string
		begin func(s *redistest.Server, l *line)
		end   func(s *redistest.Server, l *line)
	}{
		{"stopped", func(s *redistest.Server, _ *line) { s.Pause() }, func(s *redistest.Server, _ *line) { s.Continue() }},
		{"cut off", func(_ *redistest.Server, l *line) { l.partition() }, func(_ *redistest.Server, l *line) { l.heal() }},
		{"mute", func(_ *redistest.Server, l *line) { l.mute() }, func(_ *redistest.Server, l *line) { l.heal() }},
		{"refusing", func(_ *redistest.Server, l *line) { l.refuse() }, func(_ *redistest.Server, l *line) { l.heal() }},
		{"slow", func(_ *redistest.Server, l *line) { l.slow(time.Second) }, func(_ *redistest.Server, l *line) { l.heal() }},
	} {
		t.Run(row.name, func(t *testing.T) { // one after the other: goroutines are counted
			s := redistest.Start(t)
			way := connect(t, s.Address())
			a, b := join(t, budget, way.url()), join(t, budget, way.url())
			l := drive(t, a.address, b.address)
			l.alone = true
			l.granted(0, 5*time.Second)
			time.Sleep(2500 * time.Millisecond) // the first window is over
			before := l.rate(l.now()-window, l.now())
			row.begin(s, way)
			began := l.now()
			time.Sleep(200 * time.Millisecond)
			p := startProbe(t, a.limiter)
			time.Sleep(long / 3)
			goroutines, files := runtime.NumGoroutine(), descriptors(t, "self")
			time.Sleep(long * 2 / 3)
			moreGoroutines, moreFiles := runtime.NumGoroutine(), descriptors(t, "self")
			p.end()
			row.end(s, way)
			healed := l.now()
			back := l.granted(healed, 10*time.Second)
			time.Sleep(window)
			after := l.rate(healed, l.now())
			p99 := percentile(p.took, 0.99)
			t.Logf("%d answers while away, p50 %v, p99 %v; %.0f grants a second before, %.0f while away, %.0f after, the first %v after; goroutines %d, %d, files %d, %d",
				len(p.took), percentile(p.took, 0.5), p99, before, l.rate(began+200*time.Millisecond, healed), after, back,
				goroutines, moreGoroutines, files, moreFiles)
			if p99 > timeout+50*time.Millisecond {
				t.Errorf("p99 of answers while Redis is away is %v, want %v", p99, timeout+50*time.Millisecond)
			}
			if moreGoroutines > goroutines+30 || moreFiles > files+10 {
				t.Errorf("goroutines grew from %d to %d and files from %d to %d", goroutines, moreGoroutines, files, moreFiles)
			}
			if back > 2*time.Second || after < before/2 {
				t.Errorf("the first grant came %v after Redis, and then %.0f a second, want %.0f", back, after, before)
			}
			l.end()
		})
	}
}

// One replica of three loses Redis, the others do not. It says so, and who asks goes to
// the others; its own part of the margin is all that it may give meanwhile.
func TestPartitionOfOne(t *testing.T) {
	heavy(t)
	s := redistest.Start(t)
	way := connect(t, s.Address())
	a, b, c := join(t, budget, way.url()), join(t, budget, s.URL()), join(t, budget, s.URL())
	l := drive(t, a.address, b.address, c.address)
	l.alone = true
	l.granted(0, 5*time.Second)
	for range figure(2, 20) {
		time.Sleep(time.Second)
		way.partition()
		at := l.now()
		eventually(t, "the replica says that it does not serve", 2*time.Second, func() bool { return a.server.Ready() != nil })
		time.Sleep(2 * time.Second)
		c := l.fleet.Tally()
		if gap, began := c.Gap(at, l.now()); gap > 2*time.Second {
			t.Errorf("nobody was granted for %v at %v, while two of three had Redis", gap, began)
		}
		way.heal()
		t.Logf("it serves again after %v", eventually(t, "the replica says that it serves", 2*time.Second, func() bool { return a.server.Ready() == nil }))
	}
	time.Sleep(time.Second)
	l.end()
}
