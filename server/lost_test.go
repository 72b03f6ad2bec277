package server

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// TestLostAppendsNothing: a process that cannot read what the log holds puts nothing into it, for
// others would decide on what nobody here hears of; and its callers are told at once.
func TestLostAppendsNothing(t *testing.T) {
	s := redistest.Start(t)
	w := newAwayWorld(t, s, "margin")
	w.grant(ask("before"))
	o := w.organization()
	c := o.calls.get()
	o.propose(&limiter.Upgrade{Behaviour: limiter.Behaviour + 1}, c)
	c.free()
	w.until("lost", o.isLost)
	size, err := w.log.Size(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		_, err := w.Acquire(t.Context(), ask(name("after", i)))
		wantCode(t, err, codes.Internal)
	}
	after, err := w.log.Size(t.Context(), "acme")
	if err != nil || after.Last != size.Last {
		t.Errorf("the log ends at %v, before at %v; %v", after.Last, size.Last, err)
	}
	if w.server.Ready() == nil {
		t.Error("the process says that it is ready")
	}
}

// TestLostWhileAway: who comes back to a log that holds what cannot be read goes on alone and says
// that it is lost, without loading all of it time and again; and tells what was granted alone once
// it can be read.
func TestLostWhileAway(t *testing.T) {
	s := redistest.Start(t)
	w := newAwayWorld(t, s, "margin")
	w.grant(ask("near", block(0)))
	s.Pause()
	w.organization().read()
	w.until("away", w.isAway)
	if alone := w.spent("alone"); len(alone) != 5 {
		t.Errorf("got %d alone, want 5", len(alone))
	}
	w.log.garbled.Store(true)
	s.Continue()
	w.until("lost", w.organization().isLost)
	loads := w.log.loads.Load()
	time.Sleep(lostEvery / 5)
	if n := w.log.loads.Load() - loads; n > 0 {
		t.Errorf("the log was loaded %d times more within %v, want none", n, lostEvery/5)
	}
	if !w.isAway() || w.server.Ready() == nil {
		t.Errorf("away %v, ready %v, want it to go on alone and not to be ready", w.isAway(), w.server.Ready())
	}
	w.log.garbled.Store(false)
	w.until("back", func() bool { return !w.isAway() && w.server.Ready() == nil })
	if held := w.held(); held != 6 {
		t.Errorf("the log holds %d requests, want 6: one that it granted, and five of its absence", held)
	}
}

// TestLostIsTriedAgain: who finds that the log holds what cannot be read refuses its callers as
// one that has met a fault, not as one whose store is away, and serves when it can be read.
func TestLostIsTriedAgain(t *testing.T) {
	s := redistest.Start(t)
	w := newAwayWorld(t, s, "margin")
	w.grant(ask("before"))
	w.log.garbled.Store(true)
	w.organization().read()
	w.until("lost", w.organization().isLost)
	loads := w.log.loads.Load()
	for i := range 3 {
		_, err := w.Acquire(t.Context(), ask(name("meanwhile", i)))
		wantCode(t, err, codes.Internal)
	}
	time.Sleep(lostEvery / 5)
	if n := w.log.loads.Load() - loads; n > 0 || w.isAway() {
		t.Errorf("loaded %d times more within %v, away %v, want neither", n, lostEvery/5, w.isAway())
	}
	w.log.garbled.Store(false)
	w.until("ready", func() bool { return w.server.Ready() == nil })
	w.grant(ask("after"))
}

// TestLostIsTakenOut: an organization whose state is lost keeps the server from being ready only
// while the configuration has it.
func TestLostIsTakenOut(t *testing.T) {
	s := redistest.Start(t)
	w := newAwayWorldOf(t, s, apart, "margin")
	o := w.organization()
	c := o.calls.get()
	o.propose(&limiter.Upgrade{Behaviour: limiter.Behaviour + 1}, c)
	c.free()
	w.until("lost", o.isLost)
	if w.server.Ready() == nil {
		t.Error("it is ready while the state is lost")
	}
	other := strings.NewReplacer("WHEN", "margin", "revision: 7", "revision: 8", "acme:", "other:").Replace(apart)
	if err := w.server.Reload(t.Context(), parse(t, other)); err != nil {
		t.Fatal(err)
	}
	w.until("ready", func() bool { return w.server.Ready() == nil })
}
