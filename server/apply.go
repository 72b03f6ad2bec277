package server

import (
	"encoding/hex"
	"fmt"
	"runtime/debug"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/store"
)

// A poison is a command that made the engine panic: it is left out when the log is
// applied again.
type poison struct {
	incarnation, number uint64
	index               int
}

// apply applies an entry. own is the batch that it is, if it is one of ours whose calls
// wait for what comes of it. Its own payload is decoded like any other: there is one path.
// The caller holds state.
func (o *organization) apply(e *store.Entry, own *batch) {
	o.position, o.applied = e.Position, e.Time
	o.tail += len(e.Payload)
	if e.Number <= o.seen[e.Incarnation] {
		return // a late copy
	}
	o.seen[e.Incarnation] = e.Number
	rest := e.Payload
	if len(rest) > 0 && rest[0] != payloadVersion {
		o.unreadable(fmt.Errorf("an entry of version %d: this build knows %d, a later one is needed", rest[0], payloadVersion))
		return
	}
	rest = rest[min(1, len(rest)):]
	for i := 0; len(rest) > 0; i++ {
		cmd, next, err := o.decoder.Command(rest)
		if err != nil {
			o.unreadable(fmt.Errorf("an entry with a command that this build does not know, or that is damaged: %w: %s",
				err, hex.EncodeToString(rest[:min(len(rest), 64)])))
			return
		}
		var c *call
		if own != nil {
			c = own.calls[i]
		}
		o.applyCommand(cmd, rest[:len(rest)-len(next)], e, i, own != nil, c)
		rest = next
	}
}

// unreadable ends the organization's service here: to go on without what an entry says would
// be to forget charges. The caller holds state.
func (o *organization) unreadable(err error) {
	o.fault = err
	o.logger.Error("the log cannot be understood: the organization is not served", "error", err)
	o.setLost(true)
}

// applyCommand applies one command on behalf of a call, which may be nil. ours: it is the first
// time that one of this process's own is applied.
func (o *organization) applyCommand(cmd limiter.Command, raw []byte, e *store.Entry, index int, ours bool, c *call) {
	if o.poisoned[poison{e.Incarnation, e.Number, index}] || o.lost {
		if c != nil {
			c.out.err, c.left = errFault, true
		}
		return
	}
	release, _ := cmd.(*limiter.Release)
	var grant limiter.Grant
	if release != nil {
		o.before, _ = o.engine.Lease(release.Lease, o.before[:0])
		grant, _ = o.engine.Grant(release.Lease)
	}
	events, ok := o.step(cmd, limiter.Time(e.Time))
	if !ok {
		o.panics.Add(1)
		o.logger.Error("the engine panicked; the command is left out", "command", hex.EncodeToString(raw))
		o.poisoned[poison{e.Incarnation, e.Number, index}] = true
		o.mend(e, index)
		if c != nil {
			c.out.err, c.left = errFault, true
		}
		return
	}
	acquire, _ := cmd.(*limiter.Acquire)
	for i := range events {
		ev := &events[i]
		own := acquire != nil && ev.Key == acquire.Key
		switch ev.Kind {
		case limiter.Granted:
			o.granted(ev, acquire, own, c)
		case limiter.Queued:
			if own {
				o.queued(acquire)
				o.tell(c, ev, acquire)
			}
		case limiter.Refused:
			o.unqueued(ev, false)
			if own {
				o.tell(c, ev, acquire)
			}
		case limiter.Lapsed:
			o.unqueued(ev, false)
		case limiter.Expired:
			o.expired(ev, ours)
		case limiter.Settled:
			o.settled(ev, grant.Project, c)
			if c != nil {
				o.countSettled(release, ev, &grant, &c.told)
			}
		case limiter.Renewed:
			if c != nil {
				c.out.renewed = append(c.out.renewed, *ev)
			}
		case limiter.NotFound:
			if _, renews := cmd.(*limiter.Renew); renews && c != nil {
				c.out.renewed = append(c.out.renewed, *ev)
			} else if c != nil {
				c.out.event = *ev
			}
		case limiter.Reported:
			if c != nil {
				o.reported(ev, c)
				o.countReported(ev, c)
			}
		}
	}
	switch cmd := cmd.(type) {
	case *limiter.Join: // which is no work yet
		return
	case *limiter.Configure:
		o.configured()
		return
	case *limiter.Acquire:
		if c != nil && c.waits && c.out.event.Kind == limiter.Queued {
			o.places[cmd.Key].await(c)
		}
	case *limiter.Cancel:
		if c != nil {
			c.left = true
			c.forsake()
			c.signal()
		}
		o.cancelled(cmd)
	}
	o.worked = e.Time
}

