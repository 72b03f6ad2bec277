package limiter

import "time"

// An Engine is the state of one organization. It is not safe for concurrent use: one
// goroutine applies the log.
type Engine struct {
	now    Time
	seq    uint64 // of the latest ticket
	digest uint64 // chained over all events

	config     []byte // the Configure in force, encoded
	generation int64
	hash       uint64
	limits     []*limit // of the organization, by metric
	table      []*limit // by LimitID; nil: free
	freeIDs    []LimitID
	pools      []*pool // by name
	poolNames  map[string]*pool
	classes    []class // the heaviest first
	classNames map[string]uint8
	maxWaiting int
	waiting    int
	open       int // leases in force

	projects    map[string]*project
	template    *projectRules // nil: only named projects
	maxProjects int
	projectSeq  uint64
	oldest      *project // list of all projects, the least recently used first
	newest      *project
	longestHold int64
	rulesHold   time.Duration // the longest that a charge counts in any limit
	lastEnd     Time          // no lease that is open ends later

	entries       uint64 // that have begun
	sender        uint64 // of the entry that began last
	behaviour     uint32
	processes     []process // by id
	nextSilence   Time      // not later than any process's next
	nextForgotten Time      // not later than any process may be forgotten
	call          rollCall
	seats         []seat
	afterLoss     LossPolicy
	coldHold      time.Duration // see ColdHold

	counters map[CounterID]*counter
	shelves  []*shelf // of the counters, by length
	evicted  uint64

	keys   map[Key]*ticket
	leases map[LeaseID]*ticket
	timers timerHeap
	free   pools

	nextPump Time // least nextAt of all pools
	anyDirty bool

	// No decision reads these: see longestTTL.

	// Scratch space of one command.
	events  []Event
	touches []touch
	stopped []*place
	order   [maxTargets]uint8
	drawn   [MaxHits]*counter
}

// maxTargets bounds how many targets of a request are looked at.
const maxTargets = 16

// New makes an engine that knows nothing: until it is configured it refuses all.
func New() *Engine {
	return &Engine{
		projects:    map[string]*project{},
		keys:        map[Key]*ticket{},
		leases:      map[LeaseID]*ticket{},
		nextPump:    Never,
		nextSilence: Never,
		behaviour:   1,
	}
}

// latest bounds log time (it is in the year 2116), so that times after it still fit.
const latest = Time(1) << 62

// Apply changes the state by one command at the log's time and appends what happened
// to events, which it returns. A now before that of an earlier command counts as that:
// log time never runs backwards. Whatever the command holds, Apply does not fail; what
// makes no sense is refused or changes nothing.
func (e *Engine) Apply(c Command, now Time, events []Event) []Event {
	e.now = max(e.now, min(now, latest))
	e.events = events
	from := len(events)
	if e.nextSilence <= e.now {
		e.listen()
	}
	if l, ok := c.(*Loss); ok {
		e.lose(l) // before anything is granted that has become possible meanwhile
	}
	if e.call.underWay {
		e.endCall()
	}
	e.runTimers()
	e.pumpDue()
	switch c := c.(type) {
	case *Acquire:
		e.acquire(c)
	case *Release:
		e.release(c)
	case *Report:
		e.report(c)
	case *Renew:
		e.renew(c)
	case *Cancel:
		e.cancel(c)
	case *Tick:
		e.forgetCounters()
	case *Configure:
		e.configure(c)
	case *Join:
		e.join(c)
	case *Restore:
		e.restore(c)
	case *Upgrade:
		e.upgrade(c)
	case *Leave:
		e.quit(c)
	case *Hit:
		e.hit(c)
	case *GiveBack:
		e.giveBack(c)
	case *Recount:
		e.recount(c)
	}
	if e.call.underWay {
		e.endCall()
	}
	e.pumpDue()
	events, e.events = e.events, nil
	for i := from; i < len(events); i++ {
		e.chain(&events[i])
	}
	return events
}

