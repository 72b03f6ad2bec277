package redis

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

// A stream is what this process knows of an organization's log. All of it but the clock can
// be read again.
type stream struct {
	organization string
	keys         keys
	contest      contest

	mu     sync.Mutex
	clock  clock
	server string // that answered last; "": none has
	// known is what the transport had met when all was loaded. What it has met since may
	// lack the end of what was read.
	known uint64
	// The timelines of the last entries that were read, so that they need not be computed
	// again: a ring, of which next is to be written.
	marks [16]timeline
	next  int
	// newest is the last entry that was read. An answer that was overtaken by a later one
	// says nothing of the present.
	newest store.Position
	// doubted: a process could not find the log. If it is only the snapshot that is missing,
	// those who follow the entries do not notice, and one that knows nothing would begin anew.
	doubted bool

	// When the keys go. Times of the monotonic clock; forever: never.
	refreshed int64         // when their TTL was set last, by this process
	ttl       time.Duration // to which; 0: it was not
	endless   bool          // the last entry says that they have none
	kept      int64         // until then they cannot have gone of themselves
	readAt    int64         // when what is there was read last
	loaded    bool          // it was read since this process began the log, if it did
	used      int64
	shown     bool // this process has shown something, which goes with the keys

	incarnations map[uint64]bool // of this process
}

func newStream(organization string, k keys) *stream {
	s := &stream{organization: organization, keys: k, incarnations: map[uint64]bool{}}
	s.contest.init()
	return s
}

const forever = math.MaxInt64

// mark finds the timeline at a position.
func (s *stream) mark(at store.Position) (timeline, bool) {
	for i := range s.marks {
		if m := &s.marks[(s.next+len(s.marks)-1-i)%len(s.marks)]; m.at == at && m.base != 0 {
			return *m, true
		}
	}
	return timeline{}, false
}

// from notes who answered, and says whether that is another than before. Nothing that was
// computed of the other's answers is used again.
func (s *stream) from(server string) (changed bool) {
	changed = s.server != "" && s.server != server
	s.server = server
	if changed {
		s.forget()
	}
	return changed
}

// forget lets go of what belongs to a history that may be gone.
func (s *stream) forget() {
	s.marks, s.newest, s.ttl, s.doubted = [len(s.marks)]timeline{}, store.Position{}, 0, false
}

// read computes the times of entries that follow a position, and goes by what they say.
// now is of the monotonic clock, when they had been read.
func (s *stream) read(t timeline, entries []entry, now int64, to []store.Entry) []store.Entry {
	s.readAt, s.loaded = now, true
	for i := range entries {
		e := &entries[i]
		before := t.base
		t.next(e)
		if t.base != before {
			s.clock.read(&t, before, now)
		}
		s.note(&t)
		s.hold(e.hold, now)
		to = append(to, store.Entry{Position: e.Position, Time: t.time, Join: e.join, Payload: []byte(e.payload)})
	}
	if t.at.Compare(s.newest) >= 0 {
		s.newest = t.at
		s.clock.follow(&t, now)
	}
	return to
}

// note keeps a timeline.
func (s *stream) note(t *timeline) {
	s.marks[s.next] = *t
	s.next = (s.next + 1) % len(s.marks)
}

// hold notes that an entry was there, and for how long it stays at least.
func (s *stream) hold(d time.Duration, now int64) {
	s.endless = d == 0
	if s.endless || d > time.Duration(forever-now) {
		s.kept = forever
	} else {
		s.kept = now + int64(d)
		if d+grace+refreshEvery < s.ttl { // its sender may have set less than we did
			s.ttl = 0
		}
	}
}

// refreshEvery is how often the keys' TTL is set again, and grace what is added to it: more
// than refreshEvery, so that they live for the hold of the last entry at least.
const (
	refreshEvery = time.Second
	grace        = 2 * time.Second
)

// expiry gives the commands that keep the keys for as long as a batch says; none if they
// are kept already. done is called if they were obeyed.
func (s *stream) expiry(hold time.Duration, now int64) (commands [][]any, done func()) {
	ttl := hold + grace
	if hold <= 0 || hold > math.MaxInt64/2 {
		ttl = forever
	}
	if s.ttl >= ttl && now-s.refreshed < int64(refreshEvery) && (ttl == forever) == (s.ttl == forever) {
		return nil, func() {}
	}
	all := []string{s.keys.log, s.keys.snapshot, s.keys.board}
	if !s.shown {
		all = all[:2]
	}
	for _, key := range all {
		if ttl == forever {
			commands = append(commands, []any{"persist", key})
		} else {
			commands = append(commands, []any{"pexpire", key, ttl.Milliseconds()})
		}
	}
	return commands, func() { s.refreshed, s.ttl = now, ttl }
}

// idle says whether nobody has asked for the organization in a long time, and its keys have
// gone.
func (s *stream) idle(now int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept < now && s.used < now-int64(idleAfter)
}

const idleAfter = 10 * time.Minute

// entriesOf reads what XRANGE answers.
func entriesOf(reply any) ([]entry, error) {
	list, ok := reply.([]any)
	if !ok && reply != nil {
		return nil, fmt.Errorf("redis: it answers a %T, and not a list of entries", reply)
	}
	out := make([]entry, len(list))
	for i := range list {
		var err error
		if out[i], err = parseEntry(list[i]); err != nil {
			return nil, fmt.Errorf("redis: read an entry: %w", err)
		}
	}
	return out, nil
}
