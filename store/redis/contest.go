package redis

import (
	"context"
	"sync"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

// A contest decides who begins a log that is gone: the process that has come furthest, so
// that nobody starts with less than somebody knows. It is decided by what they tell each
// other, and by waiting; the script of Create lets only the first in.
type contest struct {
	mu       sync.Mutex
	heard    chan struct{}  // closed when we hear the others
	hears    bool           // heard is closed
	best     store.Position // of others
	created  chan struct{}  // closed when one of them has begun it
	over     bool           // created is closed
	finished bool           // the log is closed, and both are
}

func (c *contest) init() { c.heard, c.created = make(chan struct{}), make(chan struct{}) }

// enter begins a contest, and gives what is closed when another has won it.
func (c *contest) enter() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again()
	return c.created
}

// again begins anew after a contest that is over. The caller holds mu.
func (c *contest) again() {
	if c.over && !c.finished {
		c.best, c.created, c.over = store.Position{}, make(chan struct{}), false
	}
}

// hear notes that we hear the others, and says whether we did before.
func (c *contest) hear() (before bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before = c.hears
	if !before {
		c.hears = true
		close(c.heard)
	}
	return before
}

// take notes what another process says.
func (c *contest) take(m *message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m.kind {
	case missingMessage:
		c.again() // that process has noticed before us
		if m.at.Compare(c.best) > 0 {
			c.best = m.at
		}
	case createdMessage:
		c.end()
	}
}

// end ends a contest. The caller holds mu.
func (c *contest) end() {
	if !c.over {
		c.over = true
		close(c.created)
	}
}

// finish lets go who waits, for good.
func (c *contest) finish() {
	c.hear()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finished = true
	c.end()
}

func (c *contest) beaten(at store.Position) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.best.Compare(at) > 0
}

// claimPart of the time is for processes with a state to hear of each other.
const claimPart = 3

// yield tells the others how far this process had come, and lets those go first that had
// come further. It returns when it is this process's turn, or there is a log.
func (l *Log) yield(ctx context.Context, s *stream, at store.Position) error {
	created := s.contest.enter()
	started := l.monotonic()
	wait := func(until time.Duration, done <-chan struct{}) error {
		if d := until - time.Duration(l.monotonic()-started); d > 0 {
			l.wait(ctx, d, done)
		}
		switch {
		case l.closing.Err() != nil:
			return store.ErrClosed
		case ended(ctx) != nil:
			return l.failure(ctx, "create", ended(ctx))
		}
		return nil
	}
	if err := wait(l.pause, s.contest.heard); err != nil { // what is said before we hear it is lost
		return err
	}
	_ = l.publish(ctx, s, &message{kind: missingMessage, at: at}) // who does not hear of it may come later
	for _, part := range [...]time.Duration{l.pause / claimPart, l.pause} {
		if err := wait(part, created); err != nil || closed(created) {
			return err
		}
		if at != (store.Position{}) && !s.contest.beaten(at) {
			return nil
		}
	}
	return nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
