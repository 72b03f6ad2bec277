package limiter

import (
	"slices"
	"time"
)

// restore puts a lease back, whatever room there is, or brings it up to date.
func (m *model) restore(s *LeaseState) {
	if t := m.byLease(s.Lease); t != nil {
		m.amend(t, s)
		return
	}
	if len(m.classes) == 0 || s.Project == "" {
		return
	}
	class := slices.IndexFunc(m.classes, func(k ClassSpec) bool { return k.Name == s.Class })
	if class < 0 {
		class = len(m.classes) - 1
	}
	m.seq++
	t := &mTicket{key: s.Key, lease: s.Lease, seq: m.seq, class: class, project: m.restoreProject(s.Project), pool: m.pool(s.Pool),
		shared: true, granted: max(0, m.now.Add(-max(0, s.Age))), ttl: max(s.TTL, time.Millisecond)}
	t.arrived = t.granted
	ended := max(t.granted, m.now.Add(-max(0, s.Ended)))
	switch {
	case s.Settled:
		t.state, t.timer = ticketSettled, m.now.Add(60*time.Second)
	case s.Left <= 0:
		t.state, t.until, t.timer = ticketExpired, ended, max(ended.Add(10*time.Minute), m.now.Add(60*time.Second))
	default:
		t.state, t.until = ticketOpen, m.now.Add(s.Left)
		t.timer = t.until
	}
	variance := int64(0)
	if t.pool != nil {
		if slices.Contains(t.pool.Models, s.Model) {
			t.model = s.Model
		}
		variance = t.pool.moments(t.model).Variance
		t.work = max(1, m.workOf(t.pool, func(l *mLimit) (sum int64) {
			for _, c := range s.Charges {
				if c.Metric == l.Metric && c.Flags&ToPool != 0 {
					sum = max(sum, c.Amount)
				}
			}
			return sum
		}))
	}
	limits := map[*mLimit]ChargeFlags{}
	var order []*mLimit
	add := func(of []*mLimit, flag ChargeFlags) {
		for _, l := range of {
			limits[l] = flag
			order = append(order, l)
		}
	}
	add(t.project.limits, ToOwner)
	if t.pool != nil {
		add(t.pool.limits, ToPool)
	}
	add(m.org, ToOwner)
	for _, l := range order {
		i := slices.IndexFunc(s.Charges, func(c HeldCharge) bool {
			return c.Metric == l.Metric && c.Flags&limits[l] != 0 && c.Amount+c.Refunded > 0
		})
		if i >= 0 {
			m.hold(t, l, &s.Charges[i], ended, variance, s.Unsent)
		}
	}
	m.tickets = append(m.tickets, t)
	w := m.byKey(t.key)
	if w != nil && w.state == ticketWaiting {
		if t.state == ticketOpen && t.pool != nil && m.now <= t.granted+Time(t.pool.StartWithin) {
			m.emit(Event{Kind: Granted, Again: true, Key: t.key, Lease: t.lease, Pool: t.pool.Name, Model: t.model,
				Waited:      max(0, t.granted.Sub(w.arrived)),
				StartWithin: t.pool.StartWithin + t.granted.Sub(w.arrived),
				Left:        t.until.Sub(m.now)})
			m.dismiss(w)
			w = nil
		} else if w.lease == t.lease {
			m.emit(Event{Kind: Lapsed, Key: t.key, Lease: t.lease})
			m.dismiss(w)
			w = nil
		}
	}
	t.named = w == nil && t.state != ticketSettled
}

func (m *model) restoreProject(name string) *mProject {
	i := slices.IndexFunc(m.projects, func(p *mProject) bool { return p.name == name })
	if i < 0 {
		rules := ProjectSpec{Weight: 1}
		if m.config.Template != nil {
			rules = *m.config.Template
		}
		m.newProject(name, rules, true)
		i = len(m.projects) - 1
	}
	pr := m.projects[i]
	pr.lastUsed = m.now
	m.projects = append(slices.Delete(m.projects, i, i+1), pr)
	return pr
}

