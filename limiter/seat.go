package limiter

import "time"

const (
	// SeatTime is for how long after a process was last heard its seat is its own.
	SeatTime = 24 * time.Hour
	// seatSpare is more than clocks drift apart in that time.
	seatSpare = time.Hour
	// mostSeats is how many there are; those who join when all are taken have none.
	mostSeats = 64
)

// A seat is what a process decides from that does so on its own, for it cannot reach the log:
// with n seats each may do an nth of what all may. So no seat is given to another while its
// process may still decide, nor while what it has decided still counts in a pool.
type seat struct {
	id    uint64 // of the process that has it; 0: nobody
	heard Time   // when that process was last; or when it left
	left  bool   // for good, having decided something on its own
}

// Seat tells the number of a process's seat, from 0 on, and until when it is its own if the
// process is not heard any more; false if it has none.
func (e *Engine) Seat(incarnation uint64) (number int, until Time, ok bool) {
	for i := range e.seats {
		if s := &e.seats[i]; s.id == incarnation && s.id != 0 && !s.left {
			return i, s.heard.Add(SeatTime), true
		}
	}
	return 0, 0, false
}

// sit gives a process that joins the lowest seat that is free, unless it has one.
func (e *Engine) sit(p *process) {
	if _, _, ok := e.Seat(p.id); ok || p.id == 0 {
		e.keepSeat(p)
		return
	}
	for i := range e.seats {
		if e.vacant(&e.seats[i]) {
			e.seats[i] = seat{id: p.id, heard: e.now}
			p.seat = i + 1
			return
		}
	}
	if len(e.seats) < mostSeats {
		e.seats = append(e.seats, seat{id: p.id, heard: e.now})
		p.seat = len(e.seats)
	}
}

// keepSeat notes that a process is heard.
func (e *Engine) keepSeat(p *process) {
	if p.seat > 0 {
		if s := &e.seats[p.seat-1]; s.id == p.id && !s.left {
			s.heard = e.now
		}
	}
}

// findSeat finds the seat of a process that had been forgotten.
func (e *Engine) findSeat(p *process) {
	for i := range e.seats {
		if s := &e.seats[i]; s.id == p.id && s.id != 0 && !s.left {
			p.seat = i + 1
		}
	}
}

// vacant says whether a seat may be given to another.
func (e *Engine) vacant(s *seat) bool {
	switch {
	case s.id == 0:
		return true
	case s.left:
		return s.heard.Add(e.poolHold()) < e.now
	}
	return s.heard.Add(SeatTime+seatSpare+e.poolHold()) < e.now
}

// poolHold is how long what is charged to a pool counts at most.
func (e *Engine) poolHold() (longest time.Duration) {
	for _, p := range e.pools {
		for _, l := range p.limits {
			hold := l.hold
			if l.Shape == Calendar {
				hold = longestPeriod[min(l.Period, Month)] + l.Jitter
			}
			longest = max(longest, hold)
		}
	}
	return min(longest, time.Duration(maxSpan))
}

// quit takes a process from its seat, which it leaves for good.
func (e *Engine) quit(c *Leave) {
	for i := range e.seats {
		s := &e.seats[i]
		switch {
		case s.id != c.Incarnation || s.id == 0 || s.left:
		case c.Spent:
			s.heard, s.left = e.now, true
		default:
			*s = seat{}
		}
	}
}

func (w *writer) seats(e *Engine) {
	w.uint(uint64(len(e.seats)))
	for _, s := range e.seats {
		w.fixed(s.id)
		w.time(s.heard)
		w.bool(s.left)
	}
}

func (r *reader) seats(e *Engine) {
	n := r.length(10)
	if n > mostSeats {
		r.fail()
		return
	}
	for ; n > 0; n-- {
		s := seat{r.fixed(), r.time(), r.bool()}
		if _, _, twice := e.Seat(s.id); twice && !s.left {
			r.fail()
			return
		}
		e.seats = append(e.seats, s)
	}
	for i := range e.processes {
		e.findSeat(&e.processes[i])
	}
}
