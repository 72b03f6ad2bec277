package limiter

import (
	"slices"
	"time"
)

// grant makes a lease of a waiter.
func (m *model) grant(pl *mPlace) {
	t, p := pl.ticket, pl.pool
	f := m.flow(p, t.project, t.class, false)
	if m.byLease(t.lease) != nil { // a name is used once
		m.emit(Event{Kind: Refused, Reason: NoTarget, Key: t.key, Lease: t.lease, RetryAfter: -1})
		m.dismiss(t)
		return
	}
	for _, x := range m.touched(p, t.project, pl.charges, pl.variance) {
		h := &mHold{limit: x.limit, amount: x.charge.Amount, flags: x.charge.Flags, variance: pl.variance}
		m.pace(x.limit, h.amount)
		if !h.reserves() {
			h.charge = m.charge(x.limit, m.now, h.amount)
		}
		t.holds = append(t.holds, h)
	}
	kept := p.gates[:0]
	for _, g := range p.gates {
		if g.concerns(pl.charges) {
			risen := min(int64(m.now-g.opens), int64(10*time.Second))
			rate := 100 + m.share(900, risen, int64(10*time.Second), false)
			g.clear = max(g.clear, m.now) + Time(m.share(pl.work, 1000, rate, false))
		}
		if m.now < g.opens.Add(10*time.Second) {
			kept = append(kept, g)
		}
	}
	p.gates = kept
	p.served = max(p.served, p.virtual[t.class])
	p.virtual[t.class] = min(1<<60, p.virtual[t.class]+m.weigh(pl.work, int64(m.classes[t.class].Weight)))
	p.begun[t.class] = max(p.begun[t.class], f.tag)
	f.tag = min(1<<60, f.tag+m.weigh(pl.work, t.project.weight))
	m.leave(t)
	p.flows = slices.DeleteFunc(p.flows, func(f *mFlow) bool {
		return f.class == t.class && len(m.line(p, f, true)) == 0 && f.tag <= p.begun[f.class]
	})
	t.state, t.away = ticketOpen, false
	t.pool, t.model, t.work, t.granted = p, pl.model, pl.work, m.now
	t.until = m.now.Add(t.ttl)
	t.timer = t.until
	waited := m.now.Sub(t.arrived)
	m.emit(Event{Kind: Granted, Key: t.key, Lease: t.lease, Pool: p.Name, Model: t.model,
		Waited: waited, StartWithin: waited + p.StartWithin, Left: t.ttl})
}

// reserves says whether a hold is counted only when it is produced.
func (h *mHold) reserves() bool { return h.flags&OnCompletion != 0 && h.limit.Shape != Stock }

// since says when the output began that is told now.
func (h *mHold) since(t *mTicket, now Time) Time {
	if h.seen == 0 && h.flags&Pooled != 0 {
		return t.granted
	}
	return now
}

func (m *model) renew(c *Renew) {
	for _, id := range c.Leases {
		t := m.byLease(id)
		if t == nil || t.state != ticketOpen {
			m.emit(Event{Kind: NotFound, Lease: id})
			continue
		}
		t.until = m.now.Add(t.ttl)
		t.timer = t.until
		m.emit(Event{Kind: Renewed, Key: t.key, Lease: id, Left: t.ttl})
	}
}

func (m *model) closeGates(gates []Gate) {
	for _, g := range gates {
		p := m.pool(g.Pool)
		if p == nil {
			continue
		}
		p.look = true
		opens := m.now.Add(min(max(0, g.For), 400*24*time.Hour))
		i := slices.IndexFunc(p.gates, func(o mGate) bool { return o.All == g.All && (g.All || o.Metric == g.Metric) })
		switch {
		case i < 0:
			p.gates = append(p.gates, mGate{Gate: g, opens: opens})
		case opens > p.gates[i].opens:
			p.gates[i] = mGate{Gate: g, opens: opens}
		}
	}
}

