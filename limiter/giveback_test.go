package limiter

import (
	"testing"
	"time"
)

// TestGiveBack: of each limit that is touched the latest charges go, as far as they count; and who
// waits for the room is served.
func TestGiveBack(t *testing.T) {
	spec := func(m Metric, s Shape) LimitSpec {
		return LimitSpec{Name: "x", Metric: m, Shape: s, Quota: 10, Window: time.Minute}
	}
	e := New()
	e.Apply(&Upgrade{Behaviour: BehaviourHits}, second, nil)
	e.Apply(&Configure{
		Generation: 1, Classes: []ClassSpec{{Name: "c", Weight: 1}}, Projects: []ProjectSpec{{Name: "p", Weight: 1, Limits: []LimitSpec{spec(Requests, Calendar)}}},
		MaxProjects: 1, MaxWaiting: 10, Limits: []LimitSpec{spec(Tokens, SlidingWindow)},
		Pools: []PoolSpec{{Name: "a/p", Models: []string{"m"}, Limits: []LimitSpec{spec(Requests, SlidingWindow), spec(InputTokens, TokenBucket), {Name: "x", Metric: Concurrency, Shape: Stock, Quota: 10}}}},
	}, second, nil)
	charges := func(n int64) []Charge {
		return []Charge{{Requests, ToPool | ToOwner, n}, {InputTokens, ToPool, n}, {Tokens, ToOwner, n}, {Concurrency, ToPool, n}}
	}
	acquire := func(n byte, amount int64, wait time.Duration) []Event {
		return e.Apply(&Acquire{Key: Key{n}, Lease: LeaseID{1, uint64(n)}, Project: "p", Class: "c", MaxWait: wait, TTL: time.Hour,
			Targets: []Target{{Pool: "a/p", Model: "m", Charges: charges(amount)[:3]}}}, e.Now(), nil)
	}
	held := func() (all []int64) {
		for _, l := range e.Limits(e.Now()) {
			all = append(all, l.Held)
		}
		return all
	}
	if ev := acquire(1, 8, 0); ev[0].Kind != Granted {
		t.Fatalf("got %+v", ev)
	}
	if ev := acquire(2, 4, 25*time.Hour); ev[0].Kind != Queued {
		t.Fatalf("got %+v", ev)
	}
	back := &GiveBack{Project: "p", Pool: "a/p", Charges: charges(1)}
	if ev := e.Apply(back, e.Now(), nil); len(ev) != 1 || ev[0].Kind != Reported {
		t.Errorf("one of two that are missing is back: %+v", ev)
	}
	if ev := e.Apply(back, e.Now(), nil); len(ev) != 2 || ev[1].Kind != Granted {
		t.Errorf("two are back: %+v, and %v is held", ev, held())
	}
	back.Charges = charges(1000)
	e.Apply(back, e.Now(), nil)
	for i, n := range held() {
		if n != 0 {
			t.Errorf("limit %d holds %d after more was given back than there was", i, n)
		}
	}
	if ev := e.Apply(&Release{Lease: LeaseID{1, 1}, Outcome: Used, Actual: []Charge{{Tokens, ToOwner, 1}}}, e.Now(), nil); ev[0].Kind != Settled {
		t.Errorf("a lease whose charges were given back: %+v", ev)
	}
	state := e.Snapshot(nil)
	if again, err := Load(state); err != nil || string(again.Snapshot(nil)) != string(state) {
		t.Errorf("the state is not a state: %v", err)
	}
	old := New()
	old.Apply(back, second, nil) // before all processes know it, and of names that nobody has
}
