package limiter

import (
	"cmp"
	"fmt"
	"slices"
)

// A ledger is what a provider may have seen, kept apart from engine and model: for every
// charge the stretch of time in which it may have been counted, however late each call
// was sent and however long it was under way.
type ledger struct {
	charges  []*counted
	holds    map[*mHold]*told
	settled  map[LeaseID]bool
	changed  bool             // the configuration has: quotas do not compare any more
	refunded map[*mLimit]bool // buckets that were credited: the provider's is fuller
}

// told is what of a hold is in the ledger already.
type told struct {
	granted  Time
	booked   []*counted
	seen     int64
	estimate int64
	forced   bool // restored
}

// counted is an amount that was counted at an unknown time within [from, to].
type counted struct {
	limit    *mLimit
	from, to Time
	amount   int64
	forced   bool // whatever room there was
}

// follow books what a command has changed, and checks what must hold after every one.
func (l *ledger) follow(e *Engine, m *model, c Command, events []Event) error {
	if l.holds == nil {
		l.holds, l.settled, l.refunded = map[*mHold]*told{}, map[LeaseID]bool{}, map[*mLimit]bool{}
	} else if _, ok := c.(*Configure); ok {
		l.changed = true
	}
	restore, forced := c.(*Restore)
	if forced {
		for i := range restore.Leases {
			delete(l.settled, restore.Leases[i].Lease)
		}
	}
	for _, t := range m.tickets {
		for _, h := range t.holds {
			l.book(m.now, t, h, forced)
		}
	}
	admits := true
	switch c.(type) {
	case *Release, *Report, *Restore, *Configure:
		admits = false // forced charges may come after an admission
	}
	for i := range events {
		if events[i].Kind == Granted {
			delete(l.settled, events[i].Lease) // forgotten long ago, and used again
		}
		switch ev := &events[i]; {
		case ev.Kind == Settled && !ev.Late:
			if l.settled[ev.Lease] {
				return fmt.Errorf("lease %v was settled twice", ev.Lease)
			}
			l.settled[ev.Lease] = true
		case ev.Kind == Settled && l.settled[ev.Lease] && ev.Refunds+ev.Debts > 0:
			return fmt.Errorf("lease %v was corrected after it was settled", ev.Lease)
		case ev.Kind == Granted && !ev.Again && admits:
			t := e.leases[ev.Lease]
			for i := range t.holds {
				h := e.unpack(t, i)
				if used := h.limit.used(e.now); !h.limit.dead && used > h.limit.capacity {
					return fmt.Errorf("%s holds %d of %d after an admission", h.limit.Name, used, h.limit.capacity)
				}
			}
		}
	}
	return nil
}

func (l *ledger) add(limit *mLimit, from, to Time, amount int64, forced bool) *counted {
	c := &counted{limit, from, to, amount, forced}
	l.charges = append(l.charges, c)
	return c
}

// book brings the ledger up to a hold as it stands.
func (l *ledger) book(now Time, t *mTicket, h *mHold, forced bool) {
	b, delay := l.holds[h], Time(h.limit.Jitter)
	if b == nil {
		b = &told{granted: t.granted, forced: forced, estimate: h.amount}
		l.holds[h] = b
		if !h.reserves() && h.charge != nil {
			b.seen = h.amount
			b.booked = append(b.booked, l.add(h.limit, t.granted, t.granted+delay, h.amount, forced))
		} else if h.charge != nil { // restored after its end
			b.seen = h.amount
			b.booked = append(b.booked, l.add(h.limit, t.granted, now+delay, h.amount, true))
		}
	}
	counts := max(h.amount, h.seen)
	switch {
	case h.reserves() && t.state == ticketOpen:
		counts = h.seen
	case h.limit.Shape == Stock:
		counts = b.seen
		if h.freed {
			counts = 0
		}
	}
	switch {
	case counts > b.seen && h.reserves():
		since := b.granted
		if b.seen > 0 || h.flags&Pooled == 0 || t.state == ticketExpired {
			since = now
		}
		life := int64(now - since)
		for k := int64(1); k <= spreadParts; k++ { // evenly
			part := (counts - b.seen) / (spreadParts + 1 - k)
			b.seen += part
			over := b.forced || b.seen > b.estimate
			from := since + Time(life*(k-1)/spreadParts)
			to := since + Time(life*k/spreadParts)
			if since == now {
				from = b.granted
			}
			b.booked = append(b.booked, l.add(h.limit, from, to+delay, part, over))
		}
	case counts > b.seen:
		b.booked = append(b.booked, l.add(h.limit, b.granted, now+delay, counts-b.seen, true))
	case counts < b.seen:
		if h.limit.Shape == TokenBucket {
			l.refunded[h.limit] = true
		}
		for i := len(b.booked) - 1; i >= 0 && b.seen > counts; i-- { // the latest first
			back := min(b.booked[i].amount, b.seen-counts)
			b.booked[i].amount -= back
			b.seen -= back
		}
	}
	b.seen = counts
}

