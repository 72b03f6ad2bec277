package simulation

import (
	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/replica"
)

var _ replica.Machine = (*node)(nil)

// Loaded implements replica.Machine.
func (n *node) Loaded() {
	n.engine = n.replica.Engine()
	n.replaying = true
}

// Fault implements replica.Machine.
func (n *node) Fault(lost bool) {
	if lost {
		panic("simulation: the engine's state is lost")
	}
}

// Applied implements replica.Machine.
func (n *node) Applied(own *replica.Batch) {
	n.replaying = false
	if b := n.batchOf(own); b != nil {
		for _, ack := range b.acks {
			ack()
		}
		b.acks = nil
	}
	n.arm()
}

// Orphans implements replica.Machine.
func (n *node) Orphans(propose func(limiter.Command)) {
	if !n.engine.Configured(1, 1) {
		c := configure(n.process.world.margin)
		c.Kept = max(0, n.replica.Kept())
		if n.process.world.now() < second {
			c.Kept = hold // nothing has ever been used
		}
		propose(c)
	}
	for _, key := range sortedKeys(n.places) {
		p := n.places[key]
		lease, waits := n.engine.Waits(key)
		if !waits && len(p.calls) == 0 {
			delete(n.places, key)
		}
		if waits && lease.Incarnation == n.incarnation || len(p.calls) == 0 {
			continue
		}
		again := p.calls[len(p.calls)-1].acquire
		again.Lease, again.Arrived = n.nextLease(), p.calls[len(p.calls)-1].arrived()
		p.lease = again.Lease
		propose(&again)
	}
}

func (n *node) batchOf(own *replica.Batch) *batch {
	if own != nil && n.flying != nil && own == &n.flying.Batch {
		return n.flying
	}
	return nil
}

// Apply implements replica.Machine.
func (n *node) Apply(a *replica.Applying) {
	var c *call
	if b := n.batchOf(a.Own); b != nil {
		if a.Index < len(b.calls) {
			c = b.calls[a.Index]
		}
	}
	events, ok := n.replica.Step(a)
	if !ok {
		panic("simulation: the engine panicked")
	}
	if b := n.batchOf(a.Own); b != nil && b.hits[a.Index] != nil && len(events) > 0 {
		b.hits[a.Index](&events[len(events)-1])
	}
	n.narrate(a, events)
	defer n.solo.follow(n, a.Command)
	acquire, _ := a.Command.(*limiter.Acquire)
	var outcome *limiter.Event // of the call's own
	for i := range events {
		ev := &events[i]
		own := acquire != nil && ev.Key == acquire.Key
		switch ev.Kind {
		case limiter.Granted, limiter.Refused, limiter.Lapsed:
			told := n.unqueued(ev, own)
			if own && c != nil {
				// A grant of its place comes first, and then the same again, for this call.
				outcome = ev
				c.shared = c.shared || told > 0
			}
		case limiter.Queued:
			if own {
				n.queued(acquire)
			}
		}
	}
	if outcome != nil {
		c.ended(outcome, min(c.acquire.Arrived, n.engine.Now()))
	}
	switch cmd := a.Command.(type) {
	case *limiter.Acquire:
		if p := n.places[cmd.Key]; c != nil && !c.done && p != nil {
			n.await(c, p)
		}
	case *limiter.Cancel:
		if c != nil {
			c.forsake()
			c.left()
		}
		if p := n.places[cmd.Key]; p != nil && cmd.Departure == limiter.Gone && len(p.calls) == 0 {
			delete(n.places, cmd.Key)
		}
	}
}

// A place is where a request waits, as the log tells of it.
type place struct {
	arrived limiter.Time    // that the engine counts from: of the latest call
	lease   limiter.LeaseID // the latest that was proposed
	calls   []*call         // that wait here
}

// queued notes that a request waits.
func (n *node) queued(cmd *limiter.Acquire) {
	p := n.places[cmd.Key]
	if p == nil {
		p = &place{}
		n.places[cmd.Key] = p
	}
	p.arrived, p.lease = min(cmd.Arrived, n.engine.Now()), cmd.Lease
}

// unqueued ends a place: the calls at it are told why. shared: so is another. It says how
// many there were.
func (n *node) unqueued(ev *limiter.Event, shared bool) int {
	p := n.places[ev.Key]
	if p == nil || n.replaying && len(p.calls) > 0 {
		return 0 // what happened in the past may have been taken back since: see Orphans
	}
	delete(n.places, ev.Key)
	calls := p.calls
	p.calls = nil
	for _, c := range calls {
		c.place = nil
		c.shared = shared || len(calls) > 1
		c.ended(ev, p.arrived) // which is that of the latest call that the log knows of
	}
	return len(calls)
}
