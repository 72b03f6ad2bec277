package server

import (
	"testing"

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
