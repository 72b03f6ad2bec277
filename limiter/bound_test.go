package limiter

import (
	"fmt"
	"slices"
	"time"
)

// bound checks what an engine told as RetryAfter: even if all that runs gave back now what
// it may, and nobody else came, the caller could not go before.
func (m *model) bound(t *mTicket, retry time.Duration) error {
	if retry <= 0 {
		return nil
	}
	for _, pl := range t.places {
		f := m.flow(pl.pool, t.project, t.class, false)
		if slices.ContainsFunc(m.line(pl.pool, f, true), func(o *mPlace) bool {
			return o.ticket.seq < t.seq && len(o.ticket.places) == 1
		}) {
			continue // those before it that have no other way count
		}
		if at := m.soonest(pl); at < m.now.Add(retry) {
			return fmt.Errorf("RetryAfter is %v, it may go %v earlier", retry, m.now.Add(retry).Sub(at))
		}
	}
	return nil
}

// soonest is the earliest time at which a place could be granted.
func (m *model) soonest(pl *mPlace) (at Time) {
	t := pl.ticket
	for _, g := range pl.pool.gates {
		if g.concerns(pl.charges) {
			at = max(at, g.opens)
		}
	}
	for _, x := range m.touched(pl.pool, t.project, pl.charges, pl.variance) {
		l := x.limit
		back := map[*mCharge]int64{}
		var refunds, reserved int64
		for _, o := range m.tickets {
			for _, h := range o.holds {
				switch {
				case h.limit != l || o.state != ticketOpen || l.Shape == Stock:
				case h.reserves():
					reserved += h.amount - min(h.seen, h.amount)
				case h.flags&Refundable != 0:
					back[h.charge] = max(0, h.amount-h.seen)
					refunds += back[h.charge]
				}
			}
		}
		cost := m.cost(l, x.charge.Amount)
		room := l.room(t.class, cost)
		first := m.now
		switch l.Shape {
		case SlidingWindow:
			for _, g := range append([]*mGroup{{last: m.now - Time(l.hold()) - 1}}, l.groups...) {
				first = g.last.Add(l.hold()) + 1
				var sum int64
				for _, c := range l.charges {
					if c.group.last.Add(l.hold()) >= first {
						sum += c.amount - back[c]
					}
				}
				if sum+cost <= room {
					break
				}
			}
			if m.classes[t.class].Paced && l.paced() {
				cleared := l.pacedOut - Time(m.paceCost(l, refunds+reserved))
				span := int64(l.Window + l.Jitter + l.span()/2)
				first = max(first, cleared+Time(m.paceCost(l, x.charge.Amount)-max(m.paceCost(l, x.charge.Amount), max(span/30, min(span/5, 2e9)))))
			}
		case TokenBucket:
			missing := l.missingAt(m.now) - m.cost(l, refunds)
			for _, g := range l.credits {
				missing -= g.amount
			}
			first = m.now + Time(max(0, missing)+cost-room)
		case Calendar:
			if l.held(m.now)-refunds+cost > room {
				_, first = l.period(m.now)
			}
		}
		at = max(at, first)
	}
	return at
}
