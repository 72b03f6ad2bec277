package replica

import (
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// hits draws on a counter by a name of one letter, 100 an hour.
func hits(name byte, amount int64) *limiter.Hit {
	return &limiter.Hit{Counters: []limiter.CounterHit{{Counter: limiter.CounterID{name}, Quota: 100, Window: time.Hour, Amount: amount}}}
}

// left tells what is left of a counter, as the log has it.
func (p *process) left(name byte) int64 {
	p.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		p.must(hits(name, 0))
		p.replica.Lock()
		ev := p.events[len(p.events)-1]
		p.replica.Unlock()
		if ev.Kind == limiter.Counted && ev.Reason != limiter.NotYet {
			return ev.Remaining
		}
	}
	p.t.Fatal("nothing is counted any more")
	return 0
}

// Hits are counted in a log that has just begun: whoever begins it puts the behaviour in force.
func TestFreshLogCounts(t *testing.T) {
	s := redistest.Start(t)
	a := join(t, dial(t, s), nil)
	if v := a.replica.Engine().Behaviour(); v < limiter.BehaviourHits {
		t.Fatalf("behaviour %d is in force after the log was begun", v)
	}
	a.must(hits('x', 3))
	if got := a.left('x'); got != 97 {
		t.Errorf("%d are left, want 97", got)
	}
}

// What two processes know of counters is in the log again after it was lost, though each knows
// another part, and though both tell of the same hits; and nothing is counted twice.
func TestCountersWiped(t *testing.T) {
	s := redistest.Start(t)
	a, b := join(t, dial(t, s), nil), join(t, dial(t, s), nil)
	a.must(slots(3))
	a.must(hits('x', 10), hits('y', 5))
	b.must(hits('x', 20))
	a.read()
	a.turn.Lock() // a hears nothing: it knows less
	b.must(hits('x', 30), hits('z', 7))
	wipe(t, s)
	a.turn.Unlock()
	a.read()
	b.read()
	for name, want := range map[byte]int64{'x': 40, 'y': 95, 'z': 93} {
		if got := b.left(name); got != want {
			t.Errorf("%c: %d are left, want %d", name, got, want)
		}
	}
	b.must(hits('x', 41))
	a.read()
	same(t, a, b)
	if got := a.left('x'); got != 40 {
		t.Errorf("more than the quota was charged: %d are left, want 40", got)
	}
}

// A server that takes over without the tail: what only one process knows of it is put back, once,
// and beside what others have counted before it came.
func TestCountersOfLostTail(t *testing.T) {
	one, two := redistest.Start(t), redistest.Start(t)
	toA, toB := redistest.StartProxy(t, one.Address()), redistest.StartProxy(t, one.Address())
	a, b := join(t, dialAt(t, toA.URL()), nil), join(t, dialAt(t, toB.URL()), nil)
	a.must(slots(3))
	a.must(hits('x', 10))
	b.must(hits('x', 20))
	a.read()
	toB.Point(two.Address())
	a.must(hits('x', 1), hits('z', 4)) // in the log that b has left
	b.must(hits('y', 1))               // b begins the other with what it knows, and a is waited for
	if got := b.left('x'); got != 70 {
		t.Fatalf("%d are left before what only one knows is put back, want 70", got)
	}
	b.must(hits('x', 5), hits('z', 6))
	toA.Point(two.Address())
	a.read()
	for name, want := range map[byte]int64{'x': 64, 'z': 90} {
		if got := b.left(name); got != want {
			t.Errorf("%c: %d are left, want %d", name, got, want)
		}
	}
	a.turn.Lock()
	a.replica.Break(t.Context()) // it loads again: there is nothing to put back
	a.turn.Unlock()
	a.read()
	same(t, a, b)
	if got := a.left('x'); got != 64 {
		t.Errorf("loaded again, %d are left, want 64", got)
	}
}

// A log that was begun by a process that knew nothing, and has counted since, gets what another
// knows beside it.
func TestCountersIntoNothing(t *testing.T) {
	s := redistest.Start(t)
	a, b := join(t, dial(t, s), nil), join(t, dial(t, s), nil)
	a.must(slots(3))
	a.must(hits('x', 10), hits('y', 2))
	b.read()
	a.turn.Lock() // they do not hear of it
	b.turn.Lock()
	wipe(t, s)
	c := join(t, dial(t, s), nil)
	c.must(hits('x', 15))
	a.turn.Unlock()
	b.turn.Unlock()
	a.read()
	b.read()
	for name, want := range map[byte]int64{'x': 75, 'y': 98} {
		if got := c.left(name); got != want {
			t.Errorf("%c: %d are left, want %d", name, got, want)
		}
	}
	a.read()
	b.read()
	same(t, a, b)
}
