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
	away    bool  // waiting: the caller is not there
	shared  bool  // more than one process asked under the key
	keyed   bool  // engine.keys points here
	rank    uint8 // of the granted target
	timer   int32 // position in the heap; < 0: none
	project *project
	arrived Time // when the RPC arrived that is answered
	until   Time // waiting: end of the patience; open: end of the TTL
	ttl     time.Duration

	places []*place // waiting: one a pool that may serve it

	// A lease.
	granted Time
	pool    *pool // nil when the configuration no longer has it
	model   string
	work    int64
	holds   []hold
}

// A hold is what a lease has in one limit.
type hold struct {
	limit  *limit
	amount int64  // the estimate; after settling, what was used
	seen   int64  // used so far; on completion, what of it is in the window
	number uint32 // of the entry that holds it
	flags  ChargeFlags
	done   bool // a stock that was freed, a reservation that ended
}

// free lists keep what was used once, so that the steady state allocates nothing.
type pools struct {
	tickets []*ticket
	places  []*place
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
	*t = ticket{seq: e.seq, timer: -1, places: t.places[:0], holds: t.holds[:0]}
	return t
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
	for i, pl := range t.places {
		p := pl.flow.pool
		wasHead := pl.flow.first == pl
		pl.flow.leave(pl)
		if wasHead {
			e.touch(p) // another head may fit where this one did not
		}
		pl.ticket, pl.flow = nil, nil
		e.free.places = append(e.free.places, pl)
		t.places[i] = nil
	}
	t.places = t.places[:0]
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
	t.pool, t.project = nil, nil
	clear(t.holds)
	e.free.tickets = append(e.free.tickets, t)
}
