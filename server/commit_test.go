package server

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/replica"
	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/memory"
)

// roomy lets eight calls of a project run at once.
const roomy = `
cold_start: trust
organizations:
  acme:
    accounts: {a: {provider: openai, pools: {p: {models: [m], limits: {requests: 1G/min, concurrency: 8}}}}}
    routes: {one: {targets: [{account: a, model: m}]}}
`

// A slowLog takes its time to append, and can fail.
type slowLog struct {
	*memory.Log
	delay   time.Duration
	fails   atomic.Int64 // how many appends fail from now on
	after   bool         // they fail after having appended
	appends atomic.Int64
	seen    []store.Batch
}

func (l *slowLog) Append(ctx context.Context, o string, after store.Position, b store.Batch, entries []store.Entry) ([]store.Entry, error) {
	l.appends.Add(1)
	time.Sleep(l.delay)
	if l.fails.Add(-1) >= 0 {
		b.Payload = slices.Clone(b.Payload)
		l.seen = append(l.seen, b)
		if l.after {
			_, _ = l.Log.Append(ctx, o, after, b, nil)
		}
		return entries, store.ErrUnavailable
	}
	return l.Log.Append(ctx, o, after, b, entries)
}

// TestGroupCommit: 64 callers at once over a log that takes its time. Each is decided, none
// runs beside more than seven others, and appends are shared.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &slowLog{Log: memory.Open(memory.Options{}), delay: time.Millisecond}
		w := newWorld(t, roomy, log)
		defer w.close()
		const callers, each = 64, 50
		var running, most, granted atomic.Int64
		before := log.appends.Load()
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				for k := range each {
					r := ask(name(name("r", i), k), block(20*time.Second), maxWait(time.Hour))
					a, err := w.Acquire(t.Context(), r)
					for err == nil && a.GetWait() != nil {
						a, err = w.Acquire(t.Context(), r)
					}
					if err != nil || a.GetGranted() == nil {
						t.Errorf("got %v, %v", a, err)
						return
					}
					n := running.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					time.Sleep(time.Millisecond)
					granted.Add(1)
					running.Add(-1)
					if _, err := w.Release(t.Context(), &pb.ReleaseRequest{LeaseId: a.GetGranted().LeaseId}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		appends := log.appends.Load() - before
		if granted.Load() != callers*each || most.Load() > 8 {
			t.Errorf("%d granted, %d at once", granted.Load(), most.Load())
		}
		if commands := int64(2 * callers * each); appends > commands/2 {
			t.Errorf("%d appends for %d commands: they were not shared", appends, commands)
		}
		o := w.organization()
		if o.leading || len(o.gathering.calls) != 0 || len(o.places) != 0 {
			t.Errorf("leading %v, %d gather, %d places", o.leading, len(o.gathering.calls), len(o.places))
		}
	})
}

// TestStoreFails: callers are told UNAVAILABLE, with when to ask again; the batch goes out
// again unchanged before any other, so that what was asked for happens once.
func TestStoreFails(t *testing.T) {
	for _, after := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log := &slowLog{Log: memory.Open(memory.Options{Keep: true}), after: after}
			w := newWorld(t, small, log)
			defer w.close()
			log.fails.Store(replica.Tries)
			_, err := w.Acquire(t.Context(), ask("a"))
			s := wantCode(t, err, codes.Unavailable)
			if len(s.Details()) != 1 {
				t.Errorf("details %v", s.Details())
			}
			for _, b := range log.seen[1:] {
				if f := log.seen[0]; b.Number != f.Number || b.Claim != f.Claim || !slices.Equal(b.Payload, f.Payload) {
					t.Errorf("sent again as %v, was %v", b, f)
				}
			}
			g := w.grant(ask("a"))
			if held := w.limit("pool/main/gpt", "concurrency").Held; held != 1 {
				t.Errorf("%d held, want 1", held)
			}
			w.release(g.LeaseId)
			log.fails.Store(2) // fewer than are tried: nobody notices
			w.grant(ask("b"))
		})
	}
}

