package limiter

import (
	"fmt"
	"slices"
)

// consistent looks at every counter, list and heap of an engine and says what does not
// fit what it counts or orders.
func consistent(e *Engine) error {
	c := checker{e: e}
	c.tickets()
	c.limits()
	c.queues()
	c.projects()
	c.processes()
	c.counters()
	return c.err
}

type checker struct {
	e   *Engine
	err error
}

func (c *checker) check(ok bool, format string, args ...any) {
	if !ok && c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *checker) tickets() {
	e := c.e
	keyed, leases, open, waiting := 0, 0, 0, 0
	byClass := make([]int, len(e.classes))
	byProject := map[*project]int{}
	for i, tm := range e.timers.timers {
		t := tm.ticket
		c.check(i == 0 || !tm.before(e.timers.timers[(i-1)/4]), "timer %d is before its parent", i)
		c.check(int(t.timer) == i, "ticket %v does not know its timer", t.key)
		c.check(t.state != ticketFree, "a free ticket has a timer")
		byProject[t.project]++
		if t.keyed {
			keyed++
			c.check(e.keys[t.key] == t, "key %v leads elsewhere", t.key)
		}
		switch t.state {
		case ticketWaiting:
			waiting++
			byClass[t.class]++
			c.check(len(t.places()) > 0 && len(t.holds) == 0, "a waiter with %d places, %d holds", len(t.places()), len(t.holds))
			c.check(tm.at <= t.until, "a waiter's timer is past its patience")
		default:
			leases++
			if t.state == ticketOpen {
				open++
			}
			c.check(e.leases[t.lease] == t, "lease %v leads elsewhere", t.lease)
			c.check(len(t.places()) == 0, "a lease that waits")
			c.check(t.state != ticketOpen || tm.at == t.until, "the timer of lease %v is not its end", t.lease)
		}
		for i := range t.holds {
			h := e.unpack(t, i)
			c.check(h.amount >= 0 && h.seen >= 0, "a hold of %d, %d", h.amount, h.seen)
			c.check(h.limit.Shape != Stock || h.limit.dead || h.done || t.state == ticketOpen, "lease %v holds a stock past its end", t.lease)
		}
	}
	c.check(keyed == len(e.keys), "%d keys, %d tickets with one", len(e.keys), keyed)
	c.check(leases == len(e.leases), "%d leases, %d tickets of them", len(e.leases), leases)
	c.check(open == e.open, "%d leases in force, %d counted", open, e.open)
	c.check(waiting == e.waiting, "%d wait, %d counted", waiting, e.waiting)
	for i, n := range byClass {
		c.check(e.classes[i].waiting == n, "%d wait in class %d, %d counted", n, i, e.classes[i].waiting)
	}
	for _, pr := range e.projects {
		c.check(pr.tickets == byProject[pr], "project %s has %d tickets, %d counted", pr.name, byProject[pr], pr.tickets)
	}
}

func (c *checker) window(w *window) {
	var sum int64
	for i := uint32(0); i < w.count; i++ {
		en := w.at(w.head + i)
		sum += en.amount
		c.check(en.amount >= 0 && en.first <= en.last, "an entry %+v", *en)
		c.check(i == 0 || w.at(w.head+i-1).last <= en.last, "entries out of order")
	}
	c.check(sum == w.total, "a window of %d counts %d", sum, w.total)
}

func (c *checker) limits() {
	e := c.e
	type sums struct{ stock, reserved, mean, variance, refundable int64 }
	of := map[*limit]*sums{}
	for id, l := range e.table {
		if l != nil {
			c.check(int(l.id) == id, "limit %d has id %d", id, l.id)
			of[l] = &sums{}
		}
	}
	c.check(len(of)+len(e.freeIDs) == len(e.table), "%d limits and %d free ids of %d", len(of), len(e.freeIDs), len(e.table))
	for _, tm := range e.timers.timers {
		t := tm.ticket
		for i := range t.holds {
			h := e.unpack(t, i)
			s := of[h.limit]
			left := h.amount - min(h.seen, h.amount)
			switch {
			case h.limit.dead:
			case h.limit.Shape == Stock:
				if !h.done {
					s.stock += h.amount
				}
			case t.state != ticketOpen:
			case h.flags&OnCompletion != 0 && h.flags&Pooled != 0:
				s.mean += left
				s.variance += t.moments().Variance
			case h.flags&OnCompletion != 0:
				s.reserved += left
			case h.flags&Refundable != 0:
				s.refundable += h.amount
			}
		}
	}
	for l, s := range of { // any order: each alone
		if l.dead {
			continue
		}
		got := sums{l.stock, l.reserved, l.pool.mean, l.pool.variance, l.refundable}
		c.check(got == *s, "limit %s of %q: %+v counted, %+v held", l.Name, l.owner, got, *s)
		c.check(l.pool.reserve == l.pool.mean+sigmas*root(l.pool.variance), "a stale reserve")
		c.window(&l.window)
		c.window(&l.bucket.credits)
		c.check(l.calendar.current >= 0 && l.calendar.next >= 0, "calendar %+v", l.calendar)
		by := make([]int64, len(l.meter.sums))
		for i, s := range l.meter.slots {
			by[i%len(by)] += s
		}
		for i := range by {
			c.check(by[i] == l.meter.sums[i], "a meter of %d counts %d", by[i], l.meter.sums[i])
		}
	}
}

