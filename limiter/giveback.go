package limiter

// GiveBack takes charges out of limits again that no lease says of which call they are: for
// those who draw without one. The latest go first, as far as they count, whosever they are; so
// it is the sender's promise that the provider will not count them. It wants BehaviourHits.
type GiveBack struct {
	Project string
	Pool    string
	Charges []Charge // ascending by metric
}

// giveBack gives back to each limit that the charges touch.
func (e *Engine) giveBack(c *GiveBack) {
	e.emit(Event{Kind: Reported})
	if e.behaviour < BehaviourHits {
		return
	}
	e.touches = e.touches[:0]
	pr, p := e.projects[c.Project], e.poolNames[c.Pool]
	if pr != nil {
		e.gatherFrom(pr.limits, c.Charges, ToOwner, 0)
	}
	if p != nil {
		e.gatherFrom(p.limits, c.Charges, ToPool, 0)
	}
	e.gatherFrom(e.limits, c.Charges, ToOwner, 0)
	for _, t := range e.touches {
		t.limit.advance(e.now)
		amount := t.limit.takeOut(e.now, t.amount)
		if amount == 0 {
			continue
		}
		e.mix(uint64(amount))
		if t.limit.pace > 0 {
			t.limit.pacer.refund(t.limit.paceCost(amount))
		}
		if t.limit.scope != ScopeProject || pr != nil {
			e.freed(t.limit, pr)
		}
	}
}

// takeOut takes an amount out of what is held, the latest first, and gives how much it found. Of
// a stock nothing is: it is held by leases alone.
func (l *limit) takeOut(now Time, amount int64) (found int64) {
	switch l.Shape {
	case SlidingWindow:
		w := &l.window
		for i := w.count; i > 0 && found < amount; i-- {
			number := w.head + i - 1
			part := min(amount-found, w.at(number).amount)
			w.refund(number, part)
			found += part
		}
	case TokenBucket:
		held := mulDiv(l.bucket.backlog(now), l.effective, int64(l.Window))
		found = min(amount, held)
		l.bucket.credit(mulDiv(found, int64(l.Window), l.effective))
	case Calendar:
		found = min(amount, l.calendar.current)
		l.calendar.current -= found
		l.calendar.next -= min(found, l.calendar.next)
	}
	return found
}
