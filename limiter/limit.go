package limiter

import "time"

// Scope says whom a limit belongs to.
type Scope uint8

const (
	ScopeOrganization Scope = iota
	ScopePool
	ScopeProject
)

// A rule is a LimitSpec with all that follows from it; the projects of a template share
// theirs.
type rule struct {
	LimitSpec
	effective int64         // quota less margin, ≥ 1
	hold      time.Duration // W + D: how long a charge is kept
	span      time.Duration // joinSpan
	pace      int64         // paceSpan in ns; 0: not paced
	paceBurst int64         // what passes the pacer at once, in ns
	capacity  int64         // in the unit of cost: effective, or B − rD of a bucket as time
	// caps is what a class may fill, by class: the capacity less what is kept for
	// heavier ones.
	caps []int64
}

// bucketReserve is how many times its share a heavier class is kept of a bucket. It costs
// lighter ones some of their burst and nothing of the rate in the long run, for what
// they leave in the bucket flows by to them once it is full to there; and it lets a burst
// of large calls through that would otherwise wait for seconds.
const bucketReserve = 3

func newRule(s LimitSpec, classes []class) *rule {
	s.Quota = min(max(s.Quota, 1), maxAmount)
	s.Jitter = min(max(s.Jitter, 0), time.Duration(maxSpan/4))
	s.Window = min(max(s.Window, 1), time.Duration(maxSpan/4))
	if s.Shape > Stock {
		s.Shape = SlidingWindow
	}
	r := &rule{LimitSpec: s, effective: max(1, s.Quota-perMillion(s.Quota, s.Margin))}
	r.hold = s.Window + s.Jitter
	r.span = joinSpan(s.Window)
	r.capacity = r.effective
	switch s.Shape {
	case TokenBucket:
		burst := s.Burst
		if burst <= 0 {
			burst = s.Quota
		}
		burst = max(1, burst-perMillion(burst, s.Margin))
		r.capacity = max(1, mulDiv(burst, int64(s.Window), r.effective)-int64(s.Jitter))
	case SlidingWindow:
		r.pace = int64(paceSpan(&s))
		r.paceBurst = paceBurst(r.pace)
	}
	r.caps = make([]int64, len(classes))
	for i := range classes {
		var reserve uint32
		for j := range classes {
			if classes[j].Weight > classes[i].Weight {
				reserve += classes[j].Reserve
			}
		}
		if s.Shape == TokenBucket {
			reserve = min(reserve*bucketReserve, max(reserve, 500_000))
		}
		r.caps[i] = r.capacity - perMillion(r.capacity, reserve)
	}
	return r
}

// cost is an amount in the unit that the limit is judged in: nanoseconds of refill for
// a bucket, the amount itself otherwise.
func (r *rule) cost(amount int64) int64 {
	if r.Shape == TokenBucket {
		return mulDivUp(amount, int64(r.Window), r.effective)
	}
	return amount
}

// work is the time of the limit that an amount takes: c·W/L. A stock has no window; it
// counts as one second, which matters only where nothing else is limited.
func (r *rule) work(amount int64) int64 {
	switch r.Shape {
	case Stock:
		return mulDiv(amount, int64(time.Second), r.effective)
	case Calendar:
		return mulDiv(amount, int64(24*time.Hour), r.effective)
	}
	return mulDiv(amount, int64(r.Window), r.effective)
}

// paceCost is the time that the pacer takes for an amount.
func (r *rule) paceCost(amount int64) int64 { return mulDiv(amount, r.pace, r.effective) }

// room is what a class may fill so that a cost fits: a cost larger than what the kept
// share leaves may use the kept share too, rather than never fit.
func (r *rule) room(class uint8, cost int64) int64 {
	if c := r.caps[class]; cost <= c {
		return c
	}
	return r.capacity
}

