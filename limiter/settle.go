package limiter

// release ends a lease.
func (e *Engine) release(c *Release) {
	e.closeGates(c.Gates)
	t := e.leases[c.Lease]
	if t == nil {
		e.emit(Event{Kind: NotFound, Lease: c.Lease})
		return
	}
	late := t.state != ticketOpen
	ev := Event{Kind: Settled, Late: late, Key: t.key, Lease: t.lease, Pool: t.poolName(), Model: t.modelName()}
	if t.state != ticketSettled {
		ev.Refunds, ev.Debts = e.settle(t, c.Outcome, c.Actual)
	}
	e.emit(ev)
}

// report books what a running call has used so far.
func (e *Engine) report(c *Report) {
	e.closeGates(c.Gates)
	ev := Event{Kind: Reported, Lease: c.Lease}
	if c.Lease != (LeaseID{}) {
		t := e.leases[c.Lease]
		switch {
		case t == nil:
			ev.Kind = NotFound
		case t.state == ticketOpen:
			for i := range t.holds {
				h := e.unpack(t, i)
				e.see(t, &h, c.Actual)
				t.pack(i, &h)
			}
		}
	}
	e.emit(ev)
}

// see books the cumulative usage of a running call against one limit.
func (e *Engine) see(t *ticket, h *hold, actual []Charge) {
	l := h.limit
	used, known := h.find(actual)
	if l.dead || !known || used <= h.seen || l.Shape == Stock {
		return
	}
	l.advance(e.now)
	if h.flags&OnCompletion != 0 {
		l.unreserve(min(used, h.amount)-min(h.seen, h.amount), 0, h.flags&Pooled != 0)
		h.number = l.produce(h.since(t, e.now), e.now, used-h.seen, t.class)
		e.paceExcess(l, used-max(h.amount, h.seen))
		e.freed(l, t.project)
	} else if debt := used - max(h.amount, h.seen); debt > 0 {
		l.charge(e.now, debt, t.class)
	}
	h.seen = used
}

// since gives when the part of the output that is told now began to be produced, for a
// window that may take it for even. Only where outputs are pooled may it: their reserve is
// a matter of chance anyway. Elsewhere all of it may have come in the last instant, and
// counts from now (theorem 1).
func (h *hold) since(t *ticket, now Time) Time {
	if h.seen > 0 || h.flags&Pooled == 0 {
		return now
	}
	return t.granted
}

// paceExcess charges the pacer with what was produced beyond the reservation.
func (e *Engine) paceExcess(l *limit, amount int64) {
	if amount > 0 && l.pace > 0 {
		l.pacer.charge(e.now, l.paceCost(amount))
	}
}

// find gives what was told of the hold's metric and scope.
func (h *hold) find(actual []Charge) (amount int64, known bool) {
	flag := ToOwner
	if h.limit.scope == ScopePool {
		flag = ToPool
	}
	for i := range actual {
		if actual[i].Metric == h.limit.Metric && actual[i].Flags&flag != 0 {
			return min(max(actual[i].Amount, 0), maxAmount), true
		}
	}
	return 0, false
}

// settle ends a lease with what was used. Estimates become actuals: what was charged too
// much is refunded where it is held, what was charged too little is a debt, charged
// whatever room there is. It happens once a lease.
func (e *Engine) settle(t *ticket, o Outcome, actual []Charge) (refunds, debts uint8) {
	expired := t.state == ticketExpired
	var work worked
	for i := range t.holds {
		h := e.unpack(t, i)
		if h.limit.dead {
			continue
		}
		h.limit.advance(e.now)
		var freed bool
		was := max(h.amount, h.seen)
		if h.limit.Shape == Stock {
			freed = e.freeStock(t, &h)
			was = h.amount
		} else {
			used := h.final(o, actual)
			h.late = used > h.amount
			if h.flags&OnCompletion != 0 && !expired {
				freed = e.settleReserved(t, &h, used, h.since(t, e.now))
			} else {
				freed = e.settleCharged(t, &h, o, used)
			}
			h.seen, h.amount = 0, used // nothing is reported any more
		}
		t.pack(i, &h)
		if h.limit.scope == ScopePool {
			work.add(h.limit.rule, h.amount)
		}
		switch {
		case h.amount < was:
			refunds++
		case h.amount > was:
			debts++
		}
		if freed {
			e.freed(h.limit, t.project)
		}
	}
	e.settleWork(t, work.total())
	if !expired {
		e.open--
	}
	t.state, t.unsent, t.until = ticketSettled, o == Unsent, e.now
	e.timers.set(t, e.now.Add(settledKept))
	return refunds, debts
}

