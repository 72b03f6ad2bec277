package limiter

import "time"

// restore puts back what the log has lost of leases.
func (e *Engine) restore(c *Restore) {
	for i := range c.Leases {
		s := &c.Leases[i]
		if t := e.leases[s.Lease]; t != nil {
			e.amend(t, s)
		} else {
			e.restoreLease(s)
		}
	}
	for _, p := range e.pools {
		e.touch(p) // what is kept for a stopped head depends on what is held
	}
}

// amend brings a lease that is known up to what somebody else knows of it.
func (e *Engine) amend(t *ticket, s *LeaseState) {
	if t.state == ticketSettled {
		return
	}
	actual := make([]Charge, len(s.Charges))
	for i := range actual {
		actual[i] = s.Charges[i].Charge
		if !s.Settled {
			actual[i].Amount = s.Charges[i].Seen
		}
	}
	if !s.Settled || s.Unsent {
		for i := range t.holds {
			h := e.unpack(t, i)
			if t.state == ticketOpen {
				e.see(t, &h, actual)
			} else {
				e.seeLate(t, &h, actual)
			}
			t.pack(i, &h)
		}
	}
	switch until := t.granted.Add(s.life()); {
	case s.Settled && s.Unsent:
		e.settle(t, Unsent, nil)
	case s.Settled:
		e.settle(t, Used, actual)
	case s.Left <= 0 || until <= t.until:
		return
	case t.state == ticketOpen:
		t.until = until
		e.lastEnd = max(e.lastEnd, until)
		e.timers.set(t, until)
	case until > e.now:
		t.until = until
		e.lastEnd = max(e.lastEnd, until)
		e.reopen(t)
	default:
		return
	}
	e.mix(t.lease.Count)
}

// seeLate books what a call had used whose lease has expired meanwhile.
func (e *Engine) seeLate(t *ticket, h *hold, actual []Charge) {
	used, known := h.find(actual)
	if h.limit.dead || !known || used <= h.seen || h.limit.Shape == Stock {
		return
	}
	h.limit.advance(e.now)
	if debt := used - max(h.amount, h.seen); debt > 0 {
		h.limit.charge(e.now, debt, t.class)
		e.timers.set(t, e.now.Add(unsettledKept)) // so that it counts as ended now: see ended
	}
	h.seen = used
}

// age gives the time since the grant, within bounds.
func (s *LeaseState) age() time.Duration { return min(max(s.Age, 0), time.Duration(maxSpan)) }

// life is the time from the grant to the end of the TTL: the same in every log, whatever
// its time.
func (s *LeaseState) life() time.Duration {
	return s.age() + min(max(s.Left, 0), time.Duration(maxSpan))
}

// reopen takes back that a lease has expired, for it was renewed.
func (e *Engine) reopen(t *ticket) {
	ended := e.ended(t)
	for i := range t.holds {
		h := e.unpack(t, i)
		l := h.limit
		left := h.amount - min(h.seen, h.amount)
		switch {
		case l.dead:
		case l.Shape == Stock && h.done:
			h.done = false
			l.stock += h.amount
		case l.Shape == Stock:
		case h.flags&OnCompletion != 0:
			l.advance(e.now)
			l.takeBack(h.number, ended, e.now, left)
			l.reserve(e.now, left, t.moments().Variance, h.flags&Pooled != 0)
		case h.flags&Refundable != 0:
			l.refundable += h.amount
		}
		t.pack(i, &h)
	}
	t.state = ticketOpen
	e.open++
	e.timers.set(t, t.until)
}

// takeBack takes out what was entered at the end of a lease that goes on.
func (l *limit) takeBack(number uint32, ended, now Time, amount int64) {
	switch l.Shape {
	case SlidingWindow:
		l.window.refund(number, amount)
	case TokenBucket:
		l.bucket.undo(ended, now, mulDiv(amount, int64(l.Window), l.effective))
	case Calendar:
		l.refundPeriod(number, ended, amount)
	}
}

// restoreLease makes a lease that the log does not know: forced charges at the times at
// which they were made, whatever room there is.
func (e *Engine) restoreLease(s *LeaseState) {
	pr := e.restoreProject(s.Project)
	if pr == nil || len(e.classes) == 0 {
		return
	}
	class, ok := e.classNames[s.Class]
	if !ok {
		class = uint8(len(e.classes) - 1) // as configureClasses does
	}
	t := e.newTicket()
	t.key, t.lease, t.class, t.project, t.pool = s.Key, s.Lease, class, pr, e.poolNames[s.Pool]
	t.shared = true // nobody may take back what was answered elsewhere
	t.granted = max(0, e.now.Add(-s.age()))
	t.arrived = t.granted
	t.ttl = max(s.TTL, time.Millisecond)
	pr.tickets++
	ended := max(t.granted, e.now.Add(-min(max(s.Ended, 0), time.Duration(maxSpan))))
	switch {
	case s.Settled:
		t.state, t.until, t.unsent = ticketSettled, ended, s.Unsent
		e.timers.set(t, e.now.Add(settledKept)) // from now: others may restore it too
	case s.Left <= 0:
		t.state, t.until = ticketExpired, ended
		e.timers.set(t, max(ended.Add(unsettledKept), e.now.Add(settledKept)))
	default:
		t.state, t.until = ticketOpen, e.now.Add(min(s.Left, time.Duration(maxSpan)))
		e.lastEnd = max(e.lastEnd, t.until)
		e.timers.set(t, t.until)
		e.open++
	}
	e.restoreCharges(t, s, ended)
	e.leases[t.lease] = t
	e.mix(t.lease.Count)
	e.rename(t)
}

