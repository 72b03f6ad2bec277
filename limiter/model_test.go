package limiter

import (
	"math/big"
	"slices"
	"time"
)

// The model is a second engine, written from the rules and not from the code: flat
// slices, every charge a record of its own, every sum and every head found by looking at
// all there is. It has no heaps, no counters beside what they count, and no timers.
type model struct {
	now        Time
	seq        uint64
	configured bool
	config     Configure
	classes    []ClassSpec // the heaviest first
	org        []*mLimit
	pools      []*mPool
	projects   []*mProject // dynamic ones in the order of their use
	projectIDs uint64
	tickets    []*mTicket // in the order of arrival
	events     []Event
	retry      time.Duration // what the engine told as RetryAfter: a bound, not a decision
	fault      error         // it was none

	processes []*mProcess // by id
	sender    uint64
	entries   uint64
	behaviour uint32
	call      mCall
}

// An mLimit is a limit with a record of every charge.
type mLimit struct {
	LimitSpec
	scope     Scope
	owner     string
	dead      bool
	effective int64
	capacity  int64
	reserve   []int64 // by class: what is kept from it
	charges   []*mCharge
	groups    []*mGroup // of a window: what was charged within a span counts as one
	missing   int64     // of a bucket, in ns of refill, at asOf; < 0: so long before it was full
	asOf      Time
	credits   []*mGroup // of a bucket: refunds under way, in ns
	pacedOut  Time
	periods   [][2]Time // those found before
}

type mCharge struct {
	at     Time
	amount int64
	edge   int64 // calendar: what of it counts in the next period as well
	begins Time  // calendar: of the period that it was charged in
	sum    bool  // calendar: it stands for all that was charged by other periods
	group  *mGroup
}

type mGroup struct {
	first, last Time
	amount      int64 // credits only
}

// share gives a·b/c, rounded down or up, at most 2⁶⁰.
func (m *model) share(a, b, c int64, up bool) int64 {
	if b == 0 || a <= (1<<62)/b {
		q := a * b / c
		if up && a*b%c != 0 {
			q++
		}
		return min(q, 1<<60)
	}
	q, r := new(big.Int).QuoRem(new(big.Int).Mul(big.NewInt(a), big.NewInt(b)), big.NewInt(c), new(big.Int))
	if up && r.Sign() != 0 {
		q.Add(q, big.NewInt(1))
	}
	if q.Cmp(big.NewInt(1<<60)) > 0 {
		return 1 << 60
	}
	return q.Int64()
}

func (m *model) newLimit(s LimitSpec, scope Scope, owner string) *mLimit {
	l := &mLimit{scope: scope, owner: owner}
	m.setSpec(l, s)
	return l
}

func (m *model) setSpec(l *mLimit, s LimitSpec) {
	former := *l
	l.LimitSpec = s
	l.effective = max(1, s.Quota-s.Quota*int64(s.Margin)/1_000_000)
	if changed := former.effective != l.effective || former.Window != l.Window; changed && former.effective > 0 && s.Shape == TokenBucket {
		l.Jitter = former.Jitter
		l.forgetCharges(m.now)
		l.missing, l.asOf = l.missingAt(m.now), m.now
		l.Jitter = s.Jitter
		// What is missing stays the same in tokens.
		again := func(ns int64, up bool) int64 {
			return m.share(m.share(ns, former.effective, int64(former.Window), up), int64(l.Window), l.effective, up)
		}
		l.missing = again(l.missing, true)
		for _, g := range l.credits {
			g.amount = again(g.amount, false)
		}
	}
	l.capacity = l.effective
	if s.Shape == TokenBucket {
		burst := s.Burst
		if burst == 0 {
			burst = s.Quota
		}
		burst = max(1, burst-burst*int64(s.Margin)/1_000_000)
		l.capacity = max(1, m.share(burst, int64(s.Window), l.effective, false)-int64(s.Jitter))
	}
	l.reserve = nil
	for _, c := range m.classes {
		ppm := int64(0)
		for _, o := range m.classes {
			if o.Weight > c.Weight {
				ppm += int64(o.Reserve)
			}
		}
		if s.Shape == TokenBucket { // three times as much, up to half, is kept of a bucket
			ppm = min(3*ppm, max(ppm, 500_000))
		}
		l.reserve = append(l.reserve, m.share(l.capacity, min(ppm, 1_000_000), 1_000_000, false))
	}
}