// told gives what was reported of a hold's metric and scope.
func (h *mHold) told(actual []Charge) (int64, bool) {
	flag := ToOwner
	if h.limit.scope == ScopePool {
		flag = ToPool
	}
	for _, c := range actual {
		if c.Metric == h.limit.Metric && c.Flags&flag != 0 {
			return min(max(0, c.Amount), 1<<50), true
		}
	}
	return 0, false
}

func (m *model) report(c *Report) {
	ev := Event{Kind: Reported, Lease: c.Lease}
	if t := m.byLease(c.Lease); t == nil && c.Lease != (LeaseID{}) {
		ev.Kind = NotFound
	} else if t != nil && t.state == ticketOpen {
		m.see(t, c.Actual)
	}
	m.emit(ev)
}

// see books what a running call has used so far.
func (m *model) see(t *mTicket, actual []Charge) {
	if t.state != ticketOpen {
		return
	}
	for _, h := range t.holds {
		used, ok := h.told(actual)
		if !ok || h.limit.dead || h.limit.Shape == Stock || used <= h.seen {
			continue
		}
		excess := max(0, used-max(h.amount, h.seen))
		if h.reserves() {
			h.charge = m.produce(h.limit, h.since(t, m.now), used-h.seen)
			m.freed(h.limit, t.project)
		} else if excess > 0 {
			m.charge(h.limit, m.now, excess)
		}
		if excess > 0 {
			m.pace(h.limit, excess)
		}
		h.seen = used
	}
}

func (m *model) modelOf(t *mTicket) string {
	if t.pool == nil {
		return ""
	}
	return t.model
}

func (m *model) poolOf(t *mTicket) string {
	if t.pool == nil {
		return ""
	}
	return t.pool.Name
}

func (m *model) release(c *Release) {
	t := m.byLease(c.Lease)
	if t == nil {
		m.emit(Event{Kind: NotFound, Lease: c.Lease})
		return
	}
	ev := Event{Kind: Settled, Late: t.state != ticketOpen, Key: t.key, Lease: t.lease, Pool: m.poolOf(t), Model: m.modelOf(t)}
	if t.state != ticketSettled {
		ev.Refunds, ev.Debts = m.settle(t, c.Outcome, c.Actual)
	}
	m.emit(ev)
}

// settle ends a lease with what it has used.
func (m *model) settle(t *mTicket, o Outcome, actual []Charge) (refunds, debts uint8) {
	for _, h := range t.holds {
		l := h.limit
		if l.dead {
			continue
		}
		if l.Shape == Stock {
			if !h.freed {
				h.freed = true
				m.freed(l, t.project)
			}
			continue
		}
		told, known := h.told(actual)
		used := max(told, h.seen)
		switch {
		case o == Unsent:
			used = h.seen // what was seen was sent
		case o == Unknown || !known || h.flags&(Refundable|OnCompletion) == 0:
			used = max(used, h.amount)
		}
		was := max(h.amount, h.seen)
		switch {
		case h.reserves() && t.state == ticketOpen:
			if used > h.seen {
				m.produce(l, h.since(t, m.now), used-h.seen)
			}
			if used > was {
				m.pace(l, used-was)
			}
			if used < h.amount && l.paced() {
				l.pacedOut -= Time(m.paceCost(l, h.amount-used))
			}
			m.freed(l, t.project)
		case used > was:
			m.charge(l, m.now, used-was)
			m.pace(l, used-was)
		case used < was:
			m.refund(t, h, was-used, o == Unsent)
		}
		switch {
		case used < was:
			refunds++
		case used > was:
			debts++
		}
		h.amount, h.seen = used, used
	}
	m.settleWork(t)
	t.state = ticketSettled
	t.timer = m.now.Add(60 * time.Second)
	return refunds, debts
}

