package limiter

import (
	"slices"
	"time"
)

// An mPool is one pool's queue. Its waiters are found among all tickets.
type mPool struct {
	PoolSpec
	limits  []*mLimit
	gates   []mGate
	virtual []int64 // by class
	begun   []int64 // by class: the tag at which the latest grant began
	served  int64   // the virtual time at which the latest grant began
	flows   []*mFlow
	look    bool // something has changed
	nextAt  Time
}

type mGate struct {
	Gate
	opens, clear Time
}

// An mFlow is one project in one class of one pool.
type mFlow struct {
	project *mProject
	class   int
	tag     int64
	ready   bool
	parked  bool
	wake    Time
}

type mProject struct {
	id       uint64
	name     string
	weight   int64
	dynamic  bool
	limits   []*mLimit
	lastUsed Time
}

type mTicket struct {
	key      Key
	lease    LeaseID
	seq      uint64
	state    ticketState
	class    int
	project  *mProject
	away     bool
	shared   bool
	named    bool // known by its key
	arrived  Time
	until    Time
	timer    Time
	ttl      time.Duration
	places   []*mPlace
	granted  Time
	pool     *mPool
	model    string
	work     int64
	holds    []*mHold
	overtake bool // somebody before it has left, or the rules have changed
}

type mPlace struct {
	ticket   *mTicket
	pool     *mPool
	skipped  bool
	model    string
	charges  []Charge
	variance int64
	work     int64
}

type mHold struct {
	limit    *mLimit
	amount   int64
	seen     int64
	variance int64
	flags    ChargeFlags
	charge   *mCharge // the one that a refund goes to
	freed    bool     // a stock
}

// line lists the places of a flow in the order of arrival, skipped ones only if asked for.
func (m *model) line(p *mPool, f *mFlow, skipped bool) (line []*mPlace) {
	for _, t := range m.tickets {
		if t.state != ticketWaiting || t.project != f.project || t.class != f.class {
			continue
		}
		for _, pl := range t.places {
			if pl.pool == p && (skipped || !pl.skipped) {
				line = append(line, pl)
			}
		}
	}
	return line
}

func (m *model) flow(p *mPool, pr *mProject, class int, make bool) *mFlow {
	for _, f := range p.flows {
		if f.project == pr && f.class == class {
			return f
		}
	}
	if !make {
		return nil
	}
	f := &mFlow{project: pr, class: class}
	p.flows = append(p.flows, f)
	return f
}

func (p *mPool) active(class int) bool {
	return slices.ContainsFunc(p.flows, func(f *mFlow) bool { return f.ready && f.class == class })
}

// ready puts a flow where it is served; a lane that was idle starts where the others are.
func (m *model) ready(p *mPool, f *mFlow) {
	if f.ready {
		return
	}
	if !p.active(f.class) {
		floor, found := p.served, false
		for c := range m.classes {
			if c != f.class && p.active(c) && (!found || p.virtual[c] < floor) {
				floor, found = p.virtual[c], true
			}
		}
		p.virtual[f.class] = max(p.virtual[f.class], floor)
	}
	f.tag = max(f.tag, p.begun[f.class])
	f.ready, f.parked = true, false
}

// rest ends a flow nobody stands in; its tag is remembered only while it is ahead.
func (m *model) rest(p *mPool, f *mFlow) {
	f.ready, f.parked = false, false
	if len(m.line(p, f, true)) == 0 && f.tag <= p.begun[f.class] {
		p.flows = slices.DeleteFunc(p.flows, func(o *mFlow) bool { return o == f })
	}
}

// leave takes a ticket out of all its pools.
func (m *model) leave(t *mTicket) {
	for len(t.places) > 0 {
		pl := t.places[0]
		p, f := pl.pool, m.flow(pl.pool, t.project, t.class, false)
		line := m.line(p, f, false)
		head := len(line) > 0 && line[0] == pl
		p.look = p.look || head
		for _, o := range m.line(p, f, true) {
			o.ticket.overtake = o.ticket.overtake || o.ticket.seq > t.seq
		}
		t.places = t.places[1:]
		switch {
		case len(m.line(p, f, false)) == 0:
			m.rest(p, f)
		case head && f.parked:
			m.ready(p, f)
		}
	}
}

