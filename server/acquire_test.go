package server

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

func TestGrant(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		a := w.acquire(ask("a"))
		g := a.GetGranted()
		if g == nil {
			t.Fatalf("got %v, want a grant", a)
		}
		if got, want := g.Target.String(), `account:"main"  provider:"openai"  model:"gpt"  attributes:{key:"base_url"  value:"https://one.example"}`; squeeze(got) != squeeze(want) {
			t.Errorf("target %s, want %s", got, want)
		}
		if d := g.StartWithin.AsDuration(); !near(d, 700*time.Millisecond) {
			t.Errorf("start_within %v", d)
		}
		if g.Ttl.AsDuration() != 10*time.Minute || g.RenewEvery.AsDuration() != 10*time.Minute/3 {
			t.Errorf("ttl %v, renew every %v", g.Ttl.AsDuration(), g.RenewEvery.AsDuration())
		}
		if len(g.LeaseId) != leaseText || a.RequestId != "a" {
			t.Errorf("lease %q of %q", g.LeaseId, a.RequestId)
		}
		want := map[string]int64{
			"pool/main/gpt requests": 1, "pool/main/gpt tokens": 200, "pool/main/gpt concurrency": 1,
			"project/search tokens": 200, "organization cost": 300,
		}
		for _, c := range g.Charges {
			k := c.Scope + " " + c.Metric
			if want[k] != c.Amount || c.OnCompletion {
				t.Errorf("charge %v, want %d", c, want[k])
			}
			delete(want, k)
		}
		if len(want) > 0 {
			t.Errorf("not charged: %v", want)
		}
		if p := a.Pressure; p.GetLevel() != pb.PressureLevel_PRESSURE_LEVEL_SATURATED || p.TotalUtilization != 1 { // the one slot is taken
			t.Errorf("pressure %v", p)
		}
	})
}

// TestRenewEvery: nothing to renew where nothing is held until the end; output that counts
// on completion is.
func TestRenewEvery(t *testing.T) {
	const yaml = `
organizations:
  acme:
    accounts:
      a: {provider: openai, pools: {p: {models: [m], limits: {requests: 100/min}}}}
      b: {provider: anthropic, pools: {p: {models: [n], limits: {output_tokens: 10k/min}}}}
`
	inWorld(t, yaml, memory.Options{}, func(w *world) {
		model := func(name string) func(*pb.AcquireRequest) {
			return func(r *pb.AcquireRequest) { r.Destination = &pb.AcquireRequest_Model{Model: name} }
		}
		if g := w.grant(ask("a", model("m"))); g.RenewEvery != nil {
			t.Errorf("renew every %v, want none", g.RenewEvery)
		}
		g := w.grant(ask("b", model("n")))
		if g.RenewEvery == nil || len(g.Charges) != 1 || !g.Charges[0].OnCompletion {
			t.Errorf("got %v, want an output that counts on completion, and renewals", g)
		}
	})
}

// TestBlockingGrant: a call that waits is granted at the instant at which another ends.
func TestBlockingGrant(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		first := w.grant(ask("a"))
		waiter := w.later(w.t.Context(), ask("b"))
		time.Sleep(3 * time.Second)
		w.release(first.LeaseId)
		got := <-waiter
		if got.err != nil || got.GetGranted() == nil {
			t.Fatalf("got %v", got)
		}
		if !near(got.took, 3*time.Second) || !near(got.GetGranted().Waited.AsDuration(), 3*time.Second) {
			t.Errorf("took %v, waited %v, want 3 s", got.took, got.GetGranted().Waited.AsDuration())
		}
		if d := got.GetGranted().StartWithin.AsDuration(); !near(d, 3700*time.Millisecond) {
			t.Errorf("start_within %v counts from the RPC's arrival: want 3.7 s", d)
		}
	})
}

