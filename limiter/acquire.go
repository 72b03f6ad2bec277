package limiter

import "time"

// acquire queues a request in the pools that may serve it, and serves them.
func (e *Engine) acquire(c *Acquire) {
	if t := e.keys[c.Key]; t != nil && e.again(t, c) {
		return
	}
	if e.leases[c.Lease] != nil {
		return // a lease's name is used once; the sender has repeated itself
	}
	class, ok := e.classNames[c.Class]
	if !ok {
		e.refuse(c, UnknownClass)
		return
	}
	pr, reason := e.project(c.Project)
	if pr == nil {
		e.refuse(c, reason)
		return
	}
	t := e.newTicket()
	t.key, t.lease, t.class, t.project = c.Key, c.Lease, class, pr
	t.state = ticketWaiting
	t.arrived = min(c.Arrived, e.now)
	t.until = e.now.Add(c.patience())
	t.ttl = max(c.TTL, time.Millisecond)
	t.unpaced = c.Unpaced
	t.keyed = true
	e.keys[c.Key] = t
	pr.tickets++
	e.classes[class].waiting++
	e.waiting++
	t.silent = e.own(c.Lease.Incarnation, 1)

	known := false
	for _, i := range e.orderTargets(c.Targets) {
		tg := &c.Targets[i]
		p := e.poolNames[tg.Pool]
		if p == nil {
			continue
		}
		model, ok := p.model(tg.Model)
		if !ok {
			continue
		}
		known = true
		if e.place(t, p, tg, model) && e.tryNow(t, p) {
			return
		}
	}
	e.wait(t, c, known)
}

// patience is how long the call may wait.
func (c *Acquire) patience() time.Duration {
	if c.Unpaced {
		return 0
	}
	return max(0, c.MaxWait)
}

// place puts a ticket into the queue of a pool, unless it never fits there.
func (e *Engine) place(t *ticket, p *pool, tg *Target, model string) bool {
	pl := e.newPlace()
	pl.charges = append(pl.charges, tg.Charges...)
	pl.variance = p.expect(pl.charges, model)
	for _, x := range e.gather(p, t.project, pl.charges, 0) {
		alone := x.charge.Amount
		if x.charge.Flags&Pooled != 0 && x.limit.Shape != Stock {
			alone += sigmas * root(pl.variance)
		}
		if x.limit.cost(alone) > x.limit.capacity {
			e.free.places = append(e.free.places, pl)
			return false
		}
	}
	pl.ticket, pl.model, pl.rank = t, model, tg.Rank
	pl.work = p.work(pl.charges, ToPool)
	e.stand(t, pl)
	p.flow(t.project, t.class).enqueue(pl)
	return true
}

// tryNow serves a pool if that may help a newcomer, and says whether it was granted.
func (e *Engine) tryNow(t *ticket, p *pool) bool {
	pl := t.places()[len(t.places())-1]
	if pl.flow.first == pl || p.dirty || p.nextAt <= e.now {
		e.pump(p)
		e.nextPump = min(e.nextPump, p.nextAt)
	}
	return t.state != ticketWaiting
}

// wait queues a ticket that could not be granted at once, or refuses it.
func (e *Engine) wait(t *ticket, c *Acquire, known bool) {
	ev := Event{Kind: Queued, Key: t.key, Lease: t.lease}
	switch {
	case len(t.places()) == 0 && known:
		ev.Kind, ev.Reason, ev.RetryAfter = Refused, TooLarge, -1
		e.explainTooLarge(t, c, &ev)
	case len(t.places()) == 0:
		ev.Kind, ev.Reason, ev.RetryAfter = Refused, NoTarget, -1
	default:
		blocked := e.explain(t, &ev)
		k := &e.classes[t.class]
		switch {
		case e.call.underWay && c.patience() <= 0:
			ev.Kind, ev.Reason = Refused, WaitTooLong
			ev.RetryAfter = max(ev.RetryAfter, e.call.until.Sub(e.now)) // at the latest it ends then
		case blocked != NoReason && ev.RetryAfter > c.patience():
			ev.Kind, ev.Reason = Refused, blocked
		case ev.RetryAfter > c.patience() || c.patience() <= 0:
			ev.Kind, ev.Reason = Refused, WaitTooLong
		case e.waiting > e.maxWaiting || k.MaxWaiting > 0 && k.waiting > k.MaxWaiting:
			ev.Kind, ev.Reason = Refused, QueueFull
		}
	}
	e.emit(ev)
	if ev.Kind == Refused {
		e.dismiss(t)
		return
	}
	t.settleDown()
	e.timers.set(t, t.until)
}