// weigh is what work adds to a tag or a virtual time.
func (m *model) weigh(work, weight int64) int64 { return max(1, m.share(work, 256, weight, false)) }

// pumpAll looks at every pool in which something may have changed, until nothing does.
func (m *model) pumpAll() {
	for again := true; again; {
		again = false
		for _, p := range m.pools {
			if p.look || p.nextAt <= m.now {
				again = true
				m.pump(p)
			}
		}
	}
}

func (m *model) pump(p *mPool) {
	p.look = false
	if m.call.underWay {
		p.nextAt = Never
		return
	}
	for m.pass(p) {
	}
}

func (m *model) pass(p *mPool) bool {
	p.nextAt = Never
	if !slices.ContainsFunc(m.tickets, func(t *mTicket) bool {
		return slices.ContainsFunc(t.places, func(pl *mPlace) bool { return pl.pool == p })
	}) {
		return false
	}
	for {
		var next *mFlow
		for _, f := range p.flows {
			if f.parked && f.wake <= m.now && (next == nil || f.wake < next.wake || f.wake == next.wake &&
				(f.project.id < next.project.id || f.project.id == next.project.id && f.class < next.class)) {
				next = f
			}
		}
		if next == nil {
			break
		}
		m.ready(p, next)
	}
	var stopped []*mPlace
	tried := make([]bool, len(m.classes))
	for len(stopped) <= 2 { // at most two are passed
		class := -1
		for c := range m.classes {
			if !tried[c] && p.active(c) && (class < 0 || p.virtual[c] < p.virtual[class]) {
				class = c
			}
		}
		if class < 0 {
			break
		}
		tried[class] = true
		pl, at := m.serve(p, class, stopped)
		if pl != nil && at <= m.now {
			m.grant(pl)
			return true
		}
		if pl != nil {
			stopped = append(stopped, pl)
			p.nextAt = min(p.nextAt, at)
		}
	}
	for _, f := range p.flows {
		if f.parked {
			p.nextAt = min(p.nextAt, f.wake)
		}
	}
	return false
}

// top is the flow of a lane whose head would end first; nil if nobody is there.
func (m *model) top(p *mPool, class int) (top *mFlow) {
	var first int64
	for _, f := range p.flows {
		if !f.ready || f.class != class {
			continue
		}
		finish := min(1<<60, f.tag+m.weigh(m.line(p, f, false)[0].work, f.project.weight))
		if top == nil || finish < first || finish == first && f.project.id < top.project.id {
			top, first = f, finish
		}
	}
	return top
}

// serve finds the head of a lane and the time at which it may go.
func (m *model) serve(p *mPool, class int, stopped []*mPlace) (*mPlace, Time) {
	for p.active(class) {
		f := m.top(p, class)
		line := m.line(p, f, false)
		for len(line) > 0 && m.absent(line[0].ticket) {
			line[0].skipped = true
			line = line[1:]
		}
		if len(line) == 0 {
			m.rest(p, f)
			continue
		}
		pl := line[0]
		s := m.judge(pl)
		if s.own {
			f.ready, f.parked, f.wake = false, true, s.ownAt
			continue
		}
		if s.at <= m.now && len(stopped) > 0 {
			s.at = m.guard(pl, stopped)
		}
		return pl, s.at
	}
	return nil, 0
}

type mTouch struct {
	limit  *mLimit
	charge Charge
	own    bool
	amount int64 // by which it fills the limit
}

// touched lists the limits that a call touches.
func (m *model) touched(p *mPool, pr *mProject, charges []Charge, variance int64) (ts []mTouch) {
	for i, limits := range [][]*mLimit{pr.limits, p.limits, m.org} {
		flag := ToOwner
		if i == 1 {
			flag = ToPool
		}
		for _, l := range limits {
			for _, c := range charges {
				if c.Metric == l.Metric && c.Flags&flag != 0 && c.Amount > 0 {
					ts = append(ts, mTouch{l, c, i == 0, m.fill(l, c, variance)})
					break
				}
			}
		}
	}
	return ts
}