// TestBrokenLog: a log that has lost everything is begun again with what is known, and who
// calls just then does not notice.
func TestBrokenLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &replacedLog{Log: memory.Open(memory.Options{})}
		w := newWorld(t, small, log)
		defer w.close()
		g := w.grant(ask("a"))
		log.Log = memory.Open(memory.Options{})
		if a := w.acquire(ask("b", block(0))); a.GetWait() == nil {
			t.Errorf("got %v: the lease is forgotten", a)
		}
		w.release(g.LeaseId)
		w.grant(ask("c"))
	})
}

type replacedLog struct{ store.Log }

// TestPanic: a command that makes the engine panic is left out; what was decided stays, and
// others are served.
func TestPanic(t *testing.T) {
	for _, keep := range []bool{false, true} {
		inWorld(t, small, memory.Options{Keep: keep}, func(w *world) {
			o := w.organization()
			g := w.grant(ask("a"))
			o.replica.Lock()
			o.replica.Probe = func(c limiter.Command) {
				if a, ok := c.(*limiter.Acquire); ok && a.Project == "poison" {
					panic("as planned")
				}
			}
			o.replica.Unlock()
			_, err := w.Acquire(w.t.Context(), ask("b", func(r *pb.AcquireRequest) { r.Project = "poison" }))
			wantCode(w.t, err, codes.Internal)
			if n := w.server.Panics(); n != 1 {
				t.Errorf("%d panics, want 1", n)
			}
			if held := w.limit("pool/main/gpt", "concurrency").Held; held != 1 {
				t.Errorf("%d held, want the lease kept", held)
			}
			waiter := w.later(w.t.Context(), ask("c"))
			w.release(g.LeaseId)
			if got := <-waiter; got.GetGranted() == nil {
				t.Errorf("got %v, want a grant", got)
			}
		})
	}
}

// TestLostState: when nothing can be read any more calls fail, and the process lives.
func TestLostState(t *testing.T) {
	inWorld(t, small, memory.Options{Keep: true}, func(w *world) {
		w.grant(ask("a"))
		w.wantHealth(healthpb.HealthCheckResponse_SERVING)
		appendRaw(w.t, w.log, []byte{9})
		for range 3 {
			_, err := w.Acquire(w.t.Context(), ask("a"))
			wantCode(w.t, err, codes.Internal)
			_, err = w.Release(w.t.Context(), &pb.ReleaseRequest{LeaseId: lease{fingerprint("acme"), 1, limiter.LeaseID{Incarnation: 1, Count: 1}}.String()})
			wantCode(w.t, err, codes.Internal)
		}
		_, err := w.GetHeadroom(w.t.Context(), &pb.GetHeadroomRequest{})
		wantCode(w.t, err, codes.Internal)
		w.wantHealth(healthpb.HealthCheckResponse_NOT_SERVING)
		o := w.organization()
		s, ok := o.replica.Written()
		if ok {
			t.Errorf("a state that is lost was written down: %v", s.Position)
		}
	})
}

// TestDrain: whoever waits is sent away at once with the place kept; what need not wait is
// still decided; health says so.
func TestDrain(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		w.wantHealth(healthpb.HealthCheckResponse_SERVING)
		g := w.grant(ask("a"))
		one := w.later(w.t.Context(), ask("b"))
		time.Sleep(time.Second)
		w.server.Drain()
		got := <-one
		if got.GetWait() == nil || got.GetWait().RetryAfter.AsDuration() != 0 || !near(got.took, time.Second) {
			t.Errorf("got %v after %v, want wait at once", got, got.took)
		}
		w.wantHealth(healthpb.HealthCheckResponse_NOT_SERVING)
		if got := <-w.later(w.t.Context(), ask("c")); got.GetWait() == nil || got.took != 0 {
			t.Errorf("got %v after %v, want no waiting", got, got.took)
		}
		w.release(g.LeaseId)
		done := make(chan struct{})
		go func() { w.grpc.GracefulStop(); close(done) }()
		<-done
	})
}

