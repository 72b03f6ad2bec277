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
	confirmed chan struct{} // closed when we hear the others
	heard     sync.Once     // closes it

	mu      sync.Mutex
	best    store.Position // of others
	created chan struct{}  // closed when one of them has begun it
	over    bool           // created is closed
}

func (c *contest) init() { c.confirmed, c.created = make(chan struct{}), make(chan struct{}) }

// enter begins a contest, and gives what is closed when another has won it.
func (c *contest) enter() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again()
	return c.created
}

// again begins anew after a contest that is over. The caller holds mu.
func (c *contest) again() {
	if c.over {
		c.best, c.created, c.over = store.Position{}, make(chan struct{}), false
	}
}

// take notes what another process says.
func (c *contest) take(m *message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case m.kind == missingMessage:
		c.again() // that process has noticed before us
		if m.at.Compare(c.best) > 0 {
			c.best = m.at
		}
	case m.kind == createdMessage && !c.over:
		c.over = true
		close(c.created)
	}
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
	started := time.Now()
	select { // what is said before we hear it is lost
	case <-s.contest.confirmed:
	case <-time.After(l.pause):
	case <-ctx.Done():
		return l.failure(ctx, "create", ctx.Err())
	case <-l.closing.Done():
		return store.ErrClosed
	}
	_ = l.publish(ctx, s, &message{kind: missingMessage, at: at}) // who does not hear of it may come later
	for _, part := range [...]time.Duration{l.pause / claimPart, l.pause} {
		wait := time.NewTimer(part - time.Since(started))
		select {
		case <-wait.C:
		case <-created:
			wait.Stop()
			return nil
		case <-ctx.Done():
			wait.Stop()
			return l.failure(ctx, "create", ctx.Err())
		case <-l.closing.Done():
			wait.Stop()
			return store.ErrClosed
		}
		if at != (store.Position{}) && !s.contest.beaten(at) {
			return nil
		}
	}
	return nil
}
