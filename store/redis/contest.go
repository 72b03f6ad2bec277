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
	echo     chan struct{}  // closed when what we said came back to us; nil: it has
	finished bool           // the log is closed, and both are
}

func (c *contest) init() { c.heard, c.created = make(chan struct{}), make(chan struct{}) }

// enter begins a contest, and gives what is closed when another has won it, and when what
// we say comes back to us.
func (c *contest) enter() (created, echo <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again()
	c.echo = make(chan struct{})
	return c.created, c.echo
}

// echoed notes that what we said came back.
func (c *contest) echoed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.echo != nil {
		close(c.echo)
		c.echo = nil
	}
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
	c.echoed()
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
// come further. It returns when it is this process's turn, or there is a log. settled: if
// there were others they would be heard of; where it can be seen that there are none,
// nobody is waited for.
func (l *Log) yield(ctx context.Context, s *stream, at store.Position, settled bool) error {
	created, echo := s.contest.enter()
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
	m := &message{sender: l.nudges.self, kind: missingMessage, at: at}
	listeners := int64(0)
	if settled {
		listeners = l.receivers(ctx, s, m)
	}
	switch listeners {
	case 0:
		_ = l.publish(ctx, s, m) // who does not hear of it may come later
	case 1: // this process, if it hears itself; then there is no other
		if err := wait(l.pause/claimPart, echo); err != nil || closed(echo) {
			return err
		}
	}
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

// receivers publishes a message and says how many got it; 0: that is not known, and perhaps
// nobody did. A cluster's node knows only of its own.
func (l *Log) receivers(ctx context.Context, s *stream, m *message) int64 {
	if l.cluster {
		return 0
	}
	replies, _, _, err := l.ask(ctx, l.timeout, "publish", [][]any{{"publish", s.keys.channel, m.String()}})
	if err != nil {
		return 0
	}
	n, _ := replies[0].(int64)
	return n
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