// refuse answers what will never be otherwise under this configuration.
func (e *Engine) refuse(c *Acquire, r Reason) {
	e.emit(Event{Kind: Refused, Reason: r, Key: c.Key, Lease: c.Lease, RetryAfter: -1})
}

// explain fills in the least time that a waiter has to wait and what binds it, and says
// whether every pool is behind a gate.
func (e *Engine) explain(t *ticket, ev *Event) (gate Reason) {
	least := time.Duration(-1)
	gate = Gated
	for _, pl := range t.places() {
		s := e.judge(pl.flow.pool, pl)
		bound := e.waitBound(pl)
		switch {
		case !s.gated:
			gate = NoReason
		case s.blocked && gate == Gated:
			gate = ProviderBlocked
		}
		if !s.stops() { // there is room for it, but others are first
			s = pl.flow.pool.lanes[t.class].stop
		}
		if least < 0 || bound < least {
			least = bound
			ev.Binding, ev.Bindings = s.by, s.count
		}
	}
	ev.RetryAfter = max(0, least)
	return gate
}

// explainTooLarge names the limits that a request never fits.
func (e *Engine) explainTooLarge(t *ticket, c *Acquire, ev *Event) {
	for i := range c.Targets {
		p := e.poolNames[c.Targets[i].Pool]
		if p == nil {
			continue
		}
		for _, x := range e.gather(p, t.project, c.Targets[i].Charges, 0) {
			if x.limit.cost(x.charge.Amount) > x.limit.capacity && ev.Bindings < MaxBinding {
				ev.Binding[ev.Bindings] = x.limit.id
				ev.Bindings++
			}
		}
		return
	}
}

// waitBound gives a lower bound of the wait at a place: nobody heavier comes, all that
// runs is refunded what can be, and only those before it in its own project count. The
// waiter has just been judged.
func (e *Engine) waitBound(pl *place) time.Duration {
	f := pl.flow
	paced := e.classes[f.class].Paced && !pl.ticket.unpaced
	var bound time.Duration
	for i := range f.pool.gates {
		if g := &f.pool.gates[i]; g.concerns(pl.charges) {
			bound = max(bound, g.opens.Sub(e.now))
		}
	}
	for _, x := range e.touches {
		need := x.charge.Amount
		if x.limit.scope == ScopePool && pl == f.last { // all others are before it
			for i, l := range f.pool.limits {
				if l == x.limit {
					if need += f.ahead[i]; pl.only { // it is among them
						need -= x.charge.Amount
					}
				}
			}
		}
		bound = max(bound, x.limit.waitBound(e.now, need, f.class, paced))
	}
	return bound
}

// again answers a key that is known. It says false if it is to be decided anew.
func (e *Engine) again(t *ticket, c *Acquire) bool {
	t.shared = t.shared || t.lease.Incarnation != c.Lease.Incarnation
	switch {
	case t.state == ticketWaiting:
		e.back(t, c)
		if t.state == ticketWaiting {
			ev := Event{Kind: Queued, Key: t.key, Lease: t.lease}
			e.explain(t, &ev)
			e.emit(ev)
		}
		return true
	case t.state == ticketOpen && t.pool != nil && e.now <= t.granted.Add(t.pool.StartWithin):
		t.shared = true // two are told of it now, also where both asked the same process
		e.emit(Event{
			Kind: Granted, Again: true, Key: t.key, Lease: t.lease, Pool: t.pool.Name, Model: t.modelName(),
			Waited:      max(0, t.granted.Sub(t.arrived)),
			StartWithin: t.granted.Add(t.pool.StartWithin).Sub(min(c.Arrived, e.now)),
			Left:        t.until.Sub(e.now),
		})
		return true
	}
	// The grant was not claimed in time, or has been used. Its charge stays: the first
	// answer may have arrived after all.
	delete(e.keys, t.key)
	t.keyed = false
	return false
}

// back tells that a caller asks again, perhaps by another process. A waiter whose caller was
// away gets its place back.
func (e *Engine) back(t *ticket, c *Acquire) {
	was := t.absent()
	if t.lease.Incarnation != c.Lease.Incarnation {
		e.own(t.lease.Incarnation, -1)
		t.silent = e.own(c.Lease.Incarnation, 1)
	}
	t.lease, t.arrived = c.Lease, min(c.Arrived, e.now)
	if t.away {
		t.away = false
		e.timers.set(t, t.until)
	}
	switch {
	case was && !t.absent():
		e.arrive(t, nil)
		e.pumpDue()
	case !was && t.absent():
		e.depart(t)
	}
}

