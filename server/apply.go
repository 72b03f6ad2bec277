package server

import (
	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/replica"
)

// Apply implements replica.Machine: it tells whoever waits for what comes of a command.
func (o *organization) Apply(a *replica.Applying) {
	cmd := a.Command
	var c *call
	if b := o.committing; a.Own != nil && b != nil && a.Own == &b.Batch {
		c = b.calls[a.Index]
	}
	release, _ := cmd.(*limiter.Release)
	var grant limiter.Grant
	if release != nil && !o.replica.Lost() {
		o.before, _ = o.engine().Lease(release.Lease, o.before[:0])
		grant, _ = o.engine().Grant(release.Lease)
	}
	events, ok := o.replica.Step(a)
	if !ok {
		if c != nil {
			c.out.err, c.left = errFault, true
		}
		return
	}
	if o.solo.engine != nil {
		defer o.soloFollow(cmd)
	}
	if _, hit := cmd.(*limiter.Hit); hit {
		o.tellCounted(events, c)
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
			o.expired(ev, a.Own != nil)
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
	if acquire != nil && c != nil && c.out.event.Kind == 0 {
		c.out.err = errRepeated // the batch went in twice, and too late the second time
	}
	switch cmd := cmd.(type) {
	case *limiter.Configure:
		o.configured()
	case *limiter.Restore:
		o.forced(cmd)
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
}

// granted tells of a grant: those who wait for it, and the call whose own command it is.
func (o *organization) granted(ev *limiter.Event, acquire *limiter.Acquire, own bool, c *call) {
	o.charges, _ = o.engine().Lease(ev.Lease, o.charges[:0])
	p := o.places[ev.Key]
	waited := ev.Waited
	if p != nil {
		waited = max(waited, o.engine().Now().Sub(p.since))
	}
	if !ev.Again {
		var project string
		switch {
		case own:
			project = acquire.Project
		case p != nil:
			project = p.project
		default:
			project, _, _, _ = o.engine().Holder(ev.Lease)
		}
		o.consumers.add(o.engine().Now(), project, o.charges)
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
	if ev.Kind == limiter.Granted && o.replica.Shared() {
		c.out.count(min(acquire.Arrived, o.engine().Now()).Sub(o.arrived(c)))
	}
	o.press(&c.out, acquire)
	if c.diversion != nil {
		c.diversion.judge(o, acquire.Class)
	}
}

// tellLater writes what the wait of a call has come to.
func (o *organization) tellLater(c *call, ev *limiter.Event, p *place) {
	o.write(&c.end, ev)
	for _, pool := range p.pools {
		o.loads.join(o.engine(), &c.end.load, pool, p.class)
	}
	o.loads.read(o.engine(), &c.end.load, p.class)
	c.end.waited = max(ev.Waited, o.engine().Now().Sub(p.since))
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
	o.charges, _ = o.engine().Lease(ev.Lease, o.charges[:0])
	o.consumers.settle(o.engine().Now(), project, o.before, o.charges, ev.Late)
	if c != nil {
		c.out.event, c.out.project = *ev, project
		c.out.before = append(c.out.before[:0], o.before...)
		c.out.charges = append(c.out.charges[:0], o.charges...)
	}
}

// forced notes what a gateway has charged by force, which is told as a lease that began and ended
// just now; what was lost is older.
func (o *organization) forced(cmd *limiter.Restore) {
	for i := range cmd.Leases {
		if l := &cmd.Leases[i]; l.Settled && l.Age == 0 {
			o.charges, _ = o.engine().Lease(l.Lease, o.charges[:0])
			o.consumers.add(o.engine().Now(), l.Project, o.charges)
		}
	}
}

// tellCounted tells what a Hit has come to. It is of a domain's organization, where nothing else
// happens.
func (o *organization) tellCounted(events []limiter.Event, c *call) {
	if c != nil {
		c.out.counted = append(c.out.counted[:0], events...)
	}
}

// expired notes that a lease has given back its stocks. ours: our command let the time pass.
func (o *organization) expired(ev *limiter.Event, ours bool) {
	project, _, _, ok := o.engine().Holder(ev.Lease)
	if !ok {
		return
	}
	o.charges, _ = o.engine().Lease(ev.Lease, o.charges[:0])
	o.consumers.expire(o.engine().Now(), project, o.charges)
	if ours {
		o.countExpired(project)
	}
}

// reported tells what a Report has come to.
func (o *organization) reported(ev *limiter.Event, c *call) {
	c.out.event = *ev
	if _, class, pool, ok := o.engine().Holder(ev.Lease); ok {
		c.out.class, c.out.pool = class, pool
	}
	o.loads.join(o.engine(), &c.out.load, c.out.pool, c.out.class)
	o.loads.read(o.engine(), &c.out.load, c.out.class)
}

// configured follows the engine to another configuration, and forgets what was known by the
// ids of limits, which mean others now.
func (o *organization) configured() {
	if n := o.next; n != nil && o.engine().Configured(n.generation, n.hash) {
		o.edition.Store(n)
		o.next = nil
	}
	e := o.edition.Load()
	e.counts.InForce()
	o.loads.reset(o.engine(), e)
	o.consumers.configure(o.engine())
}