// TestBlockEnds: at the end of a block the answer is wait, and the place is kept over calls;
// it lapses 10 s after the last.
func TestBlockEnds(t *testing.T) {
	tests := []struct {
		name     string
		block    []func(*pb.AcquireRequest)
		deadline time.Duration
		open     time.Duration
	}{
		{name: "unset", open: 10 * time.Second},
		{name: "asked", block: []func(*pb.AcquireRequest){block(4 * time.Second)}, open: 4 * time.Second},
		{name: "cut to 20 s", block: []func(*pb.AcquireRequest){block(time.Hour)}, open: 20 * time.Second},
		{name: "cut to the deadline", deadline: 3 * time.Second, open: 2800 * time.Millisecond},
		{name: "none", block: []func(*pb.AcquireRequest){block(0)}, open: 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, small, memory.Options{}, func(w *world) {
				w.grant(ask("a"))
				ctx := w.t.Context()
				if tt.deadline > 0 {
					c, cancel := context.WithTimeout(ctx, tt.deadline)
					defer cancel()
					ctx = c
				}
				got := <-w.later(ctx, ask("b", tt.block...))
				if got.err != nil || got.GetWait() == nil || !near(got.took, tt.open) {
					t.Fatalf("got %v after %v, want wait after %v", got, got.took, tt.open)
				}
				if retry := got.GetWait().RetryAfter.AsDuration(); (retry == 0) != (tt.open > 0) {
					t.Errorf("retry after %v", retry)
				}
			})
		})
	}
}

func TestPlaceIsKept(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		first := w.grant(ask("a"))
		one := w.later(w.t.Context(), ask("first in line", block(2*time.Second)))
		time.Sleep(time.Second)
		two := w.later(w.t.Context(), ask("second in line", block(20*time.Second)))
		if got := <-one; got.GetWait() == nil {
			t.Fatalf("got %v, want wait", got)
		}
		time.Sleep(5 * time.Second) // within the 10 s
		one = w.later(w.t.Context(), ask("first in line", block(20*time.Second)))
		w.release(first.LeaseId)
		got := <-one
		if got.GetGranted() == nil || got.took > time.Second {
			t.Fatalf("got %v after %v: the place was not kept", got, got.took)
		}
		w.release(got.GetGranted().LeaseId)
		if got := <-two; got.GetGranted() == nil {
			t.Fatalf("got %v", got)
		}
	})
}

func TestPlaceLapses(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		first := w.grant(ask("a"))
		if got := w.acquire(ask("b", block(0))); got.GetWait() == nil {
			t.Fatalf("got %v, want wait", got)
		}
		if n := w.limit("pool/main/gpt", "concurrency").ByClass[1].Waiting; n != 1 {
			t.Errorf("%d wait, want 1", n)
		}
		time.Sleep(9900 * time.Millisecond)
		if n := w.limit("pool/main/gpt", "concurrency").ByClass[1].Waiting; n != 1 {
			t.Errorf("%d wait, want 1", n)
		}
		time.Sleep(200 * time.Millisecond)
		if n := w.limit("pool/main/gpt", "concurrency").ByClass[1].Waiting; n != 0 {
			t.Errorf("%d wait, want the place lapsed", n)
		}
		w.release(first.LeaseId)
		w.grant(ask("c"))
	})
}

// TestIdempotent: the same key gets the same grant, less what has passed of start_within; a
// waiter keeps its place when asked again at the same time.
func TestIdempotent(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		a := w.grant(ask("a"))
		time.Sleep(300 * time.Millisecond)
		b := w.grant(ask("a"))
		if a.LeaseId != b.LeaseId || !near(b.StartWithin.AsDuration(), 400*time.Millisecond) {
			t.Errorf("got %v, want the lease %s with 0.4 s left", b, a.LeaseId)
		}
		if held := w.limit("pool/main/gpt", "concurrency").Held; held != 1 {
			t.Errorf("%d held, want 1", held)
		}
		one := w.later(w.t.Context(), ask("b"))
		time.Sleep(time.Second)
		two := w.later(w.t.Context(), ask("b"))
		w.release(a.LeaseId)
		x, y := <-one, <-two
		if x.GetGranted() == nil || y.GetGranted() == nil || x.GetGranted().LeaseId != y.GetGranted().LeaseId {
			t.Fatalf("got %v and %v, want one grant", x, y)
		}
		if d := x.GetGranted().Waited.AsDuration(); !near(d, time.Second) {
			t.Errorf("the older call waited %v, want 1 s", d)
		}
		if d := y.GetGranted().Waited.AsDuration(); !near(d, 0) {
			t.Errorf("the later call waited %v, want 0", d)
		}
	})
}

// TestCancel: whoever cancels is forgotten, and the next one's turn comes.
func TestCancel(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		first := w.grant(ask("a"))
		ctx, cancel := context.WithCancel(w.t.Context())
		one := w.later(ctx, ask("b"))
		cancel()
		wantCode(t, (<-one).err, codes.Canceled)
		synctest.Wait()
		if _, waiting := w.organization().engine().Counts(); waiting != 0 {
			t.Errorf("%d wait, want none", waiting)
		}
		if n := len(w.organization().places); n != 0 {
			t.Errorf("%d places are remembered", n)
		}
		w.release(first.LeaseId)
		w.grant(ask("c"))
	})
}

