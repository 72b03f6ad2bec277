package server

import (
	"testing"
	"time"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

func attempt(n uint32) func(*pb.AcquireRequest) {
	return func(r *pb.AcquireRequest) { r.Attempt = n }
}

// TestRetryBudget: a few retries are free; beyond them each takes five first attempts. What
// waits or was granted already goes on, and a few come back with time.
func TestRetryBudget(t *testing.T) {
	inWorld(t, roomy, memory.Options{}, func(w *world) {
		n := 0
		try := func(attempted uint32) *pb.AcquireResponse {
			n++
			a := w.acquire(ask(name("r", n), attempt(attempted)))
			if g := a.GetGranted(); g != nil {
				w.release(g.LeaseId)
			}
			return a
		}
		retries := func() (granted int) {
			for {
				a := try(1)
				if a.GetGranted() == nil {
					if r := a.GetRejected(); r.GetReason() != pb.Reason_REASON_RETRY_BUDGET || r.RetryAfter.AsDuration() != time.Second {
						t.Fatalf("got %v, want RETRY_BUDGET and to come back in a second", a)
					}
					return granted
				}
				granted++
			}
		}
		if got := retries(); got != 10 {
			t.Errorf("%d retries were free, want 10", got)
		}
		for range 40 {
			if a := try(0); a.GetGranted() == nil {
				t.Fatalf("a first attempt got %v", a)
			}
		}
		if got := retries(); got != 8 {
			t.Errorf("40 first attempts earned %d retries, want 8", got)
		}
		time.Sleep(3 * time.Second)
		if got := retries(); got != 3 {
			t.Errorf("3 s brought %d retries, want 3", got)
		}
		time.Sleep(time.Hour)
		if got := retries(); got != 10 {
			t.Errorf("an hour brought %d retries, want 10", got)
		}
	})
}

// TestRetryBudgetOfUnsent: a grant that came too late is given back and asked for again under
// the next attempt, as often as it takes; that is no retry, as no provider has seen it.
func TestRetryBudgetOfUnsent(t *testing.T) {
	inWorld(t, roomy, memory.Options{}, func(w *world) {
		for n := range uint32(100) {
			a := w.acquire(ask("late", attempt(n)))
			g := a.GetGranted()
			if g == nil {
				t.Fatalf("attempt %d got %v", n, a)
			}
			w.releaseAs(&pb.ReleaseRequest{LeaseId: g.LeaseId, Outcome: pb.Outcome_OUTCOME_UNSENT})
			w.releaseAs(&pb.ReleaseRequest{LeaseId: g.LeaseId, Outcome: pb.Outcome_OUTCOME_UNSENT}) // what is told again counts once
		}
		retries := 0
		for n := uint32(1); n < 100; n++ {
			a := w.acquire(ask(name("r", int(n)), attempt(1)))
			if a.GetGranted() == nil {
				break
			}
			w.release(a.GetGranted().LeaseId)
			retries++
		}
		// Each of them was paid for but the first, which was no retry.
		if retries != 11 {
			t.Errorf("%d retries were left, want the 10 free ones and the one that the first would have had", retries)
		}
	})
}

// TestRetryBudgetKeepsPlaces: a retry that waits, and one whose grant is asked for again, are
// not refused when the budget has been spent by others meanwhile.
func TestRetryBudgetKeepsPlaces(t *testing.T) {
	inWorld(t, roomy, memory.Options{}, func(w *world) {
		var held []string
		for i := range 8 {
			held = append(held, w.grant(ask(name("first", i))).LeaseId)
		}
		if a := w.acquire(ask("waits", attempt(1), block(0), maxWait(time.Minute))); a.GetWait() == nil {
			t.Fatalf("got %v, want wait", a)
		}
		w.organization().retries.balance.Store(0)
		if a := w.acquire(ask("waits", attempt(1), block(0), maxWait(time.Minute))); a.GetWait() == nil {
			t.Errorf("got %v, want the place kept", a)
		}
		w.release(held[0])
		for range 2 {
			if a := w.acquire(ask("waits", attempt(1), maxWait(time.Minute))); a.GetGranted() == nil {
				t.Errorf("got %v, want the grant", a)
			}
		}
	})
}

// TestRetryBudgetOff: 100% bounds nothing, 0% leaves the free ones.
func TestRetryBudgetOff(t *testing.T) {
	for share, want := range map[string]int{"100%": 30, "0%": 10} {
		inWorld(t, roomy+"    retry_budget: "+share+"\n", memory.Options{}, func(w *world) {
			granted := 0
			for i := range 30 {
				w.release(w.grant(ask(name("first", i))).LeaseId)
				if g := w.acquire(ask(name("r", i), attempt(1))).GetGranted(); g != nil {
					granted++
					w.release(g.LeaseId)
				}
			}
			if granted != want {
				t.Errorf("%s: %d of 30 granted, want %d", share, granted, want)
			}
		})
	}
}
