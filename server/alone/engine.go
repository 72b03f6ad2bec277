package alone

import (
	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
)

// An Absence is what is known when the log goes away. The configuration does not change
// during one, for it changes only by the log.
type Absence struct {
	Organization *config.Organization // as it is in force
	Configure    *limiter.Configure   // of it
	Log          *limiter.Engine      // the state as last read; nil: it never was. Only looked at
	// Until is when the process's part ends, at the latest: its seat may be another's then.
	// 0: it has none. What an open account grants needs no part.
	Until limiter.Time
}

// An Engine decides alone what one process may grant for one organization. Like
// limiter.Engine it is not safe for concurrent use and reads no clock: times are those that
// the log would have, and go on from the last that it had.
type Engine struct {
	engine     *limiter.Engine
	generation int64
	away       bool
	until      limiter.Time // of the part
	parts      *parts
	waiting    map[limiter.Key]limiter.LeaseID
	told       map[limiter.LeaseID]bool // what the log knows; true: also that it was settled
	targets    []limiter.Target         // scratch
}

// New makes an engine that grants nothing until it is away.
func New() *Engine {
	return &Engine{engine: limiter.New(), parts: &parts{}, waiting: map[limiter.Key]limiter.LeaseID{}, told: map[limiter.LeaseID]bool{}}
}

// Leave begins an absence. What was granted in earlier ones counts against the parts of this
// one.
func (e *Engine) Leave(a Absence, now limiter.Time) {
	e.Return(now)
	e.away, e.until = true, a.Until
	e.parts = divide(&a, e.parts, now)
	e.generation++
	c := *a.Configure
	c.Generation, c.Hash = e.generation, 0
	c.ColdStart, c.Kept = limiter.Trust, 0
	e.parts.apply(&c)
	e.engine.Apply(&c, now, nil)
}

// Return ends the absence: nothing is granted any more, and nobody waits here.
func (e *Engine) Return(now limiter.Time) {
	e.away = false
	for key, lease := range e.waiting {
		events := e.engine.Apply(&limiter.Cancel{Key: key, Lease: lease, Departure: limiter.Gone}, now, nil)
		for i := range events {
			if ev := &events[i]; ev.Kind == limiter.Granted { // one behind it, who is not told
				e.engine.Apply(&limiter.Release{Lease: ev.Lease, Outcome: limiter.Unsent}, now, nil)
			}
		}
	}
	clear(e.waiting)
}

// Apply changes the state by a command of this process and appends what happened to events,
// as limiter.Engine does. An Acquire is Refused at once, with NoTarget, if no target has a
// part; and with TooLarge if it is larger than a part. Only a grant is an answer: whoever is
// refused or waits here may get another from the log.
//
// While the log is not away, Release, Report and Renew of leases that were granted here still
// keep the ledger right.
func (e *Engine) Apply(cmd limiter.Command, now limiter.Time, events []limiter.Event) []limiter.Event {
	from := len(events)
	if c, ok := cmd.(*limiter.Acquire); ok {
		narrowed := *c
		if narrowed.Targets = e.granting(c, now); len(narrowed.Targets) == 0 {
			return append(events, limiter.Event{
				Kind: limiter.Refused, Reason: limiter.NoTarget, Key: c.Key, Lease: c.Lease, RetryAfter: -1,
			})
		}
		cmd = &narrowed
	}
	events = e.engine.Apply(cmd, now, events)
	for i := from; i < len(events); i++ {
		switch ev := &events[i]; ev.Kind {
		case limiter.Queued:
			e.waiting[ev.Key] = ev.Lease
		case limiter.Granted, limiter.Refused, limiter.Lapsed:
			delete(e.waiting, ev.Key)
		}
	}
	if c, ok := cmd.(*limiter.Cancel); ok && c.Departure == limiter.Gone && e.waiting[c.Key] == c.Lease {
		delete(e.waiting, c.Key)
	}
	return events
}

// Waits says whether a request waits under a key here, and as which proposal.
func (e *Engine) Waits(key limiter.Key) (limiter.LeaseID, bool) {
	lease, waits := e.waiting[key]
	return lease, waits
}

// granting gives the targets of a request that grant anything here.
func (e *Engine) granting(c *limiter.Acquire, now limiter.Time) []limiter.Target {
	e.targets = e.targets[:0]
	if !e.away || !e.parts.owner(c.Project) {
		return nil
	}
	for i := range c.Targets {
		t := &c.Targets[i]
		if p, ok := e.parts.pools[t.Pool]; ok && (p == config.AwayOpen || now < e.until) {
			e.targets = append(e.targets, *t)
		}
	}
	return e.targets
}

// Policy tells by which policy a pool grants; false: it grants nothing.
func (e *Engine) Policy(pool string) (config.AwayPolicy, bool) {
	p, ok := e.parts.pools[pool]
	return p, ok
}

// Granted says whether a lease was granted here and is not forgotten yet.
func (e *Engine) Granted(id limiter.LeaseID) bool {
	_, _, _, ok := e.engine.Holder(id)
	return ok
}

// Engine gives the engine that decides, to look at.
func (e *Engine) Engine() *limiter.Engine { return e.engine }

// Lost gives what the log does not know of what was granted and settled here, to be restored
// there. Told says that it is being told.
func (e *Engine) Lost(log *limiter.Engine, to []limiter.LeaseState) []limiter.LeaseState {
	from := len(to)
	to = e.engine.Lost(log, to)
	kept := to[:from]
	for _, s := range to[from:] {
		if settled, told := e.told[s.Lease]; !told || s.Settled && !settled {
			kept = append(kept, s)
		}
	}
	return kept
}

// Told notes what the log has been told. It is not told it again: what it then does not know
// it has forgotten, or cannot have.
func (e *Engine) Told(leases []limiter.LeaseState) {
	for id := range e.told {
		if !e.Granted(id) {
			delete(e.told, id)
		}
	}
	for i := range leases {
		e.told[leases[i].Lease] = leases[i].Settled
	}
}

// NextAt gives the time at which a Tick has something to do; Never if nothing has.
func (e *Engine) NextAt() limiter.Time { return e.engine.NextAt() }

// Idle says that the ledger is empty: another Engine would decide the same.
func (e *Engine) Idle(now limiter.Time) bool {
	if leases, waiting := e.engine.Counts(); e.away || leases > 0 || waiting > 0 {
		return false
	}
	for _, l := range e.engine.Limits(now) {
		if l.Held > 0 || l.Reserved > 0 {
			return false
		}
	}
	return true
}
