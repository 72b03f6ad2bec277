package limiter

import (
	"fmt"
	"slices"
	"time"
)

func (m *model) emit(ev Event) { m.events = append(m.events, ev) }

// apply does what Engine.Apply does. retry is what the engine answered as RetryAfter.
func (m *model) apply(c Command, now Time, retry time.Duration) []Event {
	m.now, m.events, m.retry, m.fault = max(m.now, now), nil, retry, nil
	m.forgetCharges()
	m.listen()
	if l, ok := c.(*Loss); ok {
		m.lose(l)
	}
	m.answered()
	for t := m.due(); t != nil; t = m.due() {
		switch t.state {
		case ticketWaiting:
			ev := Event{Kind: Refused, Reason: WaitTooLong, Key: t.key, Lease: t.lease}
			if m.absent(t) {
				ev = Event{Kind: Lapsed, Key: t.key, Lease: t.lease}
			}
			m.emit(ev)
			m.dismiss(t)
		case ticketOpen:
			m.expire(t)
		default:
			m.forget(t)
		}
	}
	m.pumpAll()
	switch c := c.(type) {
	case *Acquire:
		m.acquire(c)
	case *Release:
		m.closeGates(c.Gates)
		m.release(c)
	case *Report:
		m.closeGates(c.Gates)
		m.report(c)
	case *Renew:
		m.renew(c)
	case *Cancel:
		m.cancel(c)
	case *Configure:
		m.configure(c)
	case *Restore:
		for i := range c.Leases {
			m.restore(&c.Leases[i])
		}
		for _, p := range m.pools {
			p.look = true
		}
	case *Join:
		m.join(c)
	case *Upgrade:
		m.behaviour = max(m.behaviour, c.Behaviour)
	}
	m.answered()
	m.pumpAll()
	return m.events
}

func (m *model) allLimits() (all []*mLimit) {
	all = append(all, m.org...)
	for _, p := range m.pools {
		all = append(all, p.limits...)
	}
	for _, pr := range m.projects {
		all = append(all, pr.limits...)
	}
	return all
}

func (m *model) forgetCharges() {
	for _, l := range m.allLimits() {
		l.forgetCharges(m.now)
	}
}

// due gives the ticket whose time comes first, if it has come.
func (m *model) due() (first *mTicket) {
	for _, t := range m.tickets {
		if t.timer <= m.now && (first == nil || t.timer < first.timer) {
			first = t
		}
	}
	return first
}

// nextAt gives the time at which something happens by itself.
func (m *model) nextAt() Time {
	at := m.nextOfProcesses()
	for _, t := range m.tickets {
		at = min(at, t.timer)
	}
	for _, p := range m.pools {
		at = min(at, p.nextAt)
	}
	return at
}

func (m *model) forget(t *mTicket) {
	m.tickets = slices.DeleteFunc(m.tickets, func(o *mTicket) bool { return o == t })
}

func (m *model) dismiss(t *mTicket) {
	m.leave(t)
	m.forget(t)
	t.state = ticketFree
}

func (m *model) byKey(k Key) *mTicket {
	for _, t := range m.tickets {
		if t.named && t.key == k {
			return t
		}
	}
	return nil
}

func (m *model) byLease(id LeaseID) *mTicket {
	for _, t := range m.tickets {
		if t.state != ticketWaiting && t.lease == id {
			return t
		}
	}
	return nil
}