// arrive puts a waiter that was absent where it was. after has, by flow, a place before its
// own, where one is known; it is brought up to date.
func (e *Engine) arrive(t *ticket, after map[*flow]*place) {
	for _, pl := range t.places() {
		if pl.only {
			pl.flow.addAhead(pl, 1)
		}
		if pl.skipped {
			pl.flow.relink(pl, after[pl.flow])
			if after != nil {
				after[pl.flow] = pl
			}
		}
		if pl.flow.first == pl {
			e.touch(pl.flow.pool)
		}
	}
}

// depart lets others go before a waiter that is absent.
func (e *Engine) depart(t *ticket) {
	for _, pl := range t.places() {
		if pl.only {
			pl.flow.addAhead(pl, -1) // it may never come back: a bound must not count it
		}
		if pl.flow.first == pl {
			e.touch(pl.flow.pool) // those behind it may go
		}
	}
}

// cancel tells that a caller has left.
func (e *Engine) cancel(c *Cancel) {
	t := e.keys[c.Key]
	if t == nil || t.lease != c.Lease || e.sender != 0 && e.sender != c.Lease.Incarnation {
		return
	}
	switch {
	case t.state == ticketWaiting && c.Departure == Gone:
		e.dismiss(t)
	case t.state == ticketWaiting && !t.away:
		was := t.absent()
		t.away = true
		e.timers.set(t, min(t.until, e.now.Add(placeKept)))
		if !was {
			e.depart(t)
		}
	case t.state == ticketOpen && c.Departure == Gone && !t.shared:
		e.settle(t, Unsent, nil)
	}
}

// orderTargets gives the order in which targets are tried: by rank, equals by headroom;
// first of all those whose betters are used as far as their Above.
func (e *Engine) orderTargets(targets []Target) []uint8 {
	n := min(len(targets), maxTargets)
	order := e.order[:n]
	for i := range order {
		order[i] = uint8(i)
	}
	if n < 2 {
		return order
	}
	var used [maxTargets]int64
	for i := range order {
		used[i] = 1000
		if p := e.poolNames[targets[i].Pool]; p != nil {
			used[i] = p.used(e.now)
		}
	}
	for i := 1; i < n; i++ { // insertion: few, and stable
		for j := i; j > 0; j-- {
			a, b := order[j-1], order[j]
			if targets[a].Rank < targets[b].Rank || targets[a].Rank == targets[b].Rank && used[a] <= used[b] {
				break
			}
			order[j-1], order[j] = b, a
		}
	}
	front := 0
	for i := 0; i < n; i++ {
		o := order[i]
		above := int64(targets[o].Above)
		if above == 0 || i == 0 {
			continue
		}
		better, diverted := false, true
		for k := 0; k < n && diverted; k++ {
			if targets[k].Rank < targets[o].Rank {
				better, diverted = true, used[k] >= above
			}
		}
		if better && diverted {
			copy(order[front+1:i+1], order[front:i])
			order[front] = o
			front++
		}
	}
	return order
}

// used tells how far the fullest limit of a pool is used, in 1/1000.
func (p *pool) used(now Time) (most int64) {
	for i := range p.gates {
		if p.gates[i].opens > now {
			return 1000
		}
	}
	for _, l := range p.limits {
		l.advance(now)
		most = max(most, mulDiv(l.used(now), 1000, l.capacity))
	}
	return most
}

// work is the time of the pool that charges take.
func (p *pool) work(charges []Charge, flag ChargeFlags) int64 {
	var w worked
	c := 0
	for _, l := range p.limits {
		for c < len(charges) && charges[c].Metric < l.Metric {
			c++
		}
		for k := c; k < len(charges) && charges[k].Metric == l.Metric; k++ {
			if charges[k].Flags&flag != 0 {
				w.add(l.rule, charges[k].Amount)
			}
		}
	}
	return max(1, w.total())
}

// A worked sums up what a call takes of a pool: the most that any of its rate limits
// says; what its other limits say, where it has none.
type worked struct{ rate, other int64 }

func (w *worked) add(r *rule, amount int64) {
	if r.Shape == SlidingWindow || r.Shape == TokenBucket {
		w.rate = max(w.rate, r.work(amount))
	} else {
		w.other = max(w.other, r.work(amount))
	}
}

func (w *worked) total() int64 {
	if w.rate == 0 {
		return w.other
	}
	return w.rate
}

// model finds one of the pool's models; the string returned is the pool's own.
func (p *pool) model(name string) (string, bool) {
	for _, m := range p.Models {
		if m == name {
			return m, true
		}
	}
	return "", false
}

// modelIndex gives the place of one of the pool's models; that of the last one if there
// is none of the name.
func (p *pool) modelIndex(name string) uint16 {
	for i, m := range p.Models {
		if m == name {
			return uint16(i)
		}
	}
	return uint16(len(p.Models))
}
