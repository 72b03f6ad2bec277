package limiter

import "time"

// How long things are kept.
const (
	placeKept     = 10 * time.Second // a place whose caller is away
	settledKept   = 60 * time.Second // a settled lease, for those who release it twice
	unsettledKept = 10 * time.Minute // an expired lease, for a late release
)

type ticketState uint8

const (
	ticketFree    ticketState = iota
	ticketWaiting             // in the queues of its places
	ticketOpen                // granted: a lease in force
	ticketExpired             // a lease whose TTL has passed; its stocks are free
	ticketSettled             // released; remembered for a while
)

// A ticket is one attempt of one request from its Acquire until it is forgotten: a
// waiter first, a lease then.
type ticket struct {
	key     Key
	lease   LeaseID // the latest that was proposed while waiting; fixed by the grant
	seq     uint64  // order of arrival
	state   ticketState
	class   uint8
	away    bool   // waiting: the caller is not there
	silent  bool   // waiting: the process that owns it is not heard
	unpaced bool   // it has not waited: the pacer does not count
	shared  bool   // more than one process asked under the key, or the grant was told twice
	keyed   bool   // engine.keys points here
	unsent  bool   // settled so
	rank    uint8  // of the granted target
	model   uint16 // of the lease, among the pool's
	timer   int32  // position in the heap; < 0: none
	project *project
	arrived Time // when the RPC arrived that is answered
	until   Time // waiting: end of the patience; open, expired: end of the TTL; settled: when
	ttl     time.Duration

	queued *queued // waiting: where it stands

	// A lease.
	granted Time
	pool    *pool // nil when the configuration no longer has it
	work    int64
	holds   []packedHold
	seen    *[]int64 // by hold, what was reported; nil: nothing was
}

// A queued ticket stands at one place in each pool that may serve it.
type queued struct{ places []*place }

// A hold is what a lease has in one limit.
type hold struct {
	limit  *limit
	amount int64  // the estimate; after settling, what was used
	seen   int64  // used so far; on completion, what of it is in the window
	number uint32 // of the entry that holds it; in a bucket that was settled: see refunded
	flags  ChargeFlags
	done   bool // a stock that was freed
	late   bool // settled: a part was charged after the grant, as a debt
}

// A packedHold is how a lease keeps a hold: every replica keeps several for each lease of
// the last minutes.
type packedHold struct {
	amount int64
	limit  LimitID // stays that limit's until no lease names it
	mark   uint32  // the entry's number, of which 24 bits suffice, done, late, and the flags
}

const (
	markBits = 8
	markDone = 1 << 7
	markLate = 1 << 6
	flagBits = Pooled<<1 - 1
)

// keep packs a hold at the end of a lease's.
func (t *ticket) keep(h *hold) {
	t.holds = append(t.holds, packedHold{})
	t.pack(len(t.holds)-1, h)
}

// pack keeps a hold in its place.
func (t *ticket) pack(i int, h *hold) {
	p := packedHold{h.amount, h.limit.id, h.number<<markBits | uint32(h.flags&flagBits)}
	if h.done {
		p.mark |= markDone
	}
	if h.late {
		p.mark |= markLate
	}
	t.holds[i] = p
	if h.seen == 0 && t.seen == nil {
		return
	}
	if t.seen == nil {
		t.seen = &[]int64{}
	}
	for len(*t.seen) < len(t.holds) {
		*t.seen = append(*t.seen, 0)
	}
	(*t.seen)[i] = h.seen
}

// unpack gives a hold of a lease.
func (e *Engine) unpack(t *ticket, i int) hold {
	p := &t.holds[i]
	l := e.table[p.limit]
	h := hold{limit: l, amount: p.amount, flags: ChargeFlags(p.mark) & flagBits, done: p.mark&markDone != 0, late: p.mark&markLate != 0}
	h.number = l.window.head + (p.mark>>markBits-l.window.head)&(1<<(32-markBits)-1)
	if l.Shape == Calendar {
		h.number = p.mark >> markBits
	}
	if t.seen != nil {
		h.seen = (*t.seen)[i]
	}
	return h
}

// absent says that a waiter is not granted for now: nobody would take it.
func (t *ticket) absent() bool { return t.away || t.silent }

// refunded is how much of its estimate a settled hold in a bucket has given back, or a little
// more. A bucket has no entries whose number a hold would have to keep, so this stands in its
// place: 18 bits, and by how many more they are shifted.
func (h *hold) refunded() int64 {
	if h.limit.Shape != TokenBucket {
		return 0
	}
	return min(int64(h.number&(1<<mantissaBits-1))<<min(h.number>>mantissaBits, 33), maxAmount)
}

const mantissaBits = 18

// packRefund gives the number that refunded reads: at least the amount, which is in bounds.
func packRefund(amount int64) uint32 {
	for shift := uint32(0); ; shift++ {
		if m := (amount + 1<<shift - 1) >> shift; m < 1<<mantissaBits {
			return shift<<mantissaBits | uint32(m)
		}
	}
}

// places lists where a waiter stands.
func (t *ticket) places() []*place {
	if t.queued == nil {
		return nil
	}
	return t.queued.places
}

func (t *ticket) modelName() string {
	if t.pool == nil || int(t.model) >= len(t.pool.Models) {
		return ""
	}
	return t.pool.Models[t.model]
}

// free lists keep what was used once, so that the steady state allocates nothing.
type pools struct {
	tickets []*ticket
	places  []*place
	queued  []*queued
}

func (e *Engine) newTicket() *ticket {
	e.seq++
	var t *ticket
	if n := len(e.free.tickets); n > 0 {
		t = e.free.tickets[n-1]
		e.free.tickets = e.free.tickets[:n-1]
	} else {
		t = &ticket{}
	}
	*t = ticket{seq: e.seq, timer: -1, holds: t.holds[:0]}
	return t
}

// stand adds a place of a waiter.
func (e *Engine) stand(t *ticket, pl *place) {
	if t.queued == nil {
		if n := len(e.free.queued); n > 0 {
			t.queued, e.free.queued = e.free.queued[n-1], e.free.queued[:n-1]
		} else {
			t.queued = &queued{}
		}
	}
	t.queued.places = append(t.queued.places, pl)
}

func (e *Engine) newPlace() *place {
	if n := len(e.free.places); n > 0 {
		pl := e.free.places[n-1]
		e.free.places = e.free.places[:n-1]
		*pl = place{charges: pl.charges[:0]}
		return pl
	}
	return &place{}
}

// leaveQueues takes a waiter out of all pools.
func (e *Engine) leaveQueues(t *ticket) {
	if t.queued == nil {
		return
	}
	for i, pl := range t.queued.places {
		p := pl.flow.pool
		wasHead := pl.flow.first == pl
		pl.flow.leave(pl)
		if wasHead {
			e.touch(p) // another head may fit where this one did not
		}
		pl.ticket, pl.flow = nil, nil
		e.free.places = append(e.free.places, pl)
		t.queued.places[i] = nil
	}
	t.queued.places = t.queued.places[:0]
	e.free.queued = append(e.free.queued, t.queued)
	t.queued = nil
}

// forget ends a ticket.
func (e *Engine) forget(t *ticket) {
	if t.keyed {
		delete(e.keys, t.key)
		t.keyed = false
	}
	if t.state != ticketWaiting {
		delete(e.leases, t.lease)
	}
	e.timers.clear(t)
	t.project.tickets--
	t.state = ticketFree
	t.pool, t.project, t.seen = nil, nil, nil
	e.free.tickets = append(e.free.tickets, t)
}
