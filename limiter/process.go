package limiter

import (
	"cmp"
	"slices"
	"time"
)

// How long a process goes on mattering that is not heard: none of its entries comes.
const (
	heardWithin   = 3 * time.Second  // then it is silent: its waiters are not granted
	lapsesAfter   = 10 * time.Second // then their places lapse
	processKept   = 10 * time.Minute // then it is forgotten, unless it owns waiters
	mostProcesses = 1024             // beyond, the one that was heard the longest ago is forgotten
)

// A process is one that serves the organization, from its start on: an incarnation of a
// replica. What it owns are the waiters whose latest proposal was its own.
type process struct {
	id        uint64
	behaviour uint32 // the latest that it knows; 0: it has not said
	number    uint64 // of the latest batch that was applied; 0: none, so nothing is concluded from its silence
	heard     Time
	waiting   int  // waiters that it owns
	silent    bool // they are marked so
	missing   bool // the roll call waits for it
	seat      int  // its number + 1; 0: it has none
}

// Begin begins an entry of the log: what is applied next is the batch of that process, by
// its number; they rise from 1. False says that this batch has been applied already, or a
// later one of that process: it is a late copy, and its commands must not be applied. In
// either case the process counts as heard. Time moves as by Apply.
func (e *Engine) Begin(incarnation, number uint64, now Time) bool {
	e.now = max(e.now, min(now, latest))
	e.entries++
	e.sender = incarnation
	e.call.telling = false
	if e.nextForgotten < e.now {
		e.forgetProcesses()
	}
	p := e.hear(incarnation)
	fresh := number > p.number
	p.number = max(p.number, number)
	e.watch()
	return fresh
}

// Entries tells how many entries have begun since the log did.
func (e *Engine) Entries() uint64 { return e.entries }

// A Peer is a process that serves the organization, as it stands.
type Peer struct {
	Incarnation uint64
	Behaviour   uint32 // the latest that it knows; 0: it has not joined yet
	Heard       Time
	Number      uint64 // of its latest batch
	Waiting     int    // waiters that it owns
}

// Peers appends the processes that are known, by incarnation.
func (e *Engine) Peers(to []Peer) []Peer {
	for i := range e.processes {
		p := &e.processes[i]
		to = append(to, Peer{p.id, p.behaviour, p.heard, p.number, p.waiting})
	}
	return to
}

// process finds a process; nil if none is known by that name. It is to be used before the
// next one becomes known.
func (e *Engine) process(id uint64) *process {
	for i := range e.processes {
		if e.processes[i].id >= id {
			if e.processes[i].id == id {
				return &e.processes[i]
			}
			break
		}
	}
	return nil
}

// hear notes that a process is there, and gives its waiters back their places.
func (e *Engine) hear(id uint64) *process {
	p := e.process(id)
	if p == nil {
		if len(e.processes) >= mostProcesses {
			e.forgetOldest()
		}
		at, _ := slices.BinarySearchFunc(e.processes, id, func(p process, id uint64) int { return cmp.Compare(p.id, id) })
		e.processes = slices.Insert(e.processes, at, process{id: id})
		p = &e.processes[at]
		e.findSeat(p)
		for _, tm := range e.timers.timers {
			if tm.ticket.state == ticketWaiting && tm.ticket.lease.Incarnation == id {
				p.waiting++
			}
		}
	}
	p.heard = e.now
	e.keepSeat(p)
	if p.silent {
		e.revive(p)
	}
	return p
}

// join remembers what a process knows. Whoever joins has told all that it knew.
func (e *Engine) join(c *Join) {
	p := e.hear(c.Incarnation)
	p.behaviour = c.Behaviour
	e.sit(p)
	e.come(p)
	e.watch()
}

// forgetProcesses ends those that were not heard for long.
func (e *Engine) forgetProcesses() {
	kept := e.processes[:0]
	for i := range e.processes {
		if p := &e.processes[i]; p.waiting > 0 || p.heard.Add(processKept) >= e.now {
			kept = append(kept, *p)
		} else if p.missing {
			e.call.missing--
		}
	}
	e.processes = kept
}

func (e *Engine) forgetOldest() {
	oldest := -1
	for i := range e.processes {
		if p := &e.processes[i]; p.waiting == 0 && (oldest < 0 || p.heard < e.processes[oldest].heard) {
			oldest = i
		}
	}
	if oldest < 0 {
		return
	}
	if e.processes[oldest].missing {
		e.call.missing--
	}
	e.processes = slices.Delete(e.processes, oldest, oldest+1)
}

// own notes that a process has one waiter more, or less.
func (e *Engine) own(id uint64, by int) (silent bool) {
	p := e.process(id)
	if p == nil {
		return false
	}
	if p.waiting += by; by > 0 {
		e.nextSilence = min(e.nextSilence, p.next())
	}
	return p.silent
}

// next gives the time at which the silence of a process comes to matter.
func (p *process) next() Time {
	switch {
	case p.waiting == 0 || p.number == 0:
		return Never
	case p.silent:
		return p.heard.Add(lapsesAfter)
	}
	return p.heard.Add(heardWithin)
}

// watch finds when a silence comes to matter, whichever it is, and when anybody may be
// forgotten.
func (e *Engine) watch() {
	silence, heard := Never, Never
	for i := range e.processes {
		p := &e.processes[i]
		heard = min(heard, p.heard)
		if p.waiting > 0 {
			silence = min(silence, p.next())
		}
	}
	e.nextSilence, e.nextForgotten = silence, heard.Add(processKept)
}

// listen marks the waiters of processes that have become silent, and ends the places of
// those that have been for long.
func (e *Engine) listen() {
	for i := range e.processes {
		p := &e.processes[i]
		if p.next() <= e.now && !p.silent {
			p.silent = true
			for _, t := range e.waitersOf(p) {
				e.hush(t)
			}
		}
		if p.next() <= e.now && p.silent {
			for _, t := range e.waitersOf(p) {
				e.emit(Event{Kind: Lapsed, Key: t.key, Lease: t.lease})
				e.dismiss(t)
			}
		}
	}
	e.watch()
}

// waitersOf lists what a process owns, in the order of arrival. It is for the rare moments
// in which all of them change.
func (e *Engine) waitersOf(p *process) (own []*ticket) {
	for _, tm := range e.timers.timers {
		if t := tm.ticket; t.state == ticketWaiting && t.lease.Incarnation == p.id {
			own = append(own, t)
		}
	}
	slices.SortFunc(own, func(a, b *ticket) int { return cmp.Compare(a.seq, b.seq) })
	return own
}

// hush marks a waiter whose process is silent.
func (e *Engine) hush(t *ticket) {
	was := t.absent()
	t.silent = true
	if !was {
		e.depart(t)
	}
}

// revive gives the waiters of a process that is heard again their places. The next command
// looks whether any of them can go.
func (e *Engine) revive(p *process) {
	p.silent = false
	after := map[*flow]*place{}
	for _, t := range e.waitersOf(p) {
		t.silent = false
		if !t.absent() {
			e.arrive(t, after)
		}
	}
	for _, p := range e.pools {
		if p.dirty {
			p.nextAt = e.now // a snapshot does not know that it is dirty
			e.nextPump = e.now
		}
	}
}
