package memory

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

// Options say how a log behaves. The zero value is the embedded default.
type Options struct {
	// Clock reads the time; Unix nanoseconds that never decrease. Default: the wall clock
	// as it was when the log was opened, carried on by the monotonic one, so that it
	// never steps.
	Clock func() int64
	// Keep keeps entries for other readers and for loading again, until snapshots cover
	// them. Default: nothing is kept.
	Keep bool
}

// Log is a store.Log in memory.
type Log struct {
	clock  func() int64
	keep   bool
	opened store.Time
	ahead  atomic.Int64 // ≥ 0: how far log time is ahead of the clock; see Create

	mu        sync.Mutex
	closed    bool
	streams   map[string]*stream
	histories uint64 // logs that were begun
	appends   uint64
}

var _ store.Log = (*Log)(nil)

// Open gives an empty log.
func Open(o Options) *Log {
	if o.Clock == nil {
		o.Clock = steadyClock()
	}
	l := &Log{clock: o.Clock, keep: o.Keep, streams: map[string]*stream{}}
	l.opened = l.now()
	return l
}

// steadyClock gives a wall clock that nobody can set.
func steadyClock() func() int64 {
	start := time.Now()
	unix := start.UnixNano()
	return func() int64 { return unix + int64(time.Since(start)) }
}

func (l *Log) now() store.Time { return store.Time(l.clock() + l.ahead.Load()) }

// Now implements store.Log. All claims count: there is one clock.
func (l *Log) Now(string) (store.Claim, bool) { return store.Claim{Time: l.now()}, true }

// Load implements store.Log.
func (l *Log) Load(_ context.Context, organization string) (store.Snapshot, []store.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return store.Snapshot{}, nil, store.ErrClosed
	}
	s := l.living(organization)
	if s == nil || !s.complete() {
		return store.Snapshot{}, nil, store.ErrNotFound
	}
	snapshot := s.snapshot
	snapshot.History = s.last.Major
	return snapshot, slices.Clone(s.after(snapshot.Position)), nil
}

// Create implements store.Log.
func (l *Log) Create(_ context.Context, organization string, from store.Snapshot) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return store.ErrClosed
	}
	l.sweep()
	old := l.living(organization)
	if old != nil && old.complete() {
		return store.ErrExists
	}
	now := l.now()
	if d := from.Time - now; d > 0 { // a state from another clock: go on from its time
		l.ahead.Add(int64(d))
		now = from.Time
	}
	l.histories++
	snapshot := store.Snapshot{Position: store.Position{Major: l.histories}, Time: now, State: from.State}
	if len(from.State) == 0 && old == nil {
		snapshot.Kept = time.Duration(now - l.opened)
	}
	l.streams[organization] = begin(snapshot)
	return nil
}

// Append implements store.Log. The payload of the batch is copied only to be kept.
func (l *Log) Append(_ context.Context, organization string, after store.Position, batch store.Batch, entries []store.Entry) ([]store.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return entries, store.ErrClosed
	}
	if l.appends++; l.appends%sweepEvery == 0 {
		l.sweep()
	}
	s := l.streams[organization]
	if s == nil || !s.has(after) {
		return entries, store.ErrBroken
	}
	entries = append(entries, s.after(after)...)
	if batch.Number == 0 {
		return entries, nil
	}
	e := s.next(&batch)
	if l.keep {
		e.Payload = bytes.Clone(batch.Payload)
		s.tail = append(s.tail, e)
	}
	return append(entries, e), nil
}

// Install implements store.Log. A log that keeps no entries takes only a snapshot of the
// latest.
func (l *Log) Install(_ context.Context, organization string, snapshot store.Snapshot) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return store.ErrClosed
	}
	s := l.living(organization)
	if s == nil {
		return store.ErrNotFound
	}
	return s.install(snapshot)
}

// Close implements io.Closer. What the log had is gone.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.streams = true, nil
	return nil
}

const (
	sweepEvery = 256 // appends
	sweepSize  = 16  // organizations that are looked at
)

// sweep forgets some of the organizations that have been idle for longer than their hold.
func (l *Log) sweep() {
	now, n := l.now(), 0
	for organization, s := range l.streams {
		if s.expired(now) {
			delete(l.streams, organization)
		}
		if n++; n == sweepSize {
			return
		}
	}
}

// living gives the stream of an organization unless it has been idle too long.
func (l *Log) living(organization string) *stream {
	s := l.streams[organization]
	if s != nil && s.expired(l.now()) {
		delete(l.streams, organization)
		return nil
	}
	return s
}