// room is what a class may fill: all but what is kept for heavier ones, or all if the
// cost would not fit otherwise.
func (l *mLimit) room(class int, cost int64) int64 {
	if r := l.capacity - l.reserve[class]; cost <= r {
		return r
	}
	return l.capacity
}

func (l *mLimit) hold() time.Duration { return l.Window + l.Jitter }

func (l *mLimit) paced() bool { return l.Shape == SlidingWindow && l.Window <= time.Hour }

func (l *mLimit) span() time.Duration { return max(1, l.Window/240) }

func (m *model) cost(l *mLimit, amount int64) int64 {
	if l.Shape == TokenBucket {
		return m.share(amount, int64(l.Window), l.effective, true)
	}
	return amount
}

func (m *model) paceCost(l *mLimit, amount int64) int64 {
	return m.share(amount, int64(l.Window+l.Jitter+l.span()/2), l.effective, false)
}

func (m *model) work(l *mLimit, amount int64) int64 {
	per := int64(l.Window)
	switch l.Shape {
	case Stock:
		per = int64(time.Second)
	case Calendar:
		per = int64(24 * time.Hour)
	}
	return m.share(amount, per, l.effective, false)
}

// forgetCharges drops what has expired and gives on the credits that are due.
func (l *mLimit) forgetCharges(now Time) {
	switch l.Shape {
	case SlidingWindow:
		gone := func(g *mGroup) bool { return g.last.Add(l.hold()) < now }
		l.charges = slices.DeleteFunc(l.charges, func(c *mCharge) bool { return gone(c.group) })
		l.groups = slices.DeleteFunc(l.groups, gone)
	case TokenBucket:
		l.credits = slices.DeleteFunc(l.credits, func(g *mGroup) bool {
			if g.last.Add(l.Jitter) >= now {
				return false
			}
			l.missing -= g.amount
			return true
		})
	}
}

func (l *mLimit) missingAt(at Time) int64 { return max(0, l.missing-int64(at-l.asOf)) }

// held is what is charged and still counted at a time, in the unit of cost.
func (l *mLimit) held(at Time) (sum int64) {
	switch l.Shape {
	case SlidingWindow:
		for _, c := range l.charges {
			if c.group.last.Add(l.hold()) >= at {
				sum += c.amount
			}
		}
	case TokenBucket:
		missing := l.missingAt(at)
		for _, g := range l.credits {
			if g.last.Add(l.Jitter) < at {
				missing -= g.amount
			}
		}
		return max(0, missing)
	case Calendar:
		begins, ends := l.period(at)
		before, _ := l.period(begins - 1)
		next := int64(0)
		for _, c := range l.charges {
			switch {
			case c.at >= begins:
				sum += c.amount
				next += c.edge
			case c.at >= before:
				sum += c.edge
			}
		}
		if at.Add(l.Jitter) >= ends {
			sum = max(sum, next)
		}
	}
	return sum
}

// used is what is held, and what running calls may still take.
func (m *model) used(l *mLimit, at Time) int64 {
	if l.Shape == Stock {
		return m.stock(l)
	}
	return l.held(at) + m.cost(l, m.outstanding(l, 0, 0))
}

func (m *model) stock(l *mLimit) (sum int64) {
	for _, t := range m.tickets {
		for _, h := range t.holds {
			if h.limit == l && !h.freed {
				sum += h.amount
			}
		}
	}
	return sum
}

// outstanding is what running calls may still produce, and with them a pooled one more.
func (m *model) outstanding(l *mLimit, mean, variance int64) int64 {
	sum := int64(0)
	for _, t := range m.tickets {
		if t.state != ticketOpen {
			continue
		}
		for _, h := range t.holds {
			switch {
			case h.limit != l || h.flags&OnCompletion == 0 || l.Shape == Stock:
			case h.flags&Pooled != 0:
				mean += h.amount - min(h.seen, h.amount)
				variance += h.variance
			default:
				sum += h.amount - min(h.seen, h.amount)
			}
		}
	}
	return sum + m.pooled(mean, variance)
}