func (m *model) acquire(c *Acquire) {
	if t := m.byKey(c.Key); t != nil {
		t.shared = t.shared || t.lease.Incarnation != c.Lease.Incarnation
		switch {
		case t.state == ticketWaiting:
			m.back(t, c)
			if t.state == ticketWaiting {
				m.fault = m.bound(t, m.retry)
				m.emit(Event{Kind: Queued, Key: t.key, Lease: t.lease})
			}
			return
		case t.state == ticketOpen && t.pool != nil && m.now <= t.granted+Time(t.pool.StartWithin):
			t.shared = true
			m.emit(Event{Kind: Granted, Again: true, Key: t.key, Lease: t.lease, Pool: t.pool.Name, Model: t.model,
				Waited:      max(0, t.granted.Sub(t.arrived)),
				StartWithin: t.pool.StartWithin + t.granted.Sub(min(c.Arrived, m.now)),
				Left:        t.until.Sub(m.now)})
			return
		}
		t.named = false
	}
	if m.byLease(c.Lease) != nil {
		return
	}
	refuse := func(r Reason) {
		m.emit(Event{Kind: Refused, Reason: r, Key: c.Key, Lease: c.Lease, RetryAfter: -1})
	}
	class := slices.IndexFunc(m.classes, func(k ClassSpec) bool { return k.Name == c.Class })
	if class < 0 {
		refuse(UnknownClass)
		return
	}
	pr, reason := m.project(c.Project)
	if pr == nil {
		refuse(reason)
		return
	}
	m.seq++
	t := &mTicket{key: c.Key, lease: c.Lease, seq: m.seq, state: ticketWaiting, class: class, project: pr, named: true,
		arrived: min(c.Arrived, m.now), until: m.now.Add(max(0, c.MaxWait)), ttl: max(c.TTL, time.Millisecond), timer: Never}
	m.tickets = append(m.tickets, t)
	known := false
	for _, tg := range m.order(c.Targets) {
		p := m.pool(tg.Pool)
		if p == nil || !slices.Contains(p.Models, tg.Model) {
			continue
		}
		known = true
		if !m.place(t, p, tg) {
			continue
		}
		line := m.line(p, m.flow(p, pr, class, false), false)
		if line[0].ticket == t && len(t.places) > 0 && line[0] == t.places[len(t.places)-1] || p.look || p.nextAt <= m.now {
			m.pump(p)
		}
		if t.state != ticketWaiting {
			return
		}
	}
	if len(t.places) == 0 {
		m.dismiss(t)
		if known {
			refuse(TooLarge)
		} else {
			refuse(NoTarget)
		}
		return
	}
	if m.call.underWay && c.MaxWait <= 0 {
		if m.retry < m.call.until.Sub(m.now) {
			m.fault = fmt.Errorf("RetryAfter is %v, before the roll call ends", m.retry)
		}
		refuse(WaitTooLong)
		m.dismiss(t)
		return
	}
	m.fault = m.bound(t, m.retry)
	gate := m.gated(t)
	waiting, mates := 0, 0
	for _, o := range m.tickets {
		if o.state == ticketWaiting {
			waiting++
			if o.class == class {
				mates++
			}
		}
	}
	ev := Event{Kind: Refused, Key: t.key, Lease: t.lease, RetryAfter: m.retry}
	switch k := m.classes[class]; {
	case gate != NoReason && m.retry > c.MaxWait:
		ev.Reason = gate
	case m.retry > c.MaxWait || c.MaxWait <= 0:
		ev.Reason = WaitTooLong
	case m.config.MaxWaiting > 0 && waiting > m.config.MaxWaiting || k.MaxWaiting > 0 && mates > k.MaxWaiting:
		ev.Reason = QueueFull
	default:
		ev.Kind = Queued
		t.timer = t.until
	}
	m.emit(ev)
	if ev.Kind == Refused {
		m.dismiss(t)
	}
}

// gated says whether every place of a waiter is behind a gate, and of which kind.
func (m *model) gated(t *mTicket) Reason {
	reason := Gated
	for _, pl := range t.places {
		s := m.judge(pl)
		if !s.gated {
			return NoReason
		}
		if s.blocked {
			reason = ProviderBlocked
		}
	}
	return reason
}

// place lets a ticket stand in a pool, unless it never fits there.
func (m *model) place(t *mTicket, p *mPool, tg Target) bool {
	pl := &mPlace{ticket: t, pool: p, model: tg.Model, charges: slices.Clone(tg.Charges)}
	moments := p.moments(tg.Model)
	for i := range pl.charges {
		if c := &pl.charges[i]; c.Flags&Pooled != 0 {
			if c.Flags&OnCompletion != 0 && moments.Mean > 0 {
				c.Amount = min(c.Amount, moments.Mean)
				pl.variance = moments.Variance
			} else {
				c.Flags &^= Pooled
			}
		}
	}
	for _, x := range m.touched(p, t.project, pl.charges, 0) {
		alone := x.charge.Amount
		if x.charge.Flags&Pooled != 0 && x.limit.Shape != Stock {
			alone = m.pooled(alone, pl.variance)
		}
		if m.cost(x.limit, alone) > x.limit.capacity {
			return false
		}
	}
	pl.work = m.workOf(p, func(l *mLimit) (sum int64) {
		for _, c := range pl.charges {
			if c.Metric == l.Metric && c.Flags&ToPool != 0 {
				sum = max(sum, c.Amount)
			}
		}
		return sum
	})
	pl.work = max(1, pl.work)
	t.places = append(t.places, pl)
	if f := m.flow(p, t.project, t.class, true); !f.parked {
		m.ready(p, f)
	}
	return true
}

