package faults

import (
	"bytes"
	"context"
	"runtime"
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

// absences are the ways in which Redis is away for all replicas.
var absences = []struct {
	name  string
	begin func(s *redistest.Server, l *line)
	end   func(s *redistest.Server, l *line)
}{
	{"stopped", func(s *redistest.Server, _ *line) { s.Pause() }, func(s *redistest.Server, _ *line) { s.Continue() }},
	{"cut off", func(_ *redistest.Server, l *line) { l.partition() }, func(_ *redistest.Server, l *line) { l.heal() }},
	{"mute", func(_ *redistest.Server, l *line) { l.mute() }, func(_ *redistest.Server, l *line) { l.heal() }},
	{"refusing", func(_ *redistest.Server, l *line) { l.refuse() }, func(_ *redistest.Server, l *line) { l.heal() }},
	{"slow", func(_ *redistest.Server, l *line) { l.slow(time.Second) }, func(_ *redistest.Server, l *line) { l.heal() }},
}

// Row 8. Redis is stopped, cut off, refuses connections or is slow, for all replicas. Each call
// has an answer by when_away (margin) within the timeout and 50 ms; it is as before within 2 s;
// and the provider has nothing to refuse.
func TestAway(t *testing.T) {
	heavy(t)
	for _, row := range absences {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			way := connect(t, s.Address())
			a, b := join(t, budget, way.url()), join(t, budget, way.url())
			l := drive(t, a.address, b.address)
			l.granted(0, 5*time.Second)
			time.Sleep(window)
			before := l.rate(l.now()-window, l.now())
			row.begin(s, way)
			began := l.now()
			time.Sleep(2 * timeout)
			disturbed := watchMachine(t)
			p := startProbe(t, a.limiter)
			time.Sleep(figure(2*time.Second, 30*time.Second))
			p.end()
			row.end(s, way)
			healed := l.now()
			back := l.granted(healed, 10*time.Second)
			time.Sleep(window)
			after := l.rate(healed+back, l.now())
			p99 := percentile(p.took, 0.99)
			t.Logf("%d answers while away, p50 %v, p99 %v; %.0f grants a second before, %.0f while away, %.0f after, the first %v after",
				len(p.took), percentile(p.took, 0.5), p99, before, l.rate(began+2*timeout, healed), after, back)
			if disturbed() {
				l.end()
				return
			}
			if p99 > timeout+50*time.Millisecond {
				t.Errorf("p99 of answers while Redis is away is %v, want %v", p99, timeout+50*time.Millisecond)
			}
			if back > 2*time.Second || after < before/2 {
				t.Errorf("the first grant came %v after Redis, and then %.0f a second, want %.0f", back, after, before)
			}
			l.end()
		})
	}
}

// Goroutines, connections and files do not grow while Redis is away, nor from one absence to
// the next. It is not parallel: they are counted in this process.
func TestNothingGrowsWhileAway(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes real time; without -short it runs")
	}
	s := redistest.Start(t)
	way := connect(t, s.Address())
	a, b := join(t, budget, way.url()), join(t, budget, way.url())
	l := drive(t, a.address, b.address)
	l.granted(0, 5*time.Second)
	count := func() (goroutines, files int) { return runtime.NumGoroutine(), descriptors(t, "self") }
	time.Sleep(time.Second)
	beforeGoroutines, beforeFiles := count()
	for range figure(1, 10) {
		for _, row := range absences[:4] {
			row.begin(s, way)
			time.Sleep(figure(400*time.Millisecond, 5*time.Second))
			early, earlyFiles := count()
			time.Sleep(figure(800*time.Millisecond, 20*time.Second))
			late, lateFiles := count()
			row.end(s, way)
			l.granted(l.now(), 10*time.Second)
			time.Sleep(500 * time.Millisecond)
			if late > early+30 || lateFiles > earlyFiles+20 {
				t.Errorf("%s: goroutines grew from %d to %d, files from %d to %d", row.name, early, late, earlyFiles, lateFiles)
			}
		}
	}
	time.Sleep(500 * time.Millisecond)
	goroutines, files := count()
	t.Logf("goroutines %d before and %d after all absences, files %d and %d", beforeGoroutines, goroutines, beforeFiles, files)
	if goroutines > beforeGoroutines+30 || files > beforeFiles+20 {
		t.Errorf("goroutines grew from %d to %d, files from %d to %d", beforeGoroutines, goroutines, beforeFiles, files)
	}
	l.end()
	a.end()
	b.end()
	if n := stuck(); n > 0 {
		t.Errorf("%d calls are still in the servers after they have ended", n)
	}
}

// stuck counts the goroutines that are in an organization's work.
func stuck() int {
	b := make([]byte, 16<<20)
	return bytes.Count(b[:runtime.Stack(b, true)], []byte("server.(*organization).propose"))
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
