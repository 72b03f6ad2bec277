package limiter

import "time"

// A Standing is how a limit stands to an amount that a class would charge.
type Standing struct {
	ID        LimitID
	Scope     Scope
	Owner     string // the pool or project; "" for the organization
	Spec      *LimitSpec
	Effective int64 // quota less margin
	Remaining int64 // ≥ 0: what the class could still be granted, in the metric's unit
	// RetryAfter is how long until the amount fits if nothing is charged and nothing released: 0 if
	// it does, < 0 if time alone never makes it.
	RetryAfter time.Duration
	// ResetAfter is how long until nothing of it is used; of what runs that is not known.
	ResetAfter time.Duration
}

// Standing tells how each limit stands that charges of a class and a project would touch, also
// where an amount is 0: those of the project and of the organization, and of a pool if one is
// named. Pacer, queue and gates are left out. A project that draws for the first time has the
// template's limits, unused. The list is appended to to; of a class that is not known it is empty.
func (e *Engine) Standing(pool, project, class string, charges []Charge, to []Standing) []Standing {
	k, ok := e.classNames[class]
	if !ok {
		return to
	}
	to = e.standing(e.limits, ToOwner, k, charges, to)
	if pr := e.projects[project]; pr != nil {
		to = e.standing(pr.limits, ToOwner, k, charges, to)
	} else if e.template != nil {
		for _, r := range e.template.rules {
			l := limit{rule: r, scope: ScopeProject, owner: project}
			to = e.standing([]*limit{&l}, ToOwner, k, charges, to)
		}
	}
	if p := e.poolNames[pool]; p != nil {
		to = e.standing(p.limits, ToPool, k, charges, to)
	}
	return to
}

func (e *Engine) standing(limits []*limit, flag ChargeFlags, class uint8, charges []Charge, to []Standing) []Standing {
	for _, l := range limits {
		for i := range charges {
			c := &charges[i]
			if c.Metric != l.Metric || c.Flags&flag == 0 {
				continue
			}
			l.advance(e.now)
			cost := l.cost(max(0, c.Amount))
			room := l.room(class, cost)
			s := Standing{ID: l.id, Scope: l.scope, Owner: l.owner, Spec: &l.LimitSpec, Effective: l.effective}
			s.Remaining = max(0, l.room(class, 0)-l.used(e.now))
			if l.Shape == TokenBucket {
				s.Remaining = mulDiv(s.Remaining, l.effective, int64(l.Window))
			}
			s.ResetAfter = e.resetAfter(l)
			switch at := l.fitsAt(e.now, cost, room); {
			case cost > l.capacity || at == Never:
				s.RetryAfter = -1
			case at > e.now:
				s.RetryAfter = at.Sub(e.now)
			}
			to = append(to, s)
			break
		}
	}
	return to
}

// resetAfter is how long until all that a limit holds has gone.
func (e *Engine) resetAfter(l *limit) time.Duration {
	switch l.Shape {
	case SlidingWindow:
		if w := &l.window; w.count > 0 {
			return w.at(w.head + w.count - 1).last.Add(l.hold + 1).Sub(e.now)
		}
	case TokenBucket:
		return time.Duration(l.bucket.backlog(e.now))
	case Calendar:
		if e.now < l.calendar.ends {
			return l.calendar.ends.Sub(e.now)
		}
	}
	return 0
}
