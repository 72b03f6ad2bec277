package clock

import (
	"fmt"
	"time"
)

// A Queue holds events until their time. The zero value is empty and stands at 0.
type Queue[E any] struct {
	heap []entry[E] // a heap of four children per node, least first
	seq  uint64     // events put in so far
	now  time.Duration
}

type entry[E any] struct {
	at    time.Duration
	seq   uint64 // breaks ties: first in, first out
	event E
}

func (a *entry[E]) before(b *entry[E]) bool {
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

// At puts an event in. t counts from the start of the simulation; it must not lie
// before Now, for the past cannot be changed: that is a bug of the caller and panics.
func (q *Queue[E]) At(t time.Duration, event E) {
	if t < q.now {
		panic(fmt.Sprintf("clock: event at %v, but it is %v already", t, q.now))
	}
	q.heap = append(q.heap, entry[E]{t, q.seq, event})
	q.seq++
	q.up(len(q.heap) - 1)
}

// Now is the time of the latest event taken out, or the latest end of a Run.
func (q *Queue[E]) Now() time.Duration { return q.now }

// Len is the number of events that wait.
func (q *Queue[E]) Len() int { return len(q.heap) }

// Peek gives the time of the next event; ok is false when there is none.
func (q *Queue[E]) Peek() (t time.Duration, ok bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

// Next takes the next event out and moves Now to its time; ok is false when there is none.
func (q *Queue[E]) Next() (t time.Duration, event E, ok bool) {
	n := len(q.heap)
	if n == 0 {
		return q.now, event, false
	}
	first := q.heap[0]
	q.heap[0] = q.heap[n-1]
	q.heap[n-1] = entry[E]{} // lets go of what the event points to
	q.heap = q.heap[:n-1]
	if n > 1 {
		q.down(0)
	}
	q.now = first.at
	return first.at, first.event, true
}

// Run hands every event up to and including the time until to do, those that do puts
// in on the way included, and leaves Now at until.
func (q *Queue[E]) Run(until time.Duration, do func(now time.Duration, event E)) {
	for len(q.heap) > 0 && q.heap[0].at <= until {
		t, event, _ := q.Next()
		do(t, event)
	}
	q.now = max(q.now, until)
}

// Drain hands every event to do until none is left; Now stays at the last one.
func (q *Queue[E]) Drain(do func(now time.Duration, event E)) {
	for len(q.heap) > 0 {
		t, event, _ := q.Next()
		do(t, event)
	}
}

func (q *Queue[E]) up(i int) {
	moving := q.heap[i]
	for i > 0 {
		parent := (i - 1) / 4
		if !moving.before(&q.heap[parent]) {
			break
		}
		q.heap[i] = q.heap[parent]
		i = parent
	}
	q.heap[i] = moving
}

func (q *Queue[E]) down(i int) {
	moving, n := q.heap[i], len(q.heap)
	for {
		least := 4*i + 1
		if least >= n {
			break
		}
		for c := least + 1; c < min(4*i+5, n); c++ {
			if q.heap[c].before(&q.heap[least]) {
				least = c
			}
		}
		if !q.heap[least].before(&moving) {
			break
		}
		q.heap[i] = q.heap[least]
		i = least
	}
	q.heap[i] = moving
}
