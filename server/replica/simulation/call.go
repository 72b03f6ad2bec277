package simulation

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// A call is one RPC that asks for a grant, at the server.
type call struct {
	job     *job
	rpc     int
	process *process
	block   time.Duration

	received  int64 // by the monotonic clock
	acquire   limiter.Acquire
	place     *place // where it waits; nil: it does not
	departure limiter.Departure
	departing bool // its Cancel is under way
	over      bool // its caller has gone
	answered  bool
	done      bool // outcome is set
	shared    bool // others were told of the same grant
	alone     bool // it was made without the log
	outcome   limiter.Event
}

// An answer is what a worker is told.
type answer struct {
	kind        answerKind
	lease       limiter.LeaseID
	pool        string
	startWithin time.Duration
	left        time.Duration
	alone       bool // granted without the log
}

type answerKind byte

const (
	answerGrant answerKind = iota
	answerWait
	answerRefusal
	answerError
)

const ttl = 6 * time.Second

func (n *node) nextLease() limiter.LeaseID {
	n.leases++
	return limiter.LeaseID{Incarnation: n.incarnation, Count: n.leases}
}

// arrived gives when the call arrived, in the time of the log that is followed now.
func (c *call) arrived() limiter.Time {
	_, monotonic := c.process.clock()
	return c.process.node.replica.Now().Add(-time.Duration(monotonic - c.received))
}

// acquire takes a call.
func (n *node) acquire(c *call) {
	if !n.serving {
		c.answer(&answer{kind: answerError})
		return
	}
	j := c.job
	_, c.received = n.process.clock()
	c.acquire = limiter.Acquire{
		Key: j.key(), Lease: n.nextLease(), Project: j.project, Class: j.class,
		Arrived: n.replica.Now(), MaxWait: patience, TTL: ttl,
	}
	for _, pool := range j.pools {
		c.acquire.Targets = append(c.acquire.Targets, limiter.Target{Pool: pool, Model: model, Charges: charges(pool, j.tokens, j.output)})
	}
	if n.solo.away {
		n.askAlone(c)
	} else {
		n.submit(&c.acquire, c, nil)
	}
	n.process.after(c.block, func() { n.depart(c, limiter.Away) })
}

// gone is told that a call's caller has left.
func (n *node) gone(c *call) {
	c.over = true
	n.depart(c, pick(n.process.world, limiter.Gone, limiter.Gone, limiter.Away))
}

// await lets a call wait at a place.
func (n *node) await(c *call, p *place) {
	c.place = p
	p.calls = append(p.calls, c)
	if c.over || n.process.world.now() >= c.job.sent+c.block {
		n.process.after(0, func() { n.depart(c, c.departure) })
	}
}

// forsake takes a call from its place.
func (c *call) forsake() {
	if p := c.place; p != nil {
		p.calls = slices.DeleteFunc(p.calls, func(o *call) bool { return o == c })
		c.place = nil
	}
}

// depart takes a call from its place: away if it may come back, for good if not.
func (n *node) depart(c *call, how limiter.Departure) {
	if c.answered || c.departing {
		return
	}
	c.departure = how
	if n.solo.away {
		n.leaveAlone(c, how)
		return
	}
	p := c.place
	if p == nil {
		return // it is not decided yet: await asks again
	}
	if len(p.calls) > 1 {
		c.forsake() // the others keep the place
		c.answer(&answer{kind: answerWait})
		return
	}
	c.departing = true
	n.submit(&limiter.Cancel{Key: c.acquire.Key, Lease: p.lease, Departure: how}, c, nil)
}

// left is told that the call's Cancel has been applied.
func (c *call) left() {
	if c.answered {
		return
	}
	c.departing = false
	if c.done {
		c.tell()
		return
	}
	c.answer(&answer{kind: answerWait})
}

// ended is told what has become of the request. A grant says how long after an arrival a
// call may leave; the worker counts from this call's own.
func (c *call) ended(ev *limiter.Event, arrived limiter.Time) {
	if c.answered || c.done {
		return
	}
	c.done, c.outcome = true, *ev
	if ev.Kind == limiter.Granted {
		c.outcome.StartWithin += arrived.Sub(c.arrived())
	}
	c.process.node.solo.forget(c)
	if !c.departing {
		c.tell()
	}
}

// tell answers with the outcome; a grant whose caller has gone is given back, if nobody
// else can have been told of it.
func (c *call) tell() {
	ev := &c.outcome
	n := c.process.node
	switch {
	case ev.Kind != limiter.Granted:
		kind := answerRefusal
		if ev.Kind == limiter.Lapsed || ev.Reason == limiter.UnknownClass || ev.Reason == limiter.NoTarget {
			kind = answerError // it is not configured yet
		}
		c.answer(&answer{kind: kind})
	case c.over:
		c.answered = true
		switch {
		case c.alone && n.solo.away && !c.shared:
			n.applyAlone(&limiter.Release{Lease: ev.Lease, Outcome: limiter.Unsent})
		case c.alone && !c.shared:
			n.submit(&limiter.Release{Lease: ev.Lease, Outcome: limiter.Unsent}, nil, nil)
		case c.alone:
		case !c.shared && !ev.Again:
			n.process.world.tell("%s: job %d has gone: %s is given back", n.process, c.job.number, leaseName(ev.Lease))
			n.submit(&limiter.Cancel{Key: c.acquire.Key, Lease: ev.Lease, Departure: limiter.Gone}, nil, nil)
		}
	default:
		n.process.world.tell("%s: job %d is granted %s in %s", n.process, c.job.number, leaseName(ev.Lease), ev.Pool)
		c.answer(&answer{answerGrant, ev.Lease, ev.Pool, ev.StartWithin, ev.Left, c.alone})
	}
}

func (c *call) answer(a *answer) {
	if c.answered {
		return
	}
	c.answered = true
	w := c.process.world
	if c.over || c.process.dead || w.chance(w.network.lostReply) {
		return
	}
	w.after(w.rpc(), func() { c.job.told(c.rpc, a) })
}

// fail answers those whose commands are not known to be in the log.
func (n *node) fail(b *batch) {
	for _, c := range b.calls {
		if c == nil || c.answered {
			continue
		}
		c.forsake()
		c.departing = false
		if c.done {
			c.tell()
		} else {
			c.answer(&answer{kind: answerError})
		}
	}
	b.calls, b.acks = nil, nil
}

// release takes the end of a call; ack is called when that is in the log.
func (n *node) release(r *limiter.Release, ack func()) {
	switch {
	case !n.serving:
	case !n.solo.away:
		n.submit(r, nil, ack)
	case n.solo.engine.Granted(r.Lease):
		n.applyAlone(r)
		ack()
	}
}

func (n *node) renew(l limiter.LeaseID) {
	if n.serving {
		n.submit(&limiter.Renew{Leases: []limiter.LeaseID{l}}, nil, nil)
	}
}

func sortedKeys[V any](m map[limiter.Key]V) []limiter.Key {
	return slices.SortedFunc(maps.Keys(m), func(a, b limiter.Key) int { return bytes.Compare(a[:], b[:]) })
}
