package limiter

import "time"

// A CounterID names a counter: a digest of what it counts and of its window, unique within
// the organization.
type CounterID [16]byte

// A counter is a sliding window that no configuration names: the first hit makes it, and it is
// forgotten when nothing in it counts any more. A hit counts from its time on for exactly the
// window's length: nobody is between it and what is limited.
type counter struct {
	id     CounterID
	shelf  *shelf
	window window

	// What was ever charged, and what of it the log may have lost: see restoreCounter.
	ever    int64  // ≥ 0: never falls
	history uint64 // the Loss that base and told are of
	base    int64  // ever, when that Loss came
	told    int64  // the most that anybody has told of the history before; ≥ base

	older, newer *counter // on the shelf, in the order of the latest hit
}

// A shelf has the counters of one window's length in the order of their latest hits, so that
// those that are empty are found without looking for them.
type shelf struct {
	length         time.Duration // of the window
	oldest, newest *counter
}

const (
	// exactHits is how many entries a counter keeps apart, whatever lies between them; beyond
	// them hits are joined as charges of other windows are. So small quotas are exact to the
	// nanosecond, and memory is bounded.
	exactHits = 16
	// longestWindow bounds a counter's: a leap year.
	longestWindow = 366 * 24 * time.Hour
	// maxCounters bounds the counters of an organization; see evict.
	maxCounters = 1 << 20
	// counterRest is how much longer than anything in them counters are kept when nobody asks:
	// where hits are few, no entry of the log shall be made for each.
	counterRest = time.Minute
)

// hold is how long after its time an entry counts: up to the instant before the window's end.
func (s *shelf) hold() time.Duration { return s.length - 1 }

// last is the time of the latest hit that counts.
func (c *counter) last() Time {
	if c.window.count == 0 {
		return 0
	}
	return c.window.at(c.window.head + c.window.count - 1).last
}

// charge enters a hit.
func (c *counter) charge(now Time, amount int64) {
	if amount = min(amount, maxSpan-c.window.total); amount <= 0 {
		return // beyond all quotas: so that sums fit 64 bits
	}
	span := time.Duration(1)
	if c.window.count >= exactHits {
		span = joinSpan(c.shelf.length)
	}
	c.window.add(now, amount, span)
	c.ever = min(c.ever+amount, maxSpan)
}

// giveBack takes hits out, the latest first.
func (c *counter) giveBack(amount int64) {
	for i := c.window.count; i > 0 && amount > 0; i-- {
		number := c.window.head + i - 1
		part := min(amount, c.window.at(number).amount)
		c.window.refund(number, part)
		amount -= part
	}
}

// resetAfter is how long anything of the counter still counts.
func (c *counter) resetAfter(now Time) time.Duration {
	for i := c.window.count; i > 0; i-- {
		if en := c.window.at(c.window.head + i - 1); en.amount > 0 {
			return max(0, en.last.Add(c.shelf.length).Sub(now))
		}
	}
	return 0
}

// counter finds a counter, with what does not count any more gone.
func (e *Engine) counter(id CounterID) *counter {
	c := e.counters[id]
	if c != nil {
		c.window.expire(e.now, c.shelf.hold())
	}
	return c
}

// newCounter makes a counter, at the end of its shelf.
func (e *Engine) newCounter(id CounterID, length time.Duration) *counter {
	if len(e.counters) >= maxCounters {
		e.evict()
	}
	if e.counters == nil {
		e.counters = map[CounterID]*counter{}
	}
	c := &counter{id: id, shelf: e.shelf(length), history: e.call.history}
	e.counters[id] = c
	c.shelf.put(c)
	return c
}

// shelf finds the shelf of a length, or makes it; shelves ascend by length. There are as many as
// there were lengths in use, which a configuration bounds.
func (e *Engine) shelf(length time.Duration) *shelf {
	length = min(max(length, 1), longestWindow)
	at := len(e.shelves)
	for i, s := range e.shelves {
		if s.length == length {
			return s
		}
		if s.length > length {
			at = i
			break
		}
	}
	s := &shelf{length: length}
	e.shelves = append(e.shelves, nil)
	copy(e.shelves[at+1:], e.shelves[at:])
	e.shelves[at] = s
	return s
}

// put puts a counter onto its shelf, behind those that were hit earlier.
func (s *shelf) put(c *counter) {
	after := s.newest
	for last := c.last(); after != nil && after.last() > last && last > 0; {
		after = after.older
	}
	c.older = after
	if after == nil {
		c.newer, s.oldest = s.oldest, c
	} else {
		c.newer, after.newer = after.newer, c
	}
	if c.newer == nil {
		s.newest = c
	} else {
		c.newer.older = c
	}
}

// take takes a counter from its shelf.
func (s *shelf) take(c *counter) {
	if c.older == nil {
		s.oldest = c.newer
	} else {
		c.older.newer = c.newer
	}
	if c.newer == nil {
		s.newest = c.older
	} else {
		c.newer.older = c.older
	}
	c.older, c.newer = nil, nil
}

// moved puts a counter where its latest hit belongs.
func (c *counter) moved() {
	if c.shelf.newest != c {
		c.shelf.take(c)
		c.shelf.put(c)
	}
}

// forgetCounters ends the counters in which nothing counts any more.
func (e *Engine) forgetCounters() {
	for i := 0; i < len(e.shelves); i++ {
		s := e.shelves[i]
		for s.oldest != nil && s.oldest.last().Add(s.length) <= e.now {
			e.forgetCounter(s.oldest)
		}
		if s.oldest == nil {
			e.shelves = append(e.shelves[:i], e.shelves[i+1:]...)
			i--
		}
	}
}

func (e *Engine) forgetCounter(c *counter) {
	c.shelf.take(c)
	c.shelf = nil // so that who has it in hand sees that it is gone
	delete(e.counters, c.id)
}

// evict forgets the counter that was hit least recently, of those with the shortest window: it
// would be the first to be empty. So a flood of keys, each new, costs memory that is bounded and
// refuses nobody; and it touches day's quotas last.
func (e *Engine) evict() {
	for _, s := range e.shelves {
		if s.oldest != nil {
			e.forgetCounter(s.oldest)
			e.evicted++
			return
		}
	}
}

// countersHold is how long any counter goes on mattering.
func (e *Engine) countersHold() (hold time.Duration) {
	for _, s := range e.shelves {
		if s.newest != nil {
			hold = max(hold, s.newest.last().Add(s.length).Sub(e.now))
		}
	}
	return hold
}

// countersNextAt is when there are counters to be forgotten, should nobody ask until then.
func (e *Engine) countersNextAt() Time {
	at := Never
	for _, s := range e.shelves {
		if s.newest != nil {
			at = min(at, s.newest.last().Add(s.length+counterRest))
		}
	}
	return at
}

// Counters tells how many counters there are, and how many were forgotten while they still
// counted, for there were too many.
func (e *Engine) Counters() (alive int, evicted uint64) { return len(e.counters), e.evicted }