// judge looks for the worst that any provider may have seen.
func (l *ledger) judge(*Engine) error {
	if l.changed {
		return nil
	}
	by := map[*mLimit][]*counted{}
	for _, c := range l.charges {
		if c.amount > 0 {
			by[c.limit] = append(by[c.limit], c)
		}
	}
	for limit, cs := range by { // any order: each alone
		var err error
		switch limit.Shape {
		case SlidingWindow:
			err = worstWindow(limit, cs)
		case TokenBucket:
			if !l.refunded[limit] {
				err = worstBurst(limit, cs)
			}
		case Calendar:
			err = worstPeriod(limit, cs)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// worstWindow checks theorem 1: whatever the times at which the calls arrived, no window
// of length W holds more than the quota, and what was forced into it.
func worstWindow(l *mLimit, cs []*counted) error {
	w := Time(l.Window)
	for _, first := range cs { // the most are in a window as the last of them enters
		s := first.from - w
		var sum, forced int64
		for _, c := range cs {
			if c.from <= s+w && c.to > s {
				sum += c.amount
				if c.forced {
					forced += c.amount
				}
			}
		}
		if sum > l.effective+forced {
			return fmt.Errorf("%s of %q: the window (%d, +%v] may hold %d of %d, %d of them forced", l.Name, l.owner, s, l.Window, sum, l.effective, forced)
		}
	}
	return nil
}

// worstBurst checks theorem 2: no stretch of time holds more than the bucket and what
// flows in meanwhile.
func worstBurst(l *mLimit, cs []*counted) error {
	burst := l.Burst
	if burst == 0 {
		burst = l.Quota
	}
	burst = max(1, burst-burst*int64(l.Margin)/1_000_000)
	slices.SortFunc(cs, func(a, b *counted) int { return cmp.Compare(a.from, b.from) })
	for _, first := range cs {
		for _, a := range []Time{first.to, first.from} {
			var sum, forced int64
			for _, c := range cs {
				if c.to < a {
					continue
				}
				sum += c.amount
				if c.forced {
					forced += c.amount
				}
				span := int64(max(0, c.from-a))
				if (sum-forced-burst)*int64(l.Window) > l.effective*span {
					return fmt.Errorf("%s of %q: %d + %d forced within %d ns overdraw a bucket of %d", l.Name, l.owner, sum-forced, forced, span, burst)
				}
			}
		}
	}
	return nil
}

// worstPeriod checks that no period may have counted more than the quota.
func worstPeriod(l *mLimit, cs []*counted) error {
	for _, any := range cs {
		for _, at := range []Time{any.from, any.to} {
			begins, ends := l.period(at)
			var sum, forced int64
			for _, c := range cs {
				if c.from < ends && c.to >= begins {
					sum += c.amount
					if c.forced {
						forced += c.amount
					}
				}
			}
			if sum > l.effective+forced {
				return fmt.Errorf("%s of %q: the period from %d may hold %d of %d", l.Name, l.owner, begins, sum, l.effective)
			}
		}
	}
	return nil
}
