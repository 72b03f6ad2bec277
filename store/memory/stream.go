package memory

import (
	"math"

	"github.com/watermaster-project/watermaster/store"
)

// A stream is the log of one organization.
//
// Places are counted: Major tells histories apart, Minor numbers the entries of one.
type stream struct {
	last     store.Position // of the latest entry, or the beginning
	time     store.Time     // there
	expires  store.Time     // idle until then, it may be forgotten; noExpiry: never
	snapshot store.Snapshot
	base     store.Position // of the entry before tail[0]
	tail     []store.Entry  // consecutive; ends at last where entries are kept
}

const noExpiry = store.Time(math.MaxInt64)

func begin(s store.Snapshot) *stream {
	return &stream{last: s.Position, time: s.Time, expires: noExpiry, snapshot: s, base: s.Position}
}

func (s *stream) expired(now store.Time) bool { return now > s.expires }

// complete says whether all that follows the snapshot is here.
func (s *stream) complete() bool { return s.has(s.snapshot.Position) }

// has says whether everything after a position is here, and the position is of this
// history.
func (s *stream) has(p store.Position) bool {
	if p == s.last {
		return true
	}
	if p == s.base {
		return s.base.Minor+uint64(len(s.tail)) == s.last.Minor
	}
	i := p.Minor - s.base.Minor - 1 // wraps round below the base
	return i < uint64(len(s.tail)) && s.tail[i].Position == p
}

// after gives the entries after a position that the stream has.
func (s *stream) after(p store.Position) []store.Entry {
	if p == s.last {
		return nil
	}
	return s.tail[p.Minor-s.base.Minor:]
}

// next gives a batch its place and time.
func (s *stream) next(b *store.Batch) store.Entry {
	s.last = store.Position{
		Major: s.last.Major, Minor: s.last.Minor + 1,
		Incarnation: b.Incarnation, Number: b.Number,
	}
	s.time = max(s.time, b.Claim.Time)
	s.expires = noExpiry
	if t := s.time + store.Time(b.Hold); b.Hold > 0 && t > s.time {
		s.expires = t
	}
	return store.Entry{Position: s.last, Time: s.time, Join: b.Join, Payload: b.Payload}
}

// install takes a later snapshot, and lets go of what the one before it covered.
func (s *stream) install(n store.Snapshot) error {
	if n.Position.Minor <= s.snapshot.Position.Minor || !s.has(n.Position) {
		return store.ErrStale
	}
	at := s.time
	if i := n.Position.Minor - s.base.Minor - 1; i < uint64(len(s.tail)) {
		at = s.tail[i].Time
	}
	if old := s.snapshot.Position; s.has(old) {
		keep := s.tail[old.Minor-s.base.Minor:]
		s.tail = append(make([]store.Entry, 0, len(keep)), keep...)
		s.base = old
	}
	s.snapshot = store.Snapshot{Position: n.Position, Time: at, State: n.State}
	return nil
}