// hold enters what a lease that is put back holds in a limit, as late as it may have been
// charged.
func (m *model) hold(t *mTicket, l *mLimit, c *HeldCharge, ended Time, variance int64, unsent bool) {
	h := &mHold{limit: l, amount: c.Amount, seen: c.Seen, flags: c.Flags, variance: variance}
	enter := func(at Time, amount int64) *mCharge {
		if amount <= 0 {
			return &mCharge{}
		}
		return m.charge(l, at, amount)
	}
	switch {
	case l.Shape == Stock:
		h.freed = t.state != ticketOpen
	case t.state == ticketSettled:
		h.seen = c.Amount
		at := t.granted
		if c.Late || h.reserves() {
			at = ended
		}
		if l.Shape != TokenBucket || c.Refunded == 0 {
			h.charge = enter(at, c.Amount)
			break
		}
		// All was charged, and what was not used is given back like any refund.
		h.charge = enter(at, c.Amount+c.Refunded)
		cost := m.share(c.Refunded, int64(l.Window), l.effective, false)
		switch i := slices.IndexFunc(l.credits, func(g *mGroup) bool { return g.last >= ended }); {
		case unsent:
			l.missing -= max(0, cost-int64(ended-at))
		case ended.Add(l.Jitter) < m.now:
			l.missing -= cost
		case i >= 0:
			l.credits[i].amount += cost
		default:
			l.credit(ended, cost)
		}
	case t.state == ticketExpired && h.reserves():
		h.charge = enter(ended, max(h.amount, h.seen))
	case t.state == ticketExpired:
		h.charge = enter(t.granted, h.amount)
		enter(ended, h.seen-h.amount)
	case h.reserves():
		m.pace(l, h.amount-min(h.seen, h.amount))
		h.charge = enter(m.now, h.seen)
	default:
		h.charge = enter(t.granted, h.amount)
		enter(m.now, h.seen-h.amount)
	}
	t.holds = append(t.holds, h)
}

// amend brings a lease that is known up to what somebody else knows of it.
func (m *model) amend(t *mTicket, s *LeaseState) {
	var used, seen []Charge
	for _, c := range s.Charges {
		used = append(used, c.Charge)
		seen = append(seen, Charge{c.Metric, c.Flags, c.Seen})
	}
	until := t.granted + Time(max(0, s.Age)+max(0, s.Left))
	switch {
	case t.state == ticketSettled:
	case s.Settled && s.Unsent:
		m.see(t, used)
		m.seeLate(t, used)
		m.settle(t, Unsent, nil)
	case s.Settled:
		m.settle(t, Used, used)
	default:
		m.see(t, seen)
		m.seeLate(t, seen)
		switch {
		case s.Left <= 0 || until <= t.until:
		case t.state == ticketOpen:
			t.until, t.timer = until, until
		case until > m.now:
			m.reopen(t)
			t.until, t.timer = until, until
		}
	}
}

// reopen takes back that a lease has expired.
func (m *model) reopen(t *mTicket) {
	t.state = ticketOpen
	ended := min(m.now, t.timer-Time(10*time.Minute))
	for _, h := range t.holds {
		switch {
		case h.limit.dead:
		case h.limit.Shape == Stock:
			h.freed = false
		case h.reserves():
			left := h.amount - min(h.seen, h.amount)
			switch l := h.limit; l.Shape {
			case SlidingWindow:
				if slices.Contains(l.charges, h.charge) {
					h.charge.amount -= left
				}
			case TokenBucket:
				l.missing -= max(0, m.share(left, int64(l.Window), l.effective, false)-int64(m.now-ended))
			case Calendar:
				if left > 0 {
					l.refundPeriod(ended, h, m.now, left)
				}
			}
			m.pace(h.limit, left)
		}
	}
}

// seeLate books what a call had used whose lease has expired meanwhile.
func (m *model) seeLate(t *mTicket, actual []Charge) {
	if t.state != ticketExpired {
		return
	}
	for _, h := range t.holds {
		used, ok := h.told(actual)
		if !ok || h.limit.dead || h.limit.Shape == Stock || used <= h.seen {
			continue
		}
		if excess := used - max(h.amount, h.seen); excess > 0 {
			m.charge(h.limit, m.now, excess)
			m.pace(h.limit, excess)
			t.timer = m.now.Add(10 * time.Minute)
		}
		h.seen = used
	}
}