// final is what a hold comes to in the end.
func (h *hold) final(o Outcome, actual []Charge) int64 {
	used, known := h.find(actual)
	switch {
	case o == Unsent:
		return h.seen // what was reported was sent after all
	case o == Unknown || !known:
		return max(h.amount, h.seen, used)
	case h.flags&(Refundable|OnCompletion) == 0:
		return max(h.amount, h.seen, used)
	}
	return max(used, h.seen)
}

// settleReserved turns a reservation into what was produced since a time.
func (e *Engine) settleReserved(t *ticket, h *hold, used int64, since Time) (freed bool) {
	l := h.limit
	l.unreserve(h.amount-min(h.seen, h.amount), t.moments().Variance, h.flags&Pooled != 0)
	if used > h.seen {
		h.number = l.produce(since, e.now, used-h.seen, t.class)
	}
	e.paceExcess(l, used-max(h.amount, h.seen))
	if used < h.amount && l.pace > 0 {
		l.pacer.refund(l.paceCost(h.amount - used))
	}
	return true // if only because a reservation has no end and what was produced has one
}

// settleCharged corrects what is in the ledger already.
func (e *Engine) settleCharged(t *ticket, h *hold, o Outcome, used int64) (freed bool) {
	l := h.limit
	if h.flags&Refundable != 0 && h.flags&OnCompletion == 0 && t.state == ticketOpen {
		l.refundable = max(0, l.refundable-h.amount)
	}
	charged := max(h.amount, h.seen)
	switch {
	case used > charged:
		l.charge(e.now, used-charged, t.class)
	case used < charged:
		if l.Shape == TokenBucket {
			h.number = packRefund(charged - used)
		}
		return l.refund(e.now, h, t.granted, charged-used, t.class, o == Unsent)
	}
	return false
}

func (e *Engine) freeStock(t *ticket, h *hold) bool {
	if h.done {
		return false
	}
	h.done = true
	return h.limit.refund(e.now, h, t.granted, h.amount, t.class, false)
}

// settleWork corrects the project's place among the others of its class: it pays for
// what it used, not for what it asked for.
func (e *Engine) settleWork(t *ticket, used int64) {
	p := t.pool
	if p == nil {
		return
	}
	delta := used - t.work
	by := mulDiv(max(delta, -delta), virtualScale, t.project.weight)
	ready := &p.lanes[t.class].ready
	top := ready.top()
	f := t.project.flows[p.flowIndex(t.class)]
	switch {
	case f != nil && delta < 0:
		p.moveTag(f, -by)
	case f != nil:
		p.moveTag(f, by)
	case delta > 0:
		f = p.flow(t.project, t.class)
		f.tag = min(maxSpan, p.lanes[t.class].served+by)
		p.rest(f)
	}
	if ready.top() != top {
		e.touch(p) // another head may fit where this one did not
	}
}

// expire ends a lease whose TTL has passed. The call may still run: its tokens count as
// used, and a late release may settle them; its stocks are free.
func (e *Engine) expire(t *ticket) {
	for i := range t.holds {
		h := e.unpack(t, i)
		if h.limit.dead {
			continue
		}
		h.limit.advance(e.now)
		switch {
		case h.limit.Shape == Stock:
			if e.freeStock(t, &h) {
				e.freed(h.limit, t.project)
			}
		case h.flags&OnCompletion != 0:
			// It may be produced yet, so all of it is held from now.
			if e.settleReserved(t, &h, max(h.amount, h.seen), e.now) {
				e.freed(h.limit, t.project)
			}
		case h.flags&Refundable != 0:
			h.limit.refundable = max(0, h.limit.refundable-h.amount)
		}
		t.pack(i, &h)
	}
	e.emit(Event{Kind: Expired, Key: t.key, Lease: t.lease, Pool: t.poolName(), Model: t.modelName()})
	t.state = ticketExpired
	e.open--
	e.timers.set(t, e.now.Add(unsettledKept))
}

func (t *ticket) poolName() string {
	if t.pool == nil {
		return ""
	}
	return t.pool.Name
}

// renew starts the TTL of leases anew.
func (e *Engine) renew(c *Renew) {
	for _, id := range c.Leases {
		t := e.leases[id]
		if t == nil || t.state != ticketOpen {
			e.emit(Event{Kind: NotFound, Lease: id})
			continue
		}
		t.until = e.now.Add(t.ttl)
		e.lastEnd = max(e.lastEnd, t.until)
		e.timers.set(t, t.until)
		e.emit(Event{Kind: Renewed, Key: t.key, Lease: id, Left: t.ttl})
	}
}

func (e *Engine) closeGates(gates []Gate) {
	for i := range gates {
		if p := e.poolNames[gates[i].Pool]; p != nil {
			p.close(e.now, &gates[i])
			e.touch(p)
		}
	}
}
