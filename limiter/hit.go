package limiter

import "time"

// MaxHits bounds the counters of one Hit.
const MaxHits = 64

// BehaviourHits is the behaviour from which on hits are counted: earlier builds do not know the
// command.
const BehaviourHits = 2

// Hit draws on counters: on all of them, or on none. Nobody waits for a counter: it is
// answered at once, with an event for each.
type Hit struct {
	// Always charges every counter, whatever the others say and also where it is over, as
	// envoyproxy/ratelimit does.
	Always   bool
	Counters []CounterHit // ≤ MaxHits; what goes beyond is refused whole
}

// HitMode says what it means for the others that a counter is over.
type HitMode uint8

const (
	// Enforced: nothing is charged.
	Enforced HitMode = iota
	// Shadow: nothing; it is told, and not charged itself.
	Shadow
	// Quota: nothing is charged if all counters of this mode are over; else as Shadow.
	Quota
)

// A CounterHit is what a Hit draws on one counter.
type CounterHit struct {
	Counter CounterID
	Quota   int64         // ≥ 0 in any window; 0: nothing passes
	Window  time.Duration // 1 ns … 366 days; of a counter that there is, its own holds
	Amount  int64         // > 0 draws; 0 only looks; < 0 gives back, the latest hits first
	Mode    HitMode
}

// amount is what is drawn, within bounds.
func (h *CounterHit) amount() int64 { return min(max(h.Amount, -maxAmount), maxAmount) }

// hit judges all counters together, and charges them or leaves them as they are.
func (e *Engine) hit(h *Hit) {
	e.forgetCounters()
	n := len(h.Counters)
	first := len(e.events)
	if n > MaxHits || e.call.underWay || e.behaviour < BehaviourHits {
		for range min(n, MaxHits) {
			e.emit(Event{Kind: Counted, Reason: NotYet, Over: true, RetryAfter: e.notYet()})
		}
		return
	}
	refused, quotas, spent := false, 0, 0
	for i := range h.Counters {
		x := &h.Counters[i]
		ev := Event{Kind: Counted}
		used := h.before(i, e.events[first:])
		c := e.counter(x.Counter)
		if e.drawn[i] = c; c != nil {
			used += c.window.total
		}
		ev.Over = x.Amount >= 0 && used > max(x.Quota, 0)-x.amount()
		switch {
		case x.Mode == Quota:
			quotas++
			if ev.Over {
				spent++
			}
		case x.Mode == Enforced && ev.Over:
			refused = true
		}
		e.emit(ev)
	}
	refused = refused || quotas > 0 && spent == quotas
	events := e.events[first:]
	for i := range h.Counters {
		if events[i].Charged = h.Always || !refused && !events[i].Over; events[i].Charged {
			e.charge(&h.Counters[i], i)
		}
	}
	for i := range h.Counters {
		e.tellCounter(h, i, events)
	}
}

// notYet is when a hit may be counted that is not now.
func (e *Engine) notYet() time.Duration {
	if e.call.underWay {
		return max(0, e.call.until.Sub(e.now)) // at the latest
	}
	return time.Second
}

// before is what the hits before one draw on the same counter.
func (h *Hit) before(i int, judged []Event) (amount int64) {
	for k := range h.Counters[:i] {
		if x := &h.Counters[k]; x.Counter == h.Counters[i].Counter && x.Amount > 0 && !judged[k].Over {
			amount += x.amount()
		}
	}
	return amount
}

// drawnOn gives the counter of a Hit's part, as it was found when it was judged; or which another
// part has made since.
func (e *Engine) drawnOn(x *CounterHit, i int) *counter {
	if c := e.drawn[i]; c == nil || c.shelf == nil { // none yet, or evicted since
		e.drawn[i] = e.counters[x.Counter]
	}
	return e.drawn[i]
}

// charge enters one hit, the ith of its command.
func (e *Engine) charge(x *CounterHit, i int) {
	if x.Amount == 0 {
		return
	}
	c := e.drawnOn(x, i)
	switch {
	case x.Amount < 0:
		if c != nil {
			c.giveBack(-x.amount())
		}
		return
	case c == nil:
		c = e.newCounter(x.Counter, x.Window)
		e.drawn[i] = c
	}
	c.know(e.call.history)
	c.charge(e.now, x.amount())
	c.moved()
}

// tellCounter says how a counter stands after a hit.
func (e *Engine) tellCounter(h *Hit, i int, events []Event) {
	x, ev := &h.Counters[i], &events[i]
	c := e.drawnOn(x, i)
	quota := max(x.Quota, 0)
	var used int64
	if c != nil {
		used = c.window.total
		ev.ResetAfter = c.resetAfter(e.now)
	}
	ev.Remaining = max(0, quota-used)
	if !ev.Over {
		return
	}
	room := quota - x.amount() - h.before(i, events)
	switch {
	case room < 0:
		ev.RetryAfter = -1
	case c != nil:
		ev.RetryAfter = max(0, c.window.fallsTo(room, c.shelf.hold()).Sub(e.now))
	}
}
