package limiter

import "time"

// NoLimit is the id of a limit of a project that has drawn nothing yet.
const NoLimit = ^LimitID(0)

// A Standing is how a limit stands to a charge.
type Standing struct {
	ID        LimitID
	Scope     Scope
	Owner     string // the pool or project; "" for the organization
	Name      string
	Metric    Metric
	Spec      *LimitSpec // not to be changed
	Effective int64      // what the class may fill so that the charge fits, ≥ 0
	Remaining int64      // of that, ≥ 0
	// RetryAfter is when the charge fits if nothing else is charged or released: 0, it does;
	// < 0: never so. The pacer and those who wait are left out.
	RetryAfter time.Duration
	ResetAfter time.Duration // until all is free again, if nothing more is charged; 0 for a stock
}

// Standing appends how each limit that charges would touch stands at a time, to a call of a
// class: the project's first, then the pool's, then the organization's, each scope by metric. An
// Amount of 0 is judged like any other; Pooled charges by their Amount. An unknown class counts
// as the lightest; a project that is not known has the template's limits, or none.
//
// It reads only: a look must not depend on who looks.
func (e *Engine) Standing(now Time, pool, project, class string, charges []Charge, to []Standing) []Standing {
	if len(e.classes) == 0 {
		return to
	}
	now = max(now, e.now)
	k, ok := e.classNames[class]
	if !ok {
		k = uint8(len(e.classes) - 1)
	}
	if pr := e.projects[project]; pr != nil {
		to = standingOf(now, pr.limits, charges, ToOwner, k, to)
	} else if e.template != nil {
		for _, r := range e.template.rules {
			l := limit{rule: r, scope: ScopeProject, owner: project, id: NoLimit}
			to = l.standingOf(now, charges, ToOwner, k, to)
		}
	}
	if p := e.poolNames[pool]; p != nil {
		to = standingOf(now, p.limits, charges, ToPool, k, to)
	}
	return standingOf(now, e.limits, charges, ToOwner, k, to)
}

func standingOf(now Time, limits []*limit, charges []Charge, flag ChargeFlags, class uint8, to []Standing) []Standing {
	for _, l := range limits {
		to = l.standingOf(now, charges, flag, class, to)
	}
	return to
}

// standingOf appends how the limit stands to the charge that touches it, if any does.
func (l *limit) standingOf(now Time, charges []Charge, flag ChargeFlags, class uint8, to []Standing) []Standing {
	for i := range charges {
		if c := &charges[i]; c.Metric == l.Metric && c.Flags&flag != 0 {
			at := *l // what has expired goes from the copy alone
			at.advance(now)
			return append(to, at.standing(now, min(max(c.Amount, 0), maxAmount), class))
		}
	}
	return to
}

// standing tells how a limit that has been advanced stands.
func (l *limit) standing(now Time, amount int64, class uint8) Standing {
	s := Standing{ID: l.id, Scope: l.scope, Owner: l.owner, Name: l.Name, Metric: l.Metric, Spec: &l.rule.LimitSpec}
	cost := l.cost(amount)
	room := l.room(class, cost)
	s.Effective, s.Remaining = room, max(0, room-l.used(now))
	if l.Shape == TokenBucket {
		s.Effective = mulDiv(s.Effective, l.effective, int64(l.Window))
		s.Remaining = mulDiv(s.Remaining, l.effective, int64(l.Window))
	}
	at := Never
	if cost <= l.capacity {
		at = l.fitsAt(now, cost, room)
	}
	if s.RetryAfter = -1; at != Never {
		s.RetryAfter = max(0, at.Sub(now))
	}
	switch l.Shape {
	case SlidingWindow:
		if n := l.window.count; n > 0 {
			s.ResetAfter = l.window.at(l.window.head + n - 1).last.Add(l.hold).Sub(now)
		}
	case TokenBucket:
		s.ResetAfter = time.Duration(l.bucket.backlog(now))
	case Calendar:
		s.ResetAfter = l.calendar.ends.Sub(now)
	}
	return s
}