// A limit is a rule with what is charged to it.
type limit struct {
	*rule
	scope Scope
	owner string // name of the pool or the project
	id    LimitID
	dead  bool // the configuration no longer has it; leases may still point here

	window   window
	bucket   bucket
	calendar calendar
	pacer    pacer
	stock    int64 // held from grant to release
	// reserved is what running calls may still produce (charges on completion).
	reserved int64 // ≥ 0
	pool     reservoir
	// refundable is what running calls may give back when they settle.
	refundable int64 // ≥ 0
	meter      meter
}

// advance lets charges expire; it says whether a bucket was credited.
func (l *limit) advance(now Time) {
	switch l.Shape {
	case SlidingWindow:
		l.window.expire(now, l.hold)
	case TokenBucket:
		l.bucket.settle(now, l.Jitter)
	case Calendar:
		l.calendar.roll(now, l.Period, l.Zone)
	}
}

// used is what is held and reserved, in the unit of cost. The limit has been advanced.
func (l *limit) used(now Time) int64 {
	switch l.Shape {
	case SlidingWindow:
		return l.window.total + l.outstanding()
	case TokenBucket:
		return l.bucket.backlog(now) + l.cost(l.outstanding())
	case Calendar:
		return l.calendar.used(now, l.Jitter) + l.outstanding()
	}
	return l.stock
}

// fitsAt gives the time at which a cost fits below room if nothing more is charged: now
// or earlier if it fits, Never if only a release can make room.
func (l *limit) fitsAt(now Time, cost, room int64) Time {
	used := l.used(now)
	if used+cost <= room {
		return now
	}
	switch l.Shape {
	case SlidingWindow:
		return l.window.fallsTo(room-cost-l.outstanding(), l.hold)
	case TokenBucket:
		if cost+l.cost(l.outstanding()) > room {
			return l.bucket.nextCredit(l.Jitter)
		}
		return min(now.Add(time.Duration(used+cost-room)), l.bucket.nextCredit(l.Jitter))
	case Calendar:
		if cost+l.outstanding() > room {
			return Never
		}
		return l.calendar.ends
	}
	return Never
}

// charge holds an amount from now on and returns where.
func (l *limit) charge(now Time, amount int64, class uint8) (number uint32) {
	l.meter.add(now, l.meterSpan(), class, amount)
	if l.pace > 0 {
		l.pacer.charge(now, l.paceCost(amount))
	}
	return l.enter(now, now, amount)
}

// enter enters an amount that was granted at a time into the shape's ledger.
func (l *limit) enter(granted, now Time, amount int64) (number uint32) {
	switch l.Shape {
	case SlidingWindow:
		if granted == now {
			return l.window.add(now, amount, l.span)
		}
		return l.window.addAt(granted, now, now.Add(-l.hold), amount, l.span)
	case TokenBucket:
		l.bucket.charge(granted, l.cost(amount))
	case Calendar:
		if granted < l.calendar.begins {
			return l.chargeBefore(granted, amount)
		}
		return l.calendar.charge(granted, amount, l.Jitter)
	case Stock:
		l.stock += amount
	}
	return 0
}

// enterPast enters what a lease that is put back was charged at a time, if it was anything.
func (l *limit) enterPast(at, now Time, amount int64) (number uint32) {
	switch {
	case amount > 0:
		return l.enter(at, now, amount)
	case l.Shape == SlidingWindow:
		return l.window.head - 1 // no entry
	}
	return 0
}

// restoreRefund enters what a lease that was settled holds in a bucket: the whole estimate,
// and the credit for what was not used of it.
func (l *limit) restoreRefund(granted, settled, now Time, used, refunded int64, unsent bool) (number uint32) {
	l.bucket.charge(granted, l.cost(used+refunded))
	switch cost := mulDiv(refunded, int64(l.Window), l.effective); {
	case unsent:
		l.bucket.undo(granted, settled, cost)
	case settled.Add(l.Jitter) < now:
		l.bucket.credit(cost)
	default:
		l.bucket.credits.addAt(settled, now, settled, cost, l.Jitter/8)
	}
	return packRefund(refunded)
}

