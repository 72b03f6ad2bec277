package limiter

import (
	"slices"
	"time"
)

// Recount puts back what the log has lost of counters. It may come any number of times, and
// from everybody who remembers: what each adds is only what goes beyond what the log had when it
// lost entries, and beyond what others have told. For they all followed one log, so of two the
// one that has seen more has seen all that the other has.
type Recount struct {
	// History is the latest Loss that the sender's knowledge comes after; 0: none. Who has followed
	// the log since the latest of all has nothing to add.
	History uint64
	// Stranger: the sender knows of a log to which this one is no successor, for it was begun by those
	// who knew nothing: all that it knows is lost, whatever was counted here.
	Stranger bool
	Counters []CounterState
}

// CounterState is what Recount knows of a counter; see Engine.LostCounters.
type CounterState struct {
	Counter CounterID
	Window  time.Duration
	Ever    int64        // charged in all, since the counter was made; ≥ 0
	Hits    []CounterAge // that still count, the latest first
}

// A CounterAge is hits that were made at a time.
type CounterAge struct {
	Age    time.Duration // since then; ≥ 0
	Amount int64         // ≥ 0
}

// know notes what a counter had when the latest Loss came, before it changes.
func (c *counter) know(history uint64) {
	if c.history != history {
		c.history, c.base, c.told = history, c.ever, c.ever
	}
}

// recount puts counters back.
func (e *Engine) recount(r *Recount) {
	if r.History == e.call.history {
		return
	}
	e.forgetCounters()
	for i := range r.Counters {
		e.restoreCounter(&r.Counters[i], r.Stranger)
	}
}

// restoreCounter adds the latest of the hits that somebody knows and the log does not.
func (e *Engine) restoreCounter(s *CounterState, stranger bool) {
	c := e.counter(s.Counter)
	known := int64(0)
	if c != nil {
		c.know(e.call.history)
		if known = c.told; stranger {
			known -= c.base
		}
	}
	ever := min(max(s.Ever, 0), maxSpan)
	missing := ever - known
	if missing <= 0 {
		return
	}
	if c == nil {
		if len(s.Hits) == 0 || s.Hits[0].Age >= min(s.Window, longestWindow) {
			return
		}
		c = e.newCounter(s.Counter, s.Window)
	}
	c.told = min(c.told+missing, maxSpan)
	last, rest := 0, missing
	for ; last < len(s.Hits) && rest > 0; last++ {
		rest -= s.Hits[last].amount()
	}
	for i, h := range slices.Backward(s.Hits[:last]) { // the window takes them in the order of time
		part := h.amount()
		if i == last-1 {
			part += min(rest, 0) // of the oldest a part may be there
		}
		if at := max(0, e.now.Add(-max(h.Age, 0))); at >= e.now.Add(-c.shelf.hold()) {
			c.window.insert(at, part)
		}
	}
	c.ever = min(c.ever+missing, maxSpan)
	c.shelf.take(c)
	c.shelf.put(c)
	e.mix(uint64(c.window.total))
}

// mostInserted bounds the entries of a counter among which others are put.
const mostInserted = 512

// insert enters an amount of an earlier time in its place, so that it counts no longer than it would
// have; it moves the numbers of later entries.
func (w *window) insert(at Time, amount int64) {
	i := w.count
	for i > 0 && w.at(w.head+i-1).last > at {
		i--
	}
	amount = min(amount, maxSpan-w.total)
	w.total += amount
	switch {
	case i > 0 && w.at(w.head+i-1).last == at:
		w.at(w.head + i - 1).amount += amount
		return
	case i < w.count && (w.at(w.head+i).first <= at || w.count >= mostInserted):
		w.at(w.head + i).amount += amount
		return
	}
	if int(w.count) == len(w.ring) {
		w.grow()
	}
	w.count++
	for k := w.count - 1; k > i; k-- {
		*w.at(w.head + k) = *w.at(w.head + k - 1)
	}
	*w.at(w.head + i) = entry{at, at, amount}
}

// amount is a number of hits, within bounds.
func (a *CounterAge) amount() int64 { return min(max(a.Amount, 0), maxAmount) }

// LostCounters appends what this engine knows of counters and the log's does not. Neither is
// changed. A stranger is one that has followed a log to which this one is no successor.
func (e *Engine) LostCounters(log *Engine, stranger bool, to []CounterState) []CounterState {
	for _, s := range e.shelves {
		for c := s.oldest; c != nil; c = c.newer {
			if known := log.counters[c.id]; known != nil && known.toldSince(e.call.history, log.call.history, stranger) >= c.ever {
				continue
			}
			if state := c.state(e.now); len(state.Hits) > 0 {
				to = append(to, state)
			}
		}
	}
	return to
}

// toldSince is what the log knows of the charges that were made before its latest Loss, which one
// process has not followed. One that has, or that is about to tell of the Loss itself, has to
// compare with what is there.
func (c *counter) toldSince(followed, history uint64, stranger bool) int64 {
	switch since := followed != history && c.history == history; {
	case since && stranger:
		return c.told - c.base
	case stranger:
		return 0
	case since:
		return c.told
	}
	return c.ever
}

// Strange says whether a log is no successor of the one that this engine has followed: nobody is
// known there who was here.
func (e *Engine) Strange(log *Engine) bool {
	for i := range e.processes {
		if log.process(e.processes[i].id) != nil {
			return false
		}
	}
	return len(e.processes) > 0
}

// state tells all that Recount needs.
func (c *counter) state(now Time) CounterState {
	s := CounterState{Counter: c.id, Window: c.shelf.length, Ever: c.ever}
	for i := c.window.count; i > 0; i-- {
		if en := c.window.at(c.window.head + i - 1); en.amount > 0 && en.last.Add(c.shelf.hold()) >= now {
			s.Hits = append(s.Hits, CounterAge{max(0, now.Sub(en.last)), en.amount})
		}
	}
	return s
}