func (c *checker) heap(h *flowHeap, p *pool, state flowState) {
	for i, f := range h.flows {
		c.check(f.state == state && int(f.pos) == i && f.pool == p, "a flow in the wrong heap, state %d", f.state)
		c.check(i == 0 || !f.before(h.flows[(i-1)/2]), "flow %d is before its parent", i)
	}
}

func (c *checker) queues() {
	e := c.e
	for _, p := range e.pools {
		n := len(p.parked.flows)
		waiting := 0
		c.heap(&p.parked, p, flowParked)
		for k := range p.lanes {
			l := &p.lanes[k]
			c.heap(&l.ready, p, flowReady)
			c.heap(&l.idle, p, flowIdle)
			n += len(l.ready.flows) + len(l.idle.flows)
			places, work := 0, int64(0)
			for _, pr := range e.projects {
				if f := pr.flows[p.flowIndex(uint8(k))]; f != nil {
					c.flow(f, p, pr, uint8(k))
					places += f.count
					if f.state == flowNone {
						n++
					}
				}
			}
			for _, tm := range e.timers.timers {
				for _, pl := range tm.ticket.places() {
					if pl.flow.pool == p && int(pl.flow.class) == k {
						work += pl.work
					}
				}
			}
			c.check(l.waiting == places && l.work == work, "%d places of work %d, counted %d and %d", places, work, l.waiting, l.work)
			waiting += places
		}
		c.check(p.waiting == waiting, "%d places in %s, %d counted", waiting, p.Name, p.waiting)
		c.check(!p.dirty && (p.nextAt > e.now || p.waiting == 0), "pool %s is due", p.Name)
		flows := 0
		for _, pr := range e.projects {
			for k := range p.lanes {
				if pr.flows[p.flowIndex(uint8(k))] != nil {
					flows++
				}
			}
		}
		c.check(flows == n, "%d flows in heaps, %d in projects", n, flows)
	}
}

func (c *checker) flow(f *flow, p *pool, pr *project, class uint8) {
	c.check(f.pool == p && f.project == pr && f.class == class, "a flow of another")
	listed, seq, work := 0, uint64(0), flow{pool: p, ahead: make([]int64, len(p.limits))}
	var prev *place
	for pl := f.first; pl != nil; pl = pl.next {
		c.check(pl.prev == prev && !pl.skipped && pl.flow == f, "a place in the wrong list")
		c.check(pl.ticket.seq >= seq, "places out of order")
		seq = pl.ticket.seq
		prev = pl
		listed++
	}
	c.check(f.last == prev, "the last place is another")
	all := 0
	for _, tm := range c.e.timers.timers {
		for _, pl := range tm.ticket.places() {
			if pl.flow != f {
				continue
			}
			all++
			c.check(!pl.skipped || pl.ticket.absent(), "a place is skipped whose caller is there")
			if pl.skipped {
				listed++
			}
			c.check(pl.only == (len(tm.ticket.places()) == 1), "a place of %d is the only one: %v", len(tm.ticket.places()), pl.only)
			if pl.only && !pl.ticket.absent() {
				work.addAhead(pl, 1)
			}
		}
	}
	c.check(slices.Equal(f.ahead, work.ahead), "a flow charges %v, counted %v", work.ahead, f.ahead)
	c.check(f.count == all && listed == all, "%d places, %d listed, %d counted", all, listed, f.count)
	switch f.state {
	case flowReady:
		was := f.finish
		f.finishAt()
		c.check(f.first != nil && was == f.finish, "a ready flow ends at %d, not %d", f.finish, was)
	case flowParked:
		c.check(f.first != nil, "a parked flow of nobody")
	case flowIdle:
		c.check(f.count == 0, "an idle flow with %d places", f.count)
	default:
		c.check(f.first == nil && f.count > 0, "a flow that is nowhere")
	}
}

func (c *checker) projects() {
	e := c.e
	listed := 0
	var older *project
	for pr := e.oldest; pr != nil; pr = pr.newer {
		c.check(pr.older == older && pr.dynamic && e.projects[pr.name] == pr, "project %s is listed wrongly", pr.name)
		older = pr
		listed++
	}
	c.check(e.newest == older, "the newest project is another")
	for _, pr := range e.projects {
		if !pr.dynamic {
			listed++
		}
		c.check(len(pr.flows) == len(e.pools)*len(e.classes), "project %s has %d flows", pr.name, len(pr.flows))
	}
	c.check(listed == len(e.projects), "%d projects, %d listed", len(e.projects), listed)
}

func (c *checker) processes() {
	e := c.e
	waiting, missing := map[uint64]int{}, 0
	for _, tm := range e.timers.timers {
		t := tm.ticket
		if t.state == ticketWaiting {
			waiting[t.lease.Incarnation]++
			p := e.process(t.lease.Incarnation)
			c.check(t.silent == (p != nil && p.silent), "a waiter of %d is silent: %v", t.lease.Incarnation, t.silent)
		}
	}
	for i := range e.processes {
		p := &e.processes[i]
		c.check(i == 0 || e.processes[i-1].id < p.id, "processes out of order")
		c.check(p.waiting == waiting[p.id], "process %d owns %d waiters, counted %d", p.id, waiting[p.id], p.waiting)
		c.check(!p.missing || e.call.underWay, "no roll call, but %d is missing", p.id)
		c.check(e.nextSilence <= p.next(), "the silence of %d is looked for late", p.id)
		if p.missing {
			missing++
		}
	}
	c.check(e.call.missing == missing, "%d are missing, counted %d", missing, e.call.missing)
}
