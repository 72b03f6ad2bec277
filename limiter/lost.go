package limiter

import (
	"cmp"
	"slices"
	"time"
)

// Lost appends what this engine knows of leases and the log's does not, by lease: those that
// the log has never heard of and that still matter, for their charges count or their calls
// run; and of others how they were settled, that they were renewed, what was reported. With a
// Restore of it the log's engine holds all that this one does. Neither is changed.
func (e *Engine) Lost(log *Engine, to []LeaseState) []LeaseState {
	from := len(to)
	for _, tm := range e.timers.timers {
		t := tm.ticket
		if t.state == ticketWaiting {
			continue
		}
		known := log.leases[t.lease]
		switch {
		case known == nil && e.matters(t):
		case known != nil && e.knowsMore(t, log, known):
		default:
			continue
		}
		to = append(to, e.stateOf(t))
	}
	slices.SortFunc(to[from:], func(a, b LeaseState) int {
		return cmp.Or(cmp.Compare(a.Lease.Incarnation, b.Lease.Incarnation), cmp.Compare(a.Lease.Count, b.Lease.Count))
	})
	return to
}

// ended gives the time at which a lease was settled or has expired.
func (e *Engine) ended(t *ticket) Time {
	switch t.state {
	case ticketSettled:
		return min(t.until, e.now)
	case ticketExpired:
		return min(e.timers.timers[t.timer].at.Add(-unsettledKept), e.now)
	}
	return e.now
}

// matters says whether a lease runs, or any charge of it still counts.
func (e *Engine) matters(t *ticket) bool {
	if t.state == ticketOpen {
		return true
	}
	for i := range t.holds {
		if h := e.unpack(t, i); !h.limit.dead && e.counts(t, &h) {
			return true
		}
	}
	return false
}

// counts says whether a limit may still hold anything of a lease that has ended.
func (e *Engine) counts(t *ticket, h *hold) bool {
	l := h.limit
	latest := t.granted // at which a part of it was charged
	if h.late || h.flags&OnCompletion != 0 || h.seen > h.amount {
		latest = e.ended(t)
	}
	amount := max(h.amount, h.seen)
	switch l.Shape {
	case SlidingWindow:
		return amount > 0 && latest.Add(l.hold) >= e.now
	case TokenBucket:
		return (amount > 0 || t.state == ticketSettled && h.refunded() > 0) && l.bucket.full > e.now
	case Calendar:
		begins, _ := periodAround(e.now, l.Period, l.Zone)
		return amount > 0 && latest.Add(l.Jitter) >= begins
	}
	return false
}

// knowsMore says whether another engine has a lease as it was before.
func (e *Engine) knowsMore(t *ticket, log *Engine, known *ticket) bool {
	switch {
	case known.state == ticketSettled:
		return false
	case t.state == ticketSettled:
		return true
	case t.state == ticketOpen && t.until.Sub(t.granted) > known.until.Sub(known.granted):
		return true // both lives are from the grant: their times need not be the same
	}
	if t.seen == nil {
		return false
	}
	theirs := log.stateOf(known).Charges
	for _, c := range e.stateOf(t).Charges {
		if i := slices.IndexFunc(theirs, c.sameLimits); i >= 0 && c.Seen > theirs[i].Seen {
			return true
		}
	}
	return false
}

// sameLimits says whether two charges are of one metric and scope.
func (c HeldCharge) sameLimits(o HeldCharge) bool {
	return c.Metric == o.Metric && c.Flags&o.Flags&(ToPool|ToOwner) != 0
}

// stateOf tells all that Restore needs.
func (e *Engine) stateOf(t *ticket) LeaseState {
	s := LeaseState{
		Key: t.key, Lease: t.lease, Project: t.project.name, Class: e.classes[t.class].Name, Pool: t.poolName(), Model: t.modelName(),
		Age: e.now.Sub(t.granted), TTL: t.ttl, Settled: t.state == ticketSettled, Unsent: t.unsent, Ended: e.now.Sub(e.ended(t)),
	}
	if t.state == ticketOpen {
		s.Left = max(1, t.until.Sub(e.now)) // what is due at this very instant has not ended yet
	}
	for i := range t.holds {
		h := e.unpack(t, i)
		if h.limit.dead {
			continue
		}
		scope := ToOwner
		if h.limit.scope == ScopePool {
			scope = ToPool
		}
		c := HeldCharge{Charge{h.limit.Metric, h.flags&^(ToPool|ToOwner) | scope, h.amount}, h.seen, 0, h.late}
		if t.state == ticketSettled {
			c.Refunded = h.refunded()
		}
		if k := slices.IndexFunc(s.Charges, c.sameLimits); k >= 0 { // limits beside each other hold the same
			o := &s.Charges[k]
			o.Amount, o.Seen, o.Refunded, o.Late = max(o.Amount, c.Amount), max(o.Seen, c.Seen), max(o.Refunded, c.Refunded), o.Late || c.Late
		} else {
			s.Charges = append(s.Charges, c)
		}
	}
	slices.SortFunc(s.Charges, func(a, b HeldCharge) int {
		return cmp.Or(cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Flags, b.Flags))
	})
	return s
}

// Waits says whether a request waits under a key, and as which lease it was last proposed.
func (e *Engine) Waits(key Key) (LeaseID, bool) {
	t := e.keys[key]
	if t == nil || t.state != ticketWaiting {
		return LeaseID{}, false
	}
	return t.lease, true
}

// Hold is how long anything of the state may go on mattering though nothing more comes, > 0:
// what runs does until its TTL ends, and counts in the windows from then on; else as long as a
// charge counts in any limit. What is remembered only for those who are late does not count.
func (e *Engine) Hold() time.Duration {
	counters := e.countersHold()
	switch {
	case e.config == nil:
		return max(unsettledKept, counters)
	case e.open == 0:
		return max(e.rulesHold, counters)
	}
	return min(max(max(0, e.lastEnd.Sub(e.now))+e.rulesHold, counters), time.Duration(maxSpan))
}

// holdOfRules is the longest time that a charge counts in any limit of the configuration.
func (e *Engine) holdOfRules() time.Duration {
	longest := leastHold
	look := func(r *rule) {
		hold := r.hold
		if r.Shape == Calendar {
			hold = longestPeriod[min(r.Period, Month)] + r.Jitter
		}
		longest = max(longest, hold)
	}
	for _, l := range e.table {
		if l != nil {
			look(l.rule)
		}
	}
	if e.template != nil {
		for _, r := range e.template.rules {
			look(r)
		}
	}
	return min(longest, time.Duration(maxSpan))
}

// leastHold is for those who have no windows: it bounds how soon a log may be forgotten.
const leastHold = time.Second

// longestPeriod is the length of a calendar's periods at most, with an hour for the clocks
// that are set back.
var longestPeriod = [...]time.Duration{Day: 25 * time.Hour, Week: 169 * time.Hour, Month: (31*24 + 1) * time.Hour}