// refund gives back to where it is held what was not used, and nowhere if that is over.
func (m *model) refund(t *mTicket, h *mHold, amount int64, unsent bool) {
	l := h.limit
	switch l.Shape {
	case SlidingWindow:
		if !slices.Contains(l.charges, h.charge) {
			return
		}
		h.charge.amount -= amount
		if l.paced() {
			l.pacedOut -= Time(m.paceCost(l, amount))
		}
	case TokenBucket:
		cost := m.share(amount, int64(l.Window), l.effective, false)
		if unsent {
			l.missing -= max(0, cost-int64(m.now-t.granted))
		} else {
			l.credit(m.now, cost)
		}
	case Calendar:
		if !l.refundPeriod(t.granted, h, m.now, amount) {
			return
		}
	}
	m.freed(l, t.project)
}

// credit gives a bucket something back, when it is due.
func (l *mLimit) credit(at Time, cost int64) {
	if n := len(l.credits); n > 0 && at.Sub(l.credits[n-1].first) < l.Jitter/8 {
		l.credits[n-1].amount += cost
		l.credits[n-1].last = max(l.credits[n-1].last, at)
		return
	}
	l.credits = append(l.credits, &mGroup{at, at, cost})
}

// refundPeriod takes amount out of the periods that hold a charge, if any does.
func (l *mLimit) refundPeriod(granted Time, h *mHold, now Time, amount int64) bool {
	begins, ends := l.period(now)
	before, _ := l.period(begins - 1)
	c, spills := h.charge, granted.Add(l.Jitter) >= begins
	if c.begins != begins && (c.begins != before || !spills) {
		return false
	}
	if !slices.Contains(l.charges, c) { // the periods were others when it was charged
		if len(l.charges) == 0 || !l.charges[0].sum {
			return false
		}
		c = l.charges[0]
	}
	if c.at >= begins {
		c.amount -= min(amount, c.amount)
	}
	if c.at < begins || granted.Add(l.Jitter) >= ends {
		c.edge -= min(amount, c.edge)
	}
	return true
}

// freed lets those look again who may have waited for a limit.
func (m *model) freed(l *mLimit, pr *mProject) {
	for _, p := range m.pools {
		switch l.scope {
		case ScopePool:
			p.look = p.look || p.Name == l.owner
		case ScopeOrganization:
			p.look = p.look || slices.ContainsFunc(m.tickets, func(t *mTicket) bool {
				return slices.ContainsFunc(t.places, func(pl *mPlace) bool { return pl.pool == p })
			})
		default:
			for c := range m.classes {
				if f := m.flow(p, pr, c, false); f != nil && f.parked {
					m.ready(p, f)
					p.look = true
				}
			}
		}
	}
}

// settleWork lets the project pay for what it used and not for what it asked for.
func (m *model) settleWork(t *mTicket) {
	if t.pool == nil {
		return
	}
	p := t.pool
	work := m.workOf(p, func(l *mLimit) (sum int64) {
		for _, h := range t.holds {
			if h.limit == l && !l.dead {
				sum = h.amount
			}
		}
		return sum
	})
	delta := work - t.work
	by := m.share(max(delta, -delta), 256, t.project.weight, false)
	top := m.top(p, t.class)
	f := m.flow(p, t.project, t.class, false)
	switch {
	case f != nil && delta < 0:
		f.tag -= by
	case f != nil:
		f.tag = min(1<<60, f.tag+by)
	case delta > 0 && by > 0:
		f = m.flow(p, t.project, t.class, true)
		f.tag = min(1<<60, p.begun[t.class]+by)
	}
	p.look = p.look || m.top(p, t.class) != top
}

// expire frees the stocks of a lease; what it may have produced counts as produced.
func (m *model) expire(t *mTicket) {
	for _, h := range t.holds {
		switch {
		case h.limit.dead:
		case h.limit.Shape == Stock:
			if !h.freed {
				h.freed = true
				m.freed(h.limit, t.project)
			}
		case h.reserves():
			if h.amount > h.seen {
				h.charge = m.charge(h.limit, m.now, h.amount-h.seen)
			}
			m.freed(h.limit, t.project)
		}
	}
	m.emit(Event{Kind: Expired, Key: t.key, Lease: t.lease, Pool: m.poolOf(t), Model: m.modelOf(t)})
	t.state = ticketExpired
	t.timer = m.now.Add(10 * time.Minute)
}
