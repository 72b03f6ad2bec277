package limiter

// mostStopped is how many stopped heads a call may pass.
const mostStopped = 2

// A stop says why a call can't go now.
type stop struct {
	at      Time // when it may fit; Never: when something is released
	ownAt   Time // the same of its own project's limits alone
	own     bool // stopped by a limit of its own project
	gated   bool
	blocked bool // the gate is one that waiting does not cure
	count   uint8
	by      [MaxBinding]LimitID
}

func (s *stop) name(l *limit, at Time) {
	s.at = max(s.at, at)
	if s.count < MaxBinding {
		s.by[s.count] = l.id
		s.count++
	}
}

// stops says whether anything stops the call.
func (s *stop) stops() bool { return s.count > 0 || s.gated }

// A touch is a limit that a call touches, and by how much.
type touch struct {
	limit  *limit
	charge *Charge
	amount int64 // by which the limit fills: the charge's, or what it adds to a reservoir
	own    bool
}

// pumpDue serves the queues in which something may have changed.
func (e *Engine) pumpDue() {
	if !e.anyDirty && e.nextPump > e.now {
		return
	}
	// A grant or a refusal in one pool takes places out of others and may move what
	// stops them; each round ends some waiter's wait, so this ends.
	for {
		e.anyDirty = false
		for _, p := range e.pools {
			if p.dirty || p.nextAt <= e.now {
				e.pump(p)
			}
		}
		if !e.anyDirty {
			break
		}
	}
	e.schedule()
}

func (e *Engine) schedule() {
	e.nextPump = Never
	for _, p := range e.pools {
		e.nextPump = min(e.nextPump, p.nextAt)
	}
}

// pump grants what can go in one pool, and finds when to look again.
func (e *Engine) pump(p *pool) {
	p.dirty = false
	if e.call.underWay {
		p.nextAt = Never // its end looks at all
		return
	}
	for e.pass(p) {
	}
}

// pass looks at the head of each lane, the one with the least virtual time first, and
// grants at most one call. It costs the same however many wait.
func (e *Engine) pass(p *pool) (granted bool) {
	p.nextAt = Never
	if p.waiting == 0 {
		return false
	}
	for f := p.parked.top(); f != nil && f.wake <= e.now; f = p.parked.top() {
		p.ready(f)
	}
	e.stopped = e.stopped[:0]
	for tried := uint32(0); len(e.stopped) <= mostStopped; {
		class := p.leastLane(tried)
		if class < 0 {
			break
		}
		tried |= 1 << class
		if e.serve(p, &p.lanes[class]) {
			return true
		}
	}
	if f := p.parked.top(); f != nil {
		p.nextAt = min(p.nextAt, f.wake)
	}
	return false
}

// leastLane gives the lane to be served next among those not tried; the heavier of
// equals. −1: none has anything to serve.
func (p *pool) leastLane(tried uint32) int {
	least := -1
	for i := range p.lanes {
		if tried&(1<<i) == 0 && p.lanes[i].ready.len() > 0 && (least < 0 || p.lanes[i].virtual < p.lanes[least].virtual) {
			least = i
		}
	}
	return least
}

// serve grants the head of a lane if it can go. Projects stopped by limits of their own
// step aside; a head stopped by a shared limit ends the lane's turn.
func (e *Engine) serve(p *pool, l *lane) (granted bool) {
	for {
		f := l.ready.top()
		if f == nil {
			return false
		}
		pl := f.head()
		if pl == nil {
			continue
		}
		l.stop = e.judge(p, pl)
		if l.stop.own {
			p.park(f, l.stop.ownAt)
			continue
		}
		if !l.stop.stops() && len(e.stopped) > 0 {
			l.stop = e.guard(pl)
		}
		if !l.stop.stops() {
			e.grant(pl)
			return true
		}
		p.nextAt = min(p.nextAt, l.stop.at)
		e.stopped = append(e.stopped, pl)
		return false
	}
}

// gather lists the limits that a call touches in e.touches.
func (e *Engine) gather(p *pool, pr *project, charges []Charge, variance int64) []touch {
	e.touches = e.touches[:0]
	e.gatherFrom(pr.limits, charges, ToOwner, variance)
	for i := range e.touches {
		e.touches[i].own = true
	}
	if p != nil {
		e.gatherFrom(p.limits, charges, ToPool, variance)
	}
	e.gatherFrom(e.limits, charges, ToOwner, variance)
	return e.touches
}