// TestRestart: a log that outlives the server has everything that was decided.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.Open(memory.Options{Keep: true})
		w := newWorldOf(t, Options{Config: parse(t, small), Log: log, SnapshotEvery: 1000})
		var g *pb.Granted
		for i := range 30 {
			g = w.grant(ask(name("a", i)))
			if i < 29 {
				w.release(g.LeaseId)
			}
		}
		w.close()
		w = newWorld(t, small, log)
		defer w.close()
		if s, _, err := log.Load(t.Context(), "acme"); err != nil || len(s.State) == 0 {
			t.Errorf("no snapshot was installed: %v", err)
		}
		if held := w.limit("pool/main/gpt", "concurrency").Held; held != 1 {
			t.Errorf("%d held, want 1", held)
		}
		if again := w.grant(ask("a-29")); again.LeaseId != g.LeaseId {
			t.Errorf("got the lease %s, want %s", again.LeaseId, g.LeaseId)
		}
		w.release(g.LeaseId)
	})
}

// TestClosedLog: calls end, with an error.
func TestClosedLog(t *testing.T) {
	log := memory.Open(memory.Options{})
	s, err := New(t.Context(), Options{Config: parse(t, small), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	log.Close()
	if _, err := s.Acquire(t.Context(), ask("a")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("got %v, want %v", err, store.ErrClosed)
	}
}

// TestAllocations: what a call costs that is alone, from the handler on. Each answer is one
// allocation, and so are the name of the project's scope in it and the lease id.
func TestAllocations(t *testing.T) {
	var now atomic.Int64 // each look at the clock takes 50 ms: leases are soon forgotten
	clock := func() int64 { return now.Add(int64(50 * time.Millisecond)) }
	s, err := New(t.Context(), Options{Config: parse(t, benched), Log: memory.Open(memory.Options{Clock: clock})})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := ask("", class("interactive"), func(r *pb.AcquireRequest) { r.Destination = &pb.AcquireRequest_Route{Route: "smart"} })
	ids := make([]string, 5000)
	for i := range ids {
		ids[i] = name("r", i)
	}
	i := 0
	once := func() {
		r.RequestId = ids[i]
		i++
		a, err := s.Acquire(t.Context(), r)
		if err != nil || len(a.GetGranted().GetCharges()) != 6 {
			t.Fatal(a, err)
		}
		if _, err := s.Release(t.Context(), &pb.ReleaseRequest{LeaseId: a.GetGranted().LeaseId}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2000 {
		once()
	}
	got := testing.AllocsPerRun(2000, once)
	t.Logf("%v allocations for an Acquire and its Release", got)
	if raceEnabled {
		return // it allocates for itself
	}
	if got > 5 {
		t.Errorf("%v allocations for an Acquire and its Release, want at most 5", got)
	}
}

// TestReloadedLog: a log that is loaded again while the server runs gives all of the state,
// entries included that were applied before.
func TestReloadedLog(t *testing.T) {
	inWorld(t, small, memory.Options{Keep: true}, func(w *world) {
		g := w.grant(ask("a"))
		if err := w.organization().replica.Break(t.Context()); err != nil {
			t.Fatal(err)
		}
		if a := w.acquire(ask("b", block(0))); a.GetWait() == nil {
			t.Errorf("got %v while the slot is taken, want wait", a)
		}
		if l := w.limit("pool/main/gpt", "tokens/min"); l.Held != 200 {
			t.Errorf("%d tokens held, want the 200 of before", l.Held)
		}
		w.release(g.LeaseId)
	})
}

// TestNothingIsToldTwice: who waits while the log is loaded again is not told of a grant of
// before, which was given back.
func TestNothingIsToldTwice(t *testing.T) {
	inWorld(t, small, memory.Options{Keep: true}, func(w *world) {
		first := w.grant(ask("a"))
		w.releaseAs(&pb.ReleaseRequest{LeaseId: first.LeaseId, Outcome: pb.Outcome_OUTCOME_UNSENT})
		other := w.grant(ask("b"))
		waiter := w.later(w.t.Context(), ask("a"))
		time.Sleep(time.Second)
		if err := w.organization().replica.Break(t.Context()); err != nil {
			w.t.Fatal(err)
		}
		time.Sleep(time.Second)
		select {
		case got := <-waiter:
			w.t.Fatalf("got %v while the slot is taken", got)
		default:
		}
		w.release(other.LeaseId)
		if got := <-waiter; got.GetGranted() == nil || got.GetGranted().LeaseId == first.LeaseId {
			w.t.Errorf("got %v, want a grant of its own", got)
		}
	})
}