// produce holds what a call has produced of its reservation since a time; the pacer has
// had it.
func (l *limit) produce(since, now Time, amount int64, class uint8) (number uint32) {
	l.meter.add(now, l.meterSpan(), class, amount)
	if l.Shape == SlidingWindow {
		return l.window.addOver(since, now, now.Add(-l.hold), amount, l.span)
	}
	return l.enter(now, now, amount)
}

// outstanding is what running calls may still produce.
func (l *limit) outstanding() int64 { return l.reserved + l.pool.reserve }

// reserve keeps room for what a call may produce. A call whose output is pooled has a
// variance.
func (l *limit) reserve(now Time, amount, variance int64, pooled bool) {
	if pooled {
		l.pool.add(amount, variance)
	} else {
		l.reserved += amount
	}
	if l.pace > 0 {
		l.pacer.charge(now, l.paceCost(amount))
	}
}

// unreserve ends a reservation, or a part of it that was produced or is not needed.
func (l *limit) unreserve(amount, variance int64, pooled bool) {
	if pooled {
		l.pool.add(-amount, -variance)
	} else {
		l.reserved = max(0, l.reserved-amount)
	}
}

// refund takes back what a settled call has not used. It goes to where it is held, and
// nowhere if that has expired. unsent: the provider never saw the call.
func (l *limit) refund(now Time, h *hold, granted Time, amount int64, class uint8, unsent bool) (freed bool) {
	switch l.Shape {
	case SlidingWindow:
		freed = l.window.refund(h.number, amount)
	case TokenBucket:
		freed = true
		if cost := mulDiv(amount, int64(l.Window), l.effective); unsent {
			l.bucket.undo(granted, now, cost)
		} else {
			l.bucket.credits.add(now, cost, l.Jitter/8) // those who wait must know when it is due
		}
	case Calendar:
		freed = l.refundPeriod(h.number, granted, amount)
	case Stock:
		l.stock = max(0, l.stock-amount)
		freed = true
	}
	if freed {
		l.meter.sub(now, l.meterSpan(), class, amount)
	}
	if l.pace > 0 && freed { // what has expired was paced out long ago
		l.pacer.refund(l.paceCost(amount))
	}
	return freed
}

// waitBound gives the least time until need passes, whatever is released meanwhile: of
// what may be refunded it assumes that it is refunded at once.
func (l *limit) waitBound(now Time, need int64, class uint8, paced bool) time.Duration {
	var at Time
	switch l.Shape {
	case SlidingWindow:
		room := l.room(class, min(need, l.capacity))
		rounds := int64(0)
		if need > room {
			rounds = (need - 1) / l.capacity
			need -= rounds * l.capacity
		}
		if free := room - l.window.total + l.refundable; need > free {
			at = l.window.fallsTo(room-need+l.refundable, l.hold)
			if at == Never {
				at = now
			}
		}
		at = max(at, now).Add(time.Duration(rounds) * l.hold)
		if paced && l.pace > 0 {
			back := Time(l.paceCost(l.refundable + l.outstanding()))
			at = max(at, l.pacer.fitsAt(l.paceCost(need), 0, l.paceBurst)-back)
		}
	case TokenBucket:
		cost := l.cost(need)
		at = now.Add(time.Duration(l.bucket.backlog(now) + cost - l.cost(l.refundable) -
			l.bucket.credits.total - l.room(class, min(cost, l.capacity))))
	case Calendar:
		if l.calendar.used(now, l.Jitter)-l.refundable+need > l.capacity {
			at = l.calendar.ends
		}
	}
	return max(0, at.Sub(now))
}

// meterSpan is the length of the window that the meter looks back.
func (l *limit) meterSpan() time.Duration {
	switch l.Shape {
	case Stock:
		return time.Minute
	case Calendar:
		return 24 * time.Hour
	}
	return l.Window
}