func (p *mPool) moments(model string) Moments {
	for i := range p.Outputs {
		if i < len(p.Models) && p.Models[i] == model {
			return p.Outputs[i]
		}
	}
	return Moments{}
}

// workOf is the most time that any rate limit of a pool takes for the amounts.
func (m *model) workOf(p *mPool, amount func(*mLimit) int64) int64 {
	var rate, other int64
	for _, l := range p.limits {
		if w := m.work(l, amount(l)); l.Shape == SlidingWindow || l.Shape == TokenBucket {
			rate = max(rate, w)
		} else {
			other = max(other, w)
		}
	}
	if rate == 0 {
		return other
	}
	return rate
}

// order sorts targets by rank, equals by use, and puts in front those whose betters are
// used far enough.
func (m *model) order(targets []Target) (order []Target) {
	type tried struct {
		Target
		used int64
	}
	var all []tried
	for i, tg := range targets {
		if i == 16 {
			break
		}
		t := tried{tg, 1000}
		if p := m.pool(tg.Pool); p != nil {
			t.used = 0
			for _, g := range p.gates {
				if g.opens > m.now {
					t.used = 1000
				}
			}
			for _, l := range p.limits {
				t.used = max(t.used, m.share(m.used(l, m.now), 1000, l.capacity, false))
			}
		}
		all = append(all, t)
	}
	slices.SortStableFunc(all, func(a, b tried) int {
		if a.Rank != b.Rank {
			return int(a.Rank) - int(b.Rank)
		}
		return int(a.used - b.used)
	})
	var back []Target
	for _, t := range all {
		better, below := 0, 0
		for _, o := range all {
			if o.Rank < t.Rank {
				better++
				if o.used < int64(t.Above) {
					below++
				}
			}
		}
		if t.Above > 0 && better > 0 && below == 0 {
			order = append(order, t.Target)
		} else {
			back = append(back, t.Target)
		}
	}
	return append(order, back...)
}

func (m *model) pool(name string) *mPool {
	for _, p := range m.pools {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// back tells that a caller asks again.
func (m *model) back(t *mTicket, c *Acquire) {
	was := m.absent(t)
	t.lease, t.arrived, t.away, t.timer = c.Lease, min(c.Arrived, m.now), false, t.until
	switch is := m.absent(t); {
	case was && !is:
		m.returned(t)
		m.pumpAll()
	case is && !was:
		m.left(t)
	}
}

// returned gives a waiter that was absent its place back.
func (m *model) returned(t *mTicket) {
	for _, pl := range t.places {
		f := m.flow(pl.pool, t.project, t.class, false)
		was := pl.skipped
		pl.skipped = false
		if m.line(pl.pool, f, false)[0] == pl {
			pl.pool.look = true
			if was {
				m.ready(pl.pool, f)
			}
		}
	}
}

// left lets others look who stood behind a waiter.
func (m *model) left(t *mTicket) {
	for _, pl := range t.places {
		line := m.line(pl.pool, m.flow(pl.pool, t.project, t.class, false), false)
		pl.pool.look = pl.pool.look || len(line) > 0 && line[0] == pl
	}
}

func (m *model) cancel(c *Cancel) {
	t := m.byKey(c.Key)
	switch {
	case t == nil || t.lease != c.Lease || m.sender != 0 && m.sender != c.Lease.Incarnation:
	case t.state == ticketWaiting && c.Departure == Gone:
		m.dismiss(t)
	case t.state == ticketWaiting && !t.away:
		if !m.absent(t) {
			m.left(t)
		}
		t.away, t.timer = true, min(t.until, m.now.Add(10*time.Second))
	case t.state == ticketOpen && c.Departure == Gone && !t.shared:
		m.settle(t, Unsent, nil)
	}
}