// gatherFrom merges limits and charges, both ascending by metric.
func (e *Engine) gatherFrom(limits []*limit, charges []Charge, flag ChargeFlags, variance int64) {
	c := 0
	for _, l := range limits {
		for c < len(charges) && charges[c].Metric < l.Metric {
			c++
		}
		for k := c; k < len(charges) && charges[k].Metric == l.Metric; k++ {
			if charges[k].Flags&flag != 0 && charges[k].Amount > 0 {
				t := touch{limit: l, charge: &charges[k], amount: charges[k].Amount}
				if charges[k].Flags&Pooled != 0 && l.Shape != Stock {
					t.amount = l.pool.extra(t.amount, variance)
				}
				e.touches = append(e.touches, t)
				break
			}
		}
	}
}

// judge says what stops the call at a place: nothing, if all limits have room.
func (e *Engine) judge(p *pool, pl *place) (s stop) {
	class := pl.ticket.class
	paced := e.classes[class].Paced && !pl.ticket.unpaced && !e.overdue(p, pl)
	for i := range p.gates {
		if g := &p.gates[i]; g.concerns(pl.charges) && g.fitsAt() > e.now {
			s.at, s.gated, s.blocked = max(s.at, g.fitsAt()), true, s.blocked || g.Blocked
		}
	}
	for _, t := range e.gather(p, pl.ticket.project, pl.charges, pl.variance) {
		if at := t.limit.admitsAt(e.now, t.amount, class, paced); at > e.now {
			s.name(t.limit, at)
			if t.own {
				s.own, s.ownAt = true, max(s.ownAt, at)
			}
		}
	}
	return s
}

// overdue says whether a call is owed its whole work by a class that is not paced and has
// waiters. The pacer does not hold it back then: what such a class takes beyond the rate is
// paced out at the cost of all others, who would never go again.
func (e *Engine) overdue(p *pool, pl *place) bool {
	class := pl.ticket.class
	for i := range p.lanes {
		ahead := p.lanes[i].virtual - p.lanes[class].virtual
		if ahead > 0 && !e.classes[i].Paced && p.lanes[i].ready.len() > 0 &&
			mulDiv(ahead, int64(e.classes[class].Weight), virtualScale) >= pl.work {
			return true
		}
	}
	return false
}

// admitsAt gives the time from which an amount of a class is admitted by window and
// pacer.
func (l *limit) admitsAt(now Time, amount int64, class uint8, paced bool) Time {
	l.advance(now)
	cost := l.cost(amount)
	at := l.fitsAt(now, cost, l.room(class, cost))
	if paced && l.pace > 0 {
		at = max(at, l.pacer.fitsAt(l.paceCost(amount), 0, l.paceBurst))
	}
	return at
}

// guard says whether a call that has room may pass the heads in e.stopped. Room that has
// been freed for a head is kept for it, the more of it the more the head is owed: of its
// cost the part φ = w·(V_x − V_h)/work, at most all. Otherwise small calls would take
// whatever comes free, and a large one would wait for ever.
//
// The share that is kept for heavier classes is exempt, for the head could not use it;
// but only until the head is owed its whole work and that share besides.
func (e *Engine) guard(pl *place) (s stop) {
	x := pl.flow
	class := &e.classes[x.class]
	for _, t := range e.gather(x.pool, x.project, pl.charges, pl.variance) {
		if t.own {
			continue
		}
		l, cost := t.limit, t.limit.cost(t.amount)
		used := l.used(e.now)
		var kept, keptPace int64
		for _, h := range e.stopped {
			amount := h.amountIn(l)
			if amount == 0 {
				continue
			}
			keep, pace := e.keptFor(h, x, l, amount, used)
			kept += keep
			keptPace += pace
		}
		if kept == 0 && keptPace == 0 {
			continue
		}
		at := l.fitsAt(e.now, cost+kept, l.room(x.class, cost))
		if class.Paced && !pl.ticket.unpaced && l.pace > 0 {
			at = max(at, l.pacer.fitsAt(l.paceCost(t.amount), keptPace, l.paceBurst))
		}
		if at > e.now {
			s.name(l, at)
		}
	}
	return s
}