// restoreProject finds the project of a lease that is put back, or makes it, whatever the
// number of projects: nobody has asked for a new one.
func (e *Engine) restoreProject(name string) *project {
	pr := e.projects[name]
	switch {
	case pr != nil:
	case name == "" || len(e.classes) == 0:
		return nil
	case e.template != nil:
		pr = e.newProject(name, e.template, true)
	default: // a former one, until its leases have ended
		pr = e.newProject(name, &projectRules{ProjectSpec: ProjectSpec{Weight: 1}}, true)
	}
	pr.lastUsed = e.now
	e.listRemove(pr)
	e.listAppend(pr)
	return pr
}

// restoreCharges enters what a lease holds.
func (e *Engine) restoreCharges(t *ticket, s *LeaseState, ended Time) {
	p, model := t.pool, s.Model
	charges := make([]Charge, len(s.Charges))
	for i := range charges {
		charges[i] = s.Charges[i].Charge
	}
	if p != nil {
		t.model = p.modelIndex(model)
		t.work = p.work(charges, ToPool)
	}
	for i := range charges {
		charges[i].Amount += s.Charges[i].Refunded // so that what was given back whole counts as touched
	}
	for _, x := range e.gather(p, t.project, charges, 0) {
		l := x.limit
		l.advance(e.now)
		var c *HeldCharge
		for i := range charges {
			if x.charge == &charges[i] {
				c = &s.Charges[i]
			}
		}
		h := hold{limit: l, amount: c.Amount, flags: c.Flags}
		if h.flags&OnCompletion == 0 {
			h.flags &^= Pooled
		}
		if t.state == ticketSettled {
			h.late = c.Late
		} else {
			h.seen = c.Seen
		}
		switch {
		case l.Shape == Stock:
			h.seen = 0
			if h.done = t.state != ticketOpen; !h.done {
				l.stock += h.amount
			}
		case t.state == ticketOpen:
			e.restoreRunning(t, &h)
		case t.state == ticketExpired && h.flags&OnCompletion != 0:
			h.number = l.enterPast(ended, e.now, max(h.amount, h.seen))
		case t.state == ticketExpired:
			h.number = l.enterPast(t.granted, e.now, h.amount)
			l.enterPast(ended, e.now, h.seen-h.amount)
		default:
			at := t.granted
			if h.late || h.flags&OnCompletion != 0 { // when each part was entered is not known: not later
				at = ended
			}
			if l.Shape == TokenBucket && c.Refunded > 0 {
				h.number = l.restoreRefund(at, ended, e.now, h.amount, c.Refunded, s.Unsent)
			} else {
				h.number = l.enterPast(at, e.now, h.amount)
			}
		}
		t.keep(&h)
	}
}

// restoreRunning enters what a call in flight holds.
func (e *Engine) restoreRunning(t *ticket, h *hold) {
	l := h.limit
	if h.flags&OnCompletion != 0 {
		l.reserve(e.now, h.amount-min(h.seen, h.amount), t.moments().Variance, h.flags&Pooled != 0)
		h.number = l.enterPast(e.now, e.now, h.seen)
		return
	}
	h.number = l.enterPast(t.granted, e.now, h.amount)
	l.enterPast(e.now, e.now, h.seen-h.amount)
	if h.flags&Refundable != 0 {
		l.refundable += h.amount
	}
}

// rename lets the key of a lease that was put back lead to it, where it may be told again.
// A waiter under the key is answered with it if its call may still go; and it is over if it
// asked for this very lease: it was answered in the history that is lost.
func (e *Engine) rename(t *ticket) {
	if w := e.keys[t.key]; w != nil && w.state == ticketWaiting {
		switch {
		case t.state == ticketOpen && t.pool != nil && e.now <= t.granted.Add(t.pool.StartWithin):
			e.emit(Event{
				Kind: Granted, Again: true, Key: t.key, Lease: t.lease, Pool: t.pool.Name, Model: t.modelName(),
				Waited:      max(0, t.granted.Sub(w.arrived)),
				StartWithin: t.granted.Add(t.pool.StartWithin).Sub(w.arrived),
				Left:        t.until.Sub(e.now),
			})
			e.dismiss(w)
		case w.lease == t.lease:
			e.emit(Event{Kind: Lapsed, Key: t.key, Lease: t.lease})
			e.dismiss(w)
		}
	}
	if t.state != ticketSettled && e.keys[t.key] == nil {
		e.keys[t.key], t.keyed = t, true
	}
}