// pooled is what calls of these moments are expected to produce at most.
func (m *model) pooled(mean, variance int64) int64 {
	root := int64(0)
	for root*root < variance {
		root++
	}
	return mean + sigmas*root
}

// fill is by how much a charge fills a limit.
func (m *model) fill(l *mLimit, c Charge, variance int64) int64 {
	if c.Flags&Pooled != 0 && l.Shape != Stock {
		return m.outstanding(l, c.Amount, variance) - m.outstanding(l, 0, 0)
	}
	return c.Amount
}

// fits gives the first time at which a cost fits below room if nothing else happens.
func (m *model) fits(l *mLimit, cost, room int64) Time {
	if m.used(l, m.now)+cost <= room {
		return m.now
	}
	others := m.cost(l, m.outstanding(l, 0, 0))
	switch l.Shape {
	case SlidingWindow:
		for _, g := range l.groups { // they end in their order
			if at := g.last.Add(l.hold()) + 1; l.held(at)+others+cost <= room {
				return at
			}
		}
	case TokenBucket:
		at := Never
		if cost+others <= room {
			at = m.now + Time(l.missingAt(m.now)+others+cost-room)
		}
		if len(l.credits) > 0 {
			at = min(at, l.credits[0].last.Add(l.Jitter)+1)
		}
		return at
	case Calendar:
		if _, ends := l.period(m.now); cost+others <= room {
			return ends
		}
	}
	return Never
}

// paceFits gives the time from which the pacer lets an amount through, and what is kept
// for others with it.
func (m *model) paceFits(l *mLimit, amount, kept int64) Time {
	span := int64(l.Window + l.Jitter + l.span()/2)
	burst := max(span/30, min(span/5, int64(2*time.Second)))
	cost := m.paceCost(l, amount)
	if kept == 0 {
		burst = max(burst, cost)
	}
	return l.pacedOut + Time(kept+cost-burst)
}

func (m *model) pace(l *mLimit, amount int64) {
	if l.paced() {
		l.pacedOut = max(l.pacedOut, m.now) + Time(m.paceCost(l, amount))
	}
}

// charge enters an amount of a call granted at a time.
func (m *model) charge(l *mLimit, granted Time, amount int64) *mCharge {
	c := &mCharge{at: granted, amount: amount}
	switch l.Shape {
	case SlidingWindow:
		if granted.Add(l.hold()) < m.now {
			return c // not held any more
		}
		c.group = l.group(granted, m.now)
	case TokenBucket:
		l.missing, l.asOf = l.missingAt(granted)+m.cost(l, amount), granted
	case Calendar:
		var ends Time
		if c.begins, ends = l.period(granted); granted.Add(l.Jitter) >= ends {
			c.edge = amount
		}
	}
	if l.Shape == SlidingWindow || l.Shape == Calendar {
		l.charges = append(l.charges, c)
	}
	return c
}

// produce enters what a call has produced since a time, evenly: part by part.
func (m *model) produce(l *mLimit, since Time, amount int64) *mCharge {
	life := int64(m.now - since)
	if l.Shape == SlidingWindow && life >= int64(l.span()) {
		for k := int64(1); k < spreadParts; k++ {
			part := amount / (spreadParts + 1 - k)
			amount -= part
			m.charge(l, since+Time(m.share(life, k, spreadParts, false)), part)
		}
	}
	return m.charge(l, m.now, amount)
}

// group finds what a charge is counted with: what began less than a span before; and of
// what was granted earlier, the first that is held as long.
func (l *mLimit) group(granted, now Time) *mGroup {
	if granted < now {
		for _, g := range l.groups {
			if g.last >= granted {
				return g
			}
		}
	}
	if n := len(l.groups); n > 0 && granted.Sub(l.groups[n-1].first) < l.span() {
		l.groups[n-1].last = max(l.groups[n-1].last, granted)
		return l.groups[n-1]
	}
	g := &mGroup{first: granted, last: granted}
	l.groups = append(l.groups, g)
	return g
}
