package alone

import (
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// restore puts into the log what it does not know, as a process does that has returned, and
// says how much that was.
func (w *world) restore(e *Engine, now limiter.Time) (n int) {
	lost := e.Lost(w.log, nil)
	w.log.Apply(&limiter.Restore{Leases: lost}, now, nil)
	e.Told(lost)
	return len(lost)
}

// held gives what an engine holds of its only limit by the minute.
func held(e *limiter.Engine, now limiter.Time) int64 {
	for _, l := range e.Limits(now) {
		if l.Spec.Name == "requests/min" {
			return l.Held
		}
	}
	return -1
}

// What was granted alone is in the log once, as it was used, and lets nobody take the quota
// that it is still counted in.
func TestLost(t *testing.T) {
	w := newWorld(t, inAccount("", "requests: 300/min"))
	e := New()
	w.leave(e, epoch)
	used, _ := w.ask(e, "a/p", 3, epoch)
	running, _ := w.ask(e, "a/p", 4, epoch)
	unsent, _ := w.ask(e, "a/p", 1, epoch)
	e.Apply(&limiter.Release{Lease: used}, epoch.Add(1), nil)
	e.Apply(&limiter.Release{Lease: unsent, Outcome: limiter.Unsent}, epoch.Add(1), nil)
	now := epoch.Add(10 * time.Second)
	e.Return(now)
	w.log.Apply(&limiter.Tick{}, now, nil)
	if n := w.restore(e, now); n < 2 {
		t.Fatalf("got %d leases, want two", n)
	}
	if got := held(w.log, now); got != 7 {
		t.Errorf("the log holds %d, want 7", got)
	}
	if n := w.restore(e, now); n != 0 || held(w.log, now) != 7 {
		t.Errorf("told twice: %d, the log holds %d", n, held(w.log, now))
	}
	if got := w.drain(w.log, "a/p", now); got != 263 {
		t.Errorf("the log grants %d more, want 263 of 270", got)
	}

	// How it ended in another absence is told in turn.
	w.leave(e, now)
	e.Apply(&limiter.Release{Lease: running, Outcome: limiter.Unsent}, now.Add(1), nil)
	e.Return(now.Add(1))
	if n := w.restore(e, now.Add(1)); n != 1 || held(w.log, now.Add(1)) != 266 {
		t.Errorf("told %d, the log holds %d; want one, and 266", n, held(w.log, now.Add(1)))
	}
}

// What the log will not have is not told for ever.
func TestLostTwice(t *testing.T) {
	w := newWorld(t, inAccount("", "requests: 300/min"))
	e := New()
	w.leave(e, epoch)
	w.ask(e, "a/p", 3, epoch)
	e.Return(epoch)
	lost := e.Lost(w.log, nil)
	e.Told(lost) // and the log has ignored it
	if again := e.Lost(w.log, nil); len(lost) != 1 || len(again) != 0 {
		t.Errorf("got %d and then %d, want one and none", len(lost), len(again))
	}
	later := epoch.Add(25 * time.Hour)
	e.Apply(&limiter.Tick{}, epoch.Add(time.Hour), nil) // it expires
	e.Apply(&limiter.Tick{}, later, nil)                // and is forgotten
	if e.Told(nil); len(e.told) != 0 {
		t.Errorf("%d leases are remembered for ever", len(e.told))
	}
}