// TestCancelOfOneOfTwo: of two calls under one key, one that cancels does not take the
// place from the other.
func TestCancelOfOneOfTwo(t *testing.T) {
	for _, which := range []string{"older", "later"} {
		t.Run(which, func(t *testing.T) {
			inWorld(t, small, memory.Options{}, func(w *world) {
				first := w.grant(ask("a"))
				ctx, cancel := context.WithCancel(w.t.Context())
				mine, other := ctx, w.t.Context()
				if which == "later" {
					mine, other = other, mine
				}
				one := w.later(mine, ask("b"))
				two := w.later(other, ask("b"))
				if which == "later" {
					one, two = two, one
				}
				cancel()
				wantCode(t, (<-one).err, codes.Canceled)
				w.release(first.LeaseId)
				if got := <-two; got.GetGranted() == nil {
					t.Fatalf("got %v, want a grant", got)
				}
			})
		})
	}
}

// TestUntakenGrant: a grant that comes while its caller leaves is given back.
func TestUntakenGrant(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		for i := range 50 {
			first := w.grant(ask(name("a", i)))
			ctx, cancel := context.WithCancel(w.t.Context())
			one := w.later(ctx, ask(name("b", i)))
			done := make(chan struct{})
			go func() { cancel(); close(done) }()
			w.release(first.LeaseId)
			<-done
			got := <-one
			synctest.Wait()
			if got.err == nil {
				w.release(got.GetGranted().LeaseId)
			}
			if leases := w.limit("pool/main/gpt", "concurrency").Held; leases != 0 && got.err == nil {
				t.Fatalf("%d held after %v", leases, got)
			}
			time.Sleep(2 * time.Minute)
			if got.err != nil {
				// The answer may have been under way when the caller left: then the lease runs.
				time.Sleep(10 * time.Minute)
			}
			if held := w.limit("pool/main/gpt", "concurrency").Held; held != 0 {
				t.Fatalf("%d held", held)
			}
		}
	})
}

// TestPatienceEnds: the engine's clock ends a wait, without anybody's call.
func TestPatienceEnds(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		w.grant(ask("a"))
		got := <-w.later(w.t.Context(), ask("b", maxWait(3*time.Second)))
		if r := got.GetRejected(); r.GetReason() != pb.Reason_REASON_WAIT_TOO_LONG || !near(got.took, 3*time.Second) {
			t.Fatalf("got %v after %v", got, got.took)
		}
		if b := got.GetRejected().Binding; len(b) != 1 || b[0].Scope != "pool/main/gpt" || b[0].Name != "concurrency" || b[0].Utilization != 1 || b[0].Window != nil {
			t.Errorf("binding %v, want the pool's concurrency", b)
		}
		if got := w.acquire(ask("c", maxWait(0))); got.GetRejected().GetReason() != pb.Reason_REASON_WAIT_TOO_LONG {
			t.Errorf("got %v, want no queueing", got)
		}
	})
}

func TestTooLarge(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		for _, tokens := range []int64{55_000, 200_000} { // above the limit; above the context
			got := w.acquire(ask("a", func(r *pb.AcquireRequest) { r.InputTokens = tokens }))
			if r := got.GetRejected(); r.GetReason() != pb.Reason_REASON_TOO_LARGE || r.RetryAfter != nil || r.Message == "" {
				t.Errorf("%d tokens: got %v", tokens, got)
			}
			if got.Pressure == nil {
				t.Error("no pressure")
			}
		}
	})
}

// TestAlarm: a window that empties lets a waiter go while nobody calls.
func TestAlarm(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		g := w.grant(ask("a", func(r *pb.AcquireRequest) { r.InputTokens = 45_000 }))
		w.release(g.LeaseId)
		got := <-w.later(w.t.Context(), ask("b", block(20*time.Second), func(r *pb.AcquireRequest) { r.InputTokens = 45_000 }))
		if got.GetWait() == nil {
			t.Fatalf("got %v, want wait", got)
		}
		for got.GetWait() != nil {
			got = <-w.later(w.t.Context(), ask("b", block(20*time.Second), func(r *pb.AcquireRequest) { r.InputTokens = 45_000 }))
		}
		if got.GetGranted() == nil {
			t.Fatalf("got %v", got)
		}
	})
}
