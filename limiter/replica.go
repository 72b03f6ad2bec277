package limiter

import (
	"cmp"
	"slices"
	"time"
)

// Behaviour is the version of the engine's decisions. Replicas agree on one before it is
// used, so that an upgrade may roll (log.md §5).
const Behaviour = 1

// incarnationKept is how long a process is remembered that has not been heard.
const incarnationKept = 10 * time.Minute

// An incarnation is a process that serves the organization.
type incarnation struct {
	id        uint64
	behaviour uint32
	heard     Time
}

// join remembers a process.
func (e *Engine) join(c *Join) {
	e.incarnations = slices.DeleteFunc(e.incarnations, func(i incarnation) bool {
		return i.id == c.Incarnation || i.heard.Add(incarnationKept) < e.now
	})
	e.incarnations = append(e.incarnations, incarnation{c.Incarnation, c.Behaviour, e.now})
	slices.SortFunc(e.incarnations, func(a, b incarnation) int { return cmp.Compare(a.id, b.id) })
}

// restore puts back leases that the log has lost: forced charges at their own grant
// times, whatever room there is. What is known by its lease changes nothing.
func (e *Engine) restore(c *Restore) {
	for i := range c.Leases {
		s := &c.Leases[i]
		if e.leases[s.Lease] == nil {
			e.restoreLease(s)
		}
	}
}

func (e *Engine) restoreLease(s *LeaseState) {
	class, ok := e.classNames[s.Class]
	p := e.poolNames[s.Pool]
	pr, _ := e.project(s.Project)
	if !ok || p == nil || pr == nil {
		return
	}
	t := e.newTicket()
	t.key, t.lease, t.class, t.project, t.pool = s.Key, s.Lease, class, pr, p
	t.model = p.modelIndex(s.Model)
	t.shared = true // nobody may take back what was answered elsewhere
	t.granted = e.now - Time(min(max(s.Age, 0), time.Duration(e.now)))
	t.arrived = t.granted
	t.ttl = max(s.TTL, time.Millisecond)
	t.until = e.now.Add(max(s.Left, 0))
	t.work = p.work(s.Charges, ToPool)
	pr.tickets++
	for _, x := range e.gather(p, pr, s.Charges, 0) {
		l := x.limit
		l.advance(e.now)
		h := hold{limit: l, amount: x.charge.Amount, flags: x.charge.Flags}
		switch {
		case l.Shape == Stock && (s.Settled || s.Left <= 0):
			h.done = true
		case h.flags&OnCompletion != 0 && l.Shape != Stock && !s.Settled:
			l.reserve(e.now, h.amount, t.moments().Variance, h.flags&Pooled != 0)
		default:
			h.number = l.enter(t.granted, e.now, h.amount)
			if h.flags&Refundable != 0 && !s.Settled && l.Shape != Stock {
				l.refundable += h.amount
			}
		}
		t.keep(&h)
	}
	e.leases[t.lease] = t
	if e.keys[t.key] == nil && !s.Settled {
		e.keys[t.key], t.keyed = t, true
	}
	if s.Settled {
		t.state = ticketSettled
		t.until = e.now.Add(settledKept)
	} else {
		t.state = ticketOpen
		e.open++
	}
	e.timers.set(t, t.until)
}
