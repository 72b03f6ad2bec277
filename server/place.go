package server

import (
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// A place is where a request waits, as the log tells of it: also one whose caller is away
// at the moment. It serves to find the calls that wait, and those who look.
type place struct {
	since   limiter.Time    // when it was queued
	arrived limiter.Time    // the arrival that the engine counts from: of the latest call
	lease   limiter.LeaseID // the latest that was proposed
	project string
	class   string
	pools   []string
	calls   *call // that wait here, the latest first; linked by call.same
}

// queued notes that a request waits.
func (o *organization) queued(cmd *limiter.Acquire) {
	p := o.places[cmd.Key]
	if p == nil {
		if n := len(o.spares); n > 0 {
			p, o.spares = o.spares[n-1], o.spares[:n-1]
		} else {
			p = &place{}
		}
		*p = place{since: o.engine().Now(), project: cmd.Project, class: cmd.Class, pools: p.pools}
		o.places[cmd.Key] = p
	}
	p.pools = p.pools[:0]
	for i := range cmd.Targets {
		p.pools = append(p.pools, cmd.Targets[i].Pool)
	}
	p.arrived, p.lease = min(cmd.Arrived, o.engine().Now()), cmd.Lease
}

// await lets a call wait at a place.
func (p *place) await(c *call) {
	c.place, c.same, p.calls = p, p.calls, c
}

// hasPlace says whether a request waits already.
func (o *organization) hasPlace(key limiter.Key) bool {
	o.replica.Lock()
	defer o.replica.Unlock()
	return o.places[key] != nil
}

// unqueued ends the place under the event's key, if there is one. The calls at it are told
// why; shared says that another was told the same.
func (o *organization) unqueued(ev *limiter.Event, shared bool) {
	p := o.places[ev.Key]
	if p == nil || p.calls != nil && o.replica.Replaying() {
		return
	}
	delete(o.places, ev.Key)
	c := p.calls
	p.calls = nil
	shared = shared || c != nil && c.same != nil
	for c != nil {
		next := c.same
		c.place, c.same = nil, nil
		o.soloLeave(ev.Key, c, limiter.Gone) // it waits there, too, while the log comes back
		c.end.shared = shared
		o.tellLater(c, ev, p)
		if ev.Kind == limiter.Granted {
			c.end.count(p.arrived.Sub(o.arrived(c)))
		}
		c = next
	}
	if len(o.spares) < maxSpares {
		o.spares = append(o.spares, p)
	}
}

// count counts a grant from another arrival, so much earlier than that of the latest call, from
// which the engine counts; or later, where the log does not know of the latest.
func (r *outcome) count(earlier time.Duration) {
	r.event.Waited = max(0, r.event.Waited+earlier)
	r.event.StartWithin += earlier
}

// maxSpares bounds the places that are kept for use again.
const maxSpares = 1024

// forsake takes a call from its place. The caller holds the replica's lock.
func (c *call) forsake() {
	p := c.place
	if p == nil {
		return
	}
	for at := &p.calls; *at != nil; at = &(*at).same {
		if *at == c {
			*at = c.same
			break
		}
	}
	c.place, c.same = nil, nil
}

// cancelled notes that a caller has gone for good: nothing tells of its place any more.
func (o *organization) cancelled(cmd *limiter.Cancel) {
	if p := o.places[cmd.Key]; p != nil && cmd.Departure == limiter.Gone && p.calls == nil {
		delete(o.places, cmd.Key)
		if len(o.spares) < maxSpares {
			o.spares = append(o.spares, p)
		}
	}
}