// NextAt gives the time at which a Tick has something to do; Never if nothing has.
func (e *Engine) NextAt() Time {
	at := min(e.timers.next(), e.nextPump, e.countersNextAt())
	switch {
	case e.waiting == 0:
	case e.call.underWay && e.call.missing == 0:
		at = min(at, e.now) // with the next entry it ends
	case e.call.underWay:
		at = min(at, e.call.until)
	default:
		for i := range e.processes {
			// Its silence matters to others that wait behind.
			if p := &e.processes[i]; !p.silent && p.waiting < e.waiting {
				at = min(at, p.next())
			}
		}
	}
	return at
}

// Now gives the time of the latest command.
func (e *Engine) Now() Time { return e.now }

// Digest is chained over every event so far, but for the limits that events name to
// explain themselves: engines that were fed the same commands have the same.
func (e *Engine) Digest() uint64 { return e.digest }

func (e *Engine) emit(ev Event) { e.events = append(e.events, ev) }

// mix adds to the digest what no event tells.
func (e *Engine) mix(x uint64) {
	e.digest = (e.digest ^ x) * 0x9E3779B97F4A7C15
	e.digest ^= e.digest >> 32
}

// chain mixes an event into the digest.
func (e *Engine) chain(ev *Event) {
	h := e.digest
	mix := func(x uint64) {
		h ^= x
		h *= 0x9E3779B97F4A7C15
		h ^= h >> 32
	}
	mix(uint64(ev.Kind) | uint64(ev.Reason)<<8 | uint64(ev.Refunds)<<16 | uint64(ev.Debts)<<24)
	mix(ev.Lease.Incarnation)
	mix(ev.Lease.Count)
	for i := 0; i < len(ev.Key); i += 8 {
		mix(uint64(ev.Key[i]) | uint64(ev.Key[i+1])<<8 | uint64(ev.Key[i+2])<<16 | uint64(ev.Key[i+3])<<24 |
			uint64(ev.Key[i+4])<<32 | uint64(ev.Key[i+5])<<40 | uint64(ev.Key[i+6])<<48 | uint64(ev.Key[i+7])<<56)
	}
	for i := 0; i < len(ev.Pool); i++ {
		h = (h ^ uint64(ev.Pool[i])) * 0x100000001B3
	}
	mix(uint64(ev.Waited))
	mix(uint64(ev.Left))
	mix(uint64(ev.RetryAfter))
	if ev.Kind == Counted {
		mix(uint64(ev.Remaining)<<2 | bit(ev.Over)<<1 | bit(ev.Charged))
		mix(uint64(ev.ResetAfter))
	}
	mix(uint64(e.now))
	e.digest = h
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// runTimers ends what has ended by now: TTLs, patience, places, memories.
func (e *Engine) runTimers() {
	for e.timers.next() <= e.now {
		t := e.timers.timers[0].ticket
		switch t.state {
		case ticketWaiting:
			e.endWait(t)
		case ticketOpen:
			e.expire(t)
		default:
			e.forget(t)
		}
	}
}

// endWait refuses a waiter whose patience has ended, or forgets a place that lapsed.
func (e *Engine) endWait(t *ticket) {
	if t.absent() {
		e.emit(Event{Kind: Lapsed, Key: t.key, Lease: t.lease})
	} else {
		ev := Event{Kind: Refused, Reason: WaitTooLong, Key: t.key, Lease: t.lease}
		e.explain(t, &ev)
		e.emit(ev)
	}
	e.dismiss(t)
}

// dismiss ends a waiter.
func (e *Engine) dismiss(t *ticket) {
	e.leaveQueues(t)
	e.classes[t.class].waiting--
	e.waiting--
	e.own(t.lease.Incarnation, -1)
	e.forget(t)
}

// touch marks a pool to be looked at again.
func (e *Engine) touch(p *pool) {
	p.dirty = true
	e.anyDirty = true
}

// freed marks the pools whose waiters a limit may have stopped.
func (e *Engine) freed(l *limit, pr *project) {
	switch {
	case l.dead:
	case l.scope == ScopePool:
		e.touch(e.poolNames[l.owner])
	case l.scope == ScopeOrganization:
		for _, p := range e.pools {
			if p.waiting > 0 {
				e.touch(p)
			}
		}
	default:
		for _, f := range pr.flows {
			if f != nil && f.state == flowParked {
				f.pool.ready(f)
				e.touch(f.pool)
			}
		}
	}
}