// step applies a command to the engine. It says false if the engine panicked.
func (o *organization) step(cmd limiter.Command, now limiter.Time) (events []limiter.Event, ok bool) {
	defer func() {
		if r := recover(); r != nil {
			o.logger.Error("panic", "panic", r, "stack", string(debug.Stack()))
			o.events = nil
		}
	}()
	if o.probe != nil {
		o.probe(cmd)
	}
	o.events = o.engine.Apply(cmd, now, o.events[:0])
	return o.events, true
}

// granted tells of a grant: those who wait for it, and the call whose own command it is.
func (o *organization) granted(ev *limiter.Event, acquire *limiter.Acquire, own bool, c *call) {
	o.charges, _ = o.engine.Lease(ev.Lease, o.charges[:0])
	p := o.places[ev.Key]
	waited := ev.Waited
	if p != nil {
		waited = max(waited, o.engine.Now().Sub(p.since))
	}
	if !ev.Again {
		var project string
		switch {
		case own:
			project = acquire.Project
		case p != nil:
			project = p.project
		default:
			project, _, _, _ = o.engine.Holder(ev.Lease)
		}
		o.consumers.add(o.engine.Now(), project, o.charges)
	}
	shared := p != nil && p.calls != nil && own
	o.unqueued(ev, shared)
	if own {
		o.tell(c, ev, acquire)
		if c != nil {
			c.out.shared, c.out.waited = shared, waited
		}
	}
}

// tell writes what a call's own Acquire has come to.
func (o *organization) tell(c *call, ev *limiter.Event, acquire *limiter.Acquire) {
	if c == nil {
		return
	}
	o.write(&c.out, ev)
	for i := range acquire.Targets {
		o.loads.join(o.engine, &c.out.load, acquire.Targets[i].Pool, acquire.Class)
	}
	o.loads.read(o.engine, &c.out.load, acquire.Class)
	if c.diversion != nil {
		c.diversion.judge(o, acquire.Class)
	}
}

// tellLater writes what the wait of a call has come to.
func (o *organization) tellLater(c *call, ev *limiter.Event, p *place) {
	o.write(&c.end, ev)
	for _, pool := range p.pools {
		o.loads.join(o.engine, &c.end.load, pool, p.class)
	}
	o.loads.read(o.engine, &c.end.load, p.class)
	c.end.waited = max(ev.Waited, o.engine.Now().Sub(p.since))
	c.ended = true
	c.signal()
}

func (o *organization) write(r *outcome, ev *limiter.Event) {
	r.event, r.epoch, r.load = *ev, o.loads.epoch, load{}
	if ev.Kind == limiter.Granted {
		r.charges = append(r.charges[:0], o.charges...)
	}
}

// settled tells what a Release has brought about.
func (o *organization) settled(ev *limiter.Event, project string, c *call) {
	o.charges, _ = o.engine.Lease(ev.Lease, o.charges[:0])
	o.consumers.settle(o.engine.Now(), project, o.before, o.charges, ev.Late)
	if c != nil {
		c.out.event, c.out.project = *ev, project
		c.out.before = append(c.out.before[:0], o.before...)
		c.out.charges = append(c.out.charges[:0], o.charges...)
	}
}

// expired notes that a lease has given back its stocks. ours: our command let the time pass.
func (o *organization) expired(ev *limiter.Event, ours bool) {
	project, _, _, ok := o.engine.Holder(ev.Lease)
	if !ok {
		return
	}
	o.charges, _ = o.engine.Lease(ev.Lease, o.charges[:0])
	o.consumers.expire(o.engine.Now(), project, o.charges)
	if ours {
		o.countExpired(project)
	}
}

// reported tells what a Report has come to.
func (o *organization) reported(ev *limiter.Event, c *call) {
	c.out.event = *ev
	if _, class, pool, ok := o.engine.Holder(ev.Lease); ok {
		c.out.class, c.out.pool = class, pool
	}
	o.loads.join(o.engine, &c.out.load, c.out.pool, c.out.class)
	o.loads.read(o.engine, &c.out.load, c.out.class)
}

// configured follows the engine to another configuration, and forgets what was known by the
// ids of limits, which mean others now.
func (o *organization) configured() {
	if n := o.next; n != nil && o.engine.Configured(n.generation, n.hash) {
		o.edition.Store(n)
		o.next = nil
	}
	e := o.edition.Load()
	e.counts.InForce()
	o.loads.reset(o.engine, e)
	o.consumers.configure(o.engine)
}