// keptFor gives what of a limit is kept from flow x for a stopped head, and of its pacer.
func (e *Engine) keptFor(h *place, x *flow, l *limit, amount, used int64) (keep, pace int64) {
	lanes := x.pool.lanes
	ahead := max(0, lanes[x.class].virtual-lanes[h.flow.class].virtual)
	owed := mulDiv(ahead, int64(e.classes[h.flow.class].Weight), virtualScale)
	part := min(owed, h.work)
	if e.classes[h.flow.class].Weight > e.classes[x.class].Weight {
		part = h.work // a lighter class takes nothing from a heavier one whose turn it is
	}
	cost := l.cost(amount)
	keep = mulDiv(cost, part, h.work)
	if share := l.room(x.class, 0) - l.room(h.flow.class, cost); share > 0 {
		if owed <= h.work+mulDiv(share, int64(l.meterSpan()), l.capacity) {
			keep = min(keep, max(0, l.room(h.flow.class, cost)-used))
		}
	}
	if l.pace > 0 {
		pace = mulDiv(l.paceCost(amount), part, h.work)
	}
	return keep, pace
}

// amountIn gives what the call at a place charges a shared limit.
func (pl *place) amountIn(l *limit) int64 {
	flag := ToPool
	if l.scope == ScopeOrganization {
		flag = ToOwner
	}
	for i := range pl.charges {
		if pl.charges[i].Metric == l.Metric && pl.charges[i].Flags&flag != 0 {
			return pl.charges[i].Amount
		}
	}
	return 0
}

// virtualScale keeps the fractions that division by a weight would lose.
const virtualScale = 256

// grant makes a lease of a waiter, charges it, and takes it out of all queues. The
// waiter has just been judged: e.touches is what it touches.
func (e *Engine) grant(pl *place) {
	t, f := pl.ticket, pl.flow
	p := f.pool
	lane := &p.lanes[f.class]
	known := len(e.leases)
	if e.leases[t.lease] = t; len(e.leases) == known {
		e.refuseName(t)
		return
	}

	t.granted, t.pool, t.model, t.work, t.rank = e.now, p, p.modelIndex(pl.model), pl.work, pl.rank
	if n := len(e.touches); cap(t.holds) < n {
		t.holds = make([]packedHold, 0, n)
	}
	for _, c := range e.touches {
		h := hold{limit: c.limit, amount: c.charge.Amount, flags: c.charge.Flags}
		if h.flags&OnCompletion != 0 && c.limit.Shape != Stock {
			c.limit.reserve(e.now, h.amount, pl.variance, h.flags&Pooled != 0)
		} else {
			h.number = c.limit.charge(e.now, h.amount, t.class)
			if h.flags&Refundable != 0 && c.limit.Shape != Stock {
				c.limit.refundable += h.amount
			}
		}
		t.keep(&h)
	}
	for i := range p.gates {
		if p.gates[i].concerns(pl.charges) {
			p.gates[i].pass(e.now, pl.work)
		}
	}
	if len(p.gates) > 0 {
		p.forgetGates(e.now)
	}

	p.served = max(p.served, lane.virtual)
	lane.virtual = min(maxSpan, lane.virtual+share(pl.work, int64(e.classes[f.class].Weight)))
	lane.served = max(lane.served, f.tag)
	p.moveTag(f, share(pl.work, t.project.weight))
	e.leaveQueues(t)
	p.forgetIdle(lane)
	e.classes[t.class].waiting--
	e.waiting--
	e.own(t.lease.Incarnation, -1)

	t.state, t.away, t.silent = ticketOpen, false, false
	e.open++
	t.until = e.now.Add(t.ttl)
	e.lastEnd = max(e.lastEnd, t.until)
	e.timers.set(t, t.until)
	waited := e.now.Sub(t.arrived)
	e.emit(Event{
		Kind: Granted, Key: t.key, Lease: t.lease, Pool: p.Name, Model: t.modelName(),
		Waited: waited, StartWithin: waited + p.StartWithin, Left: t.ttl,
	})
}

// refuseName refuses a waiter whose lease was to have the name of another: a mistake of the
// sender. The name stays with the other.
func (e *Engine) refuseName(t *ticket) {
	for _, o := range e.timers.timers {
		if o := o.ticket; o != t && o.lease == t.lease && o.state != ticketWaiting {
			e.leases[t.lease] = o
			break
		}
	}
	e.emit(Event{Kind: Refused, Reason: NoTarget, Key: t.key, Lease: t.lease, RetryAfter: -1})
	e.dismiss(t)
}
