package server

import (
	"sync"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/policy"
)

// A call is one RPC that has asked an organization's engine something. It is used again
// for others, with all the memory that it has.
type call struct {
	home    *calls
	wake    chan struct{} // of capacity 1: something below has changed
	lead    bool          // held by organization.mu: it is this call's turn to lead
	sent    bool          // what it asks may be in the log
	leaving bool          // what it sends is its Cancel

	// What it asks with; one of them at a time.
	request   policy.Request
	diversion *diversion // of the route; nil: it has none
	acquire   limiter.Acquire
	received  time.Time // the Acquire
	release   limiter.Release
	report    limiter.Report
	renew     limiter.Renew
	cancel    limiter.Cancel
	told      told

	patience time.Duration // of the Acquire, from its arrival on

	// out is what has become of the command. The leader writes it before it wakes the call,
	// and does not look at it again.
	out outcome

	// The rest is of an Acquire that waits. Held by the replica's lock.
	waits bool    // it stays if it is queued
	place *place  // where it waits; nil: it does not, or no longer
	same  *call   // the next of those that wait under the same key
	ended bool    // end is set
	end   outcome // what the wait has ended with
	left  bool    // its Cancel has been applied
	back  bool    // it waited for the log, which is there again
	timer *time.Timer
}

// An outcome is what has become of a command, and how scarce things are.
type outcome struct {
	err     error
	event   limiter.Event
	epoch   uint64                // of the limits that the event names
	waited  time.Duration         // Granted: since the request was queued, over all its calls
	shared  bool                  // others have been told the same grant
	alone   bool                  // Granted: without the log
	before  []limiter.LeaseCharge // Settled: what the lease had
	charges []limiter.LeaseCharge // Granted: what it has; Settled: what stays of it
	renewed []limiter.Event       // one for each lease
	counted []limiter.Event       // one for each counter of a Hit
	project string                // Settled: whose lease it was
	class   string                // Reported: of the lease, or what the caller put here
	pool    string                // Reported: likewise
	load    load
}

func (r *outcome) reset() {
	*r = outcome{before: r.before[:0], charges: r.charges[:0], renewed: r.renewed[:0], counted: r.counted[:0]}
}

// calls are those that nobody uses at the moment.
type calls struct{ pool sync.Pool }

func (p *calls) get() *call {
	if c, ok := p.pool.Get().(*call); ok {
		return c
	}
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &call{home: p, wake: make(chan struct{}, 1), timer: t}
}

// free gives a call back. Nobody else may know it any more.
func (c *call) free() {
	select {
	case <-c.wake:
	default:
	}
	c.lead, c.waits, c.ended, c.left = false, false, false, false
	c.sent, c.leaving, c.back = false, false, false
	c.place, c.same, c.diversion = nil, nil, nil
	c.told = told{}
	c.out.reset()
	c.end.reset()
	c.home.pool.Put(c)
}

// askAgain makes an Acquire one that has not been asked.
func (c *call) askAgain(lease limiter.LeaseID, now limiter.Time) {
	c.out.reset()
	c.end.reset()
	c.ended, c.left, c.back = false, false, false
	c.acquire.Lease = lease
	c.acquire.MaxWait = max(0, c.patience-now.Sub(c.acquire.Arrived))
}

// signal wakes the call. A call that has been woken and has not looked yet is not woken
// twice. Signals are given while holding a lock that the call takes before it goes, or are
// what it cannot go without: so none reaches a later user of the same call.
func (c *call) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
