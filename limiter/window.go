package limiter

import "time"

// A window is the coalesced log of one limit: charges in the order of their
// admission, those within a span of the first of them joined into one entry.
//
// An entry counts until hold after its *last* charge. Held from grant until W + D
// later, no charge leaves before the provider has let go of it, wherever in
// [grant, grant + D] the provider counted it (algorithms.md, theorem 1). What joining
// costs is the real spread of an entry, not the span; memory is O(W/span) whatever
// the traffic.
type window struct {
	ring  []entry // a power of two long
	head  uint32  // number of the oldest entry; numbers rise by one and wrap
	count uint32
	total int64 // = Σ amounts
}

type entry struct {
	first, last Time
	amount      int64 // ≥ 0
}

func (w *window) at(number uint32) *entry { return &w.ring[number&uint32(len(w.ring)-1)] }

// expire drops the entries whose hold has ended.
func (w *window) expire(now Time, hold time.Duration) {
	for w.count > 0 {
		e := w.at(w.head)
		if e.last.Add(hold) >= now {
			return
		}
		w.total -= e.amount
		w.head++
		w.count--
	}
}

// add charges amount and returns the number of the entry that holds it.
func (w *window) add(now Time, amount int64, span time.Duration) uint32 {
	w.total += amount
	if w.count > 0 {
		number := w.head + w.count - 1
		if e := w.at(number); now.Sub(e.first) < span {
			e.last = max(e.last, now)
			e.amount += amount
			return number
		}
	}
	if int(w.count) == len(w.ring) {
		w.grow()
	}
	number := w.head + w.count
	w.count++
	*w.at(number) = entry{now, now, amount}
	return number
}

// addAt charges what was granted at an earlier time: it joins the first entry that is
// held at least as long. What was granted before oldest is not held any more.
func (w *window) addAt(granted, now, oldest Time, amount int64, span time.Duration) uint32 {
	if granted < oldest {
		return w.head - 1
	}
	low, high := uint32(0), w.count
	for low < high {
		mid := (low + high) / 2
		if w.at(w.head+mid).last < granted {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == w.count {
		return w.add(min(granted, now), amount, span)
	}
	w.at(w.head + low).amount += amount
	w.total += amount
	return w.head + low
}

// spreadParts is in how many parts a call's output is entered.
const spreadParts = 8

// addOver charges what is taken to have been produced evenly since granted (hold.since says
// where that may be): each part at the end of its stretch of time. The provider lets go of it in the same order; entered whole at the
// end, the early parts would be held for as long as the call ran and nobody could use
// that room.
func (w *window) addOver(granted, now, oldest Time, amount int64, span time.Duration) (number uint32) {
	life := int64(now - granted)
	if life < int64(span) {
		return w.add(now, amount, span)
	}
	for k := int64(1); k < spreadParts; k++ {
		part := amount / (spreadParts + 1 - k)
		amount -= part
		w.addAt(granted+Time(mulDiv(life, k, spreadParts)), now, oldest, part, span)
	}
	return w.add(now, amount, span)
}

// refund takes amount out of the entry that holds it, and says whether that entry was
// still counted.
func (w *window) refund(number uint32, amount int64) bool {
	if number-w.head >= w.count {
		return false
	}
	e := w.at(number)
	amount = min(amount, e.amount)
	e.amount -= amount
	w.total -= amount
	return true
}

// fallsTo gives the time at which the total will be at most most, if nothing is added.
func (w *window) fallsTo(most int64, hold time.Duration) Time {
	total := w.total
	for i := uint32(0); i < w.count; i++ {
		if total <= most {
			break
		}
		e := w.at(w.head + i)
		if total -= e.amount; total <= most {
			return e.last.Add(hold) + 1
		}
	}
	if total <= most {
		return 0
	}
	return Never
}

func (w *window) grow() {
	ring := make([]entry, max(1, 2*len(w.ring)))
	for i := uint32(0); i < w.count; i++ {
		n := w.head + i
		ring[n&uint32(len(ring)-1)] = *w.at(n)
	}
	w.ring = ring
}