type mStop struct {
	at, ownAt           Time // ≤ now: nothing stops it
	own, gated, blocked bool
}

func (g *mGate) concerns(charges []Charge) bool {
	return g.All || slices.ContainsFunc(charges, func(c Charge) bool { return c.Metric == g.Metric && c.Flags&ToPool != 0 })
}

// passable gives the time from which a gate lets calls through: when it is open and what
// went before has been let through at the ramp's rate, and always after the ramp.
func (g *mGate) passable() Time { return min(max(g.opens, g.clear), g.opens.Add(10*time.Second)) }

func (m *model) judge(pl *mPlace) (s mStop) {
	t := pl.ticket
	for _, g := range pl.pool.gates {
		if at := g.passable(); g.concerns(pl.charges) && at > m.now {
			s.at, s.gated, s.blocked = max(s.at, at), true, s.blocked || g.Blocked
		}
	}
	for _, x := range m.touched(pl.pool, t.project, pl.charges, pl.variance) {
		cost := m.cost(x.limit, x.amount)
		at := m.fits(x.limit, cost, x.limit.room(t.class, cost))
		if m.classes[t.class].Paced && x.limit.paced() && !m.overdue(pl) {
			at = max(at, m.paceFits(x.limit, x.amount, 0))
		}
		if at > m.now {
			s.at = max(s.at, at)
			if x.own {
				s.own, s.ownAt = true, max(s.ownAt, at)
			}
		}
	}
	return s
}

// overdue says whether a waiting class that is not paced owes a call its whole work.
func (m *model) overdue(pl *mPlace) bool {
	own := pl.ticket.class
	for c := range m.classes {
		ahead := max(0, pl.pool.virtual[c]-pl.pool.virtual[own])
		if !m.classes[c].Paced && pl.pool.active(c) && ahead > 0 &&
			m.share(ahead, int64(m.classes[own].Weight), 256, false) >= pl.work {
			return true
		}
	}
	return false
}

// guard says when a call that has room may pass the stopped heads.
func (m *model) guard(pl *mPlace, stopped []*mPlace) (at Time) {
	t, p := pl.ticket, pl.pool
	for _, x := range m.touched(p, t.project, pl.charges, pl.variance) {
		if x.own {
			continue
		}
		l := x.limit
		cost, used := m.cost(l, x.amount), m.used(l, m.now)
		var kept, keptPace int64
		for _, h := range stopped {
			flag := ToPool
			if l.scope == ScopeOrganization {
				flag = ToOwner
			}
			i := slices.IndexFunc(h.charges, func(c Charge) bool { return c.Metric == l.Metric && c.Flags&flag != 0 })
			if i < 0 || h.charges[i].Amount == 0 {
				continue
			}
			amount := h.charges[i].Amount
			hc, xc := h.ticket.class, t.class
			owed := m.share(max(0, p.virtual[xc]-p.virtual[hc]), int64(m.classes[hc].Weight), 256, false)
			part := min(owed, h.work)
			if m.classes[hc].Weight > m.classes[xc].Weight {
				part = h.work
			}
			hcost := m.cost(l, amount)
			keep := m.share(hcost, part, h.work, false)
			// Of what is kept for heavier classes nothing is kept for a head that
			// could not use it, until it is owed that share besides its work.
			span := l.Window
			switch l.Shape {
			case Stock:
				span = time.Minute
			case Calendar:
				span = 24 * time.Hour
			}
			if share := l.room(xc, 0) - l.room(hc, hcost); share > 0 && owed <= h.work+m.share(share, int64(span), l.capacity, false) {
				keep = min(keep, max(0, l.room(hc, hcost)-used))
			}
			kept += keep
			if l.paced() {
				keptPace += m.share(m.paceCost(l, amount), part, h.work, false)
			}
		}
		if kept > 0 || keptPace > 0 {
			at = max(at, m.fits(l, cost+kept, l.room(t.class, cost)))
			if m.classes[t.class].Paced && l.paced() {
				at = max(at, m.paceFits(l, x.amount, keptPace))
			}
		}
	}
	return at
}
