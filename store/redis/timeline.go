package redis

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

// A timeline gives entries their times. It depends on nothing but the entries, so all
// readers of a log have the same, wherever they begin: a snapshot carries its timeline.
type timeline struct {
	at   store.Position // of the last entry
	time store.Time     // there
	// Of the last entry that moved time, Redis's clock (its id, ms) and its sender's: only
	// a join is judged by them.
	id   uint64
	wall int64
	// base names the last join, or the beginning: a claim of who has not read it does not
	// count. It is made of the entry's position, so no other history has the same.
	base uint64
	// Of the last join, who sent it: sent again it is none.
	joiner, join uint64
}

// begin gives the timeline of a log's first entry.
func begin(e *entry) timeline {
	return timeline{at: e.Position, time: e.claim.Time, id: e.Major, wall: e.claim.Wall, base: name(e.Position)}
}

// next moves on by an entry.
func (t *timeline) next(e *entry) {
	t.at = e.Position
	switch {
	case e.join && e.Incarnation == t.joiner && e.Number == t.join:
	case e.join:
		t.move(t.time+store.Time(t.elapsed(e)), e)
		t.base, t.joiner, t.join = name(e.Position), e.Incarnation, e.Number
	case e.claim.Base == t.base:
		t.move(e.claim.Time, e)
	}
}

func (t *timeline) move(to store.Time, e *entry) {
	if to > t.time {
		t.time, t.id, t.wall = to, e.Major, e.claim.Wall
	}
}

// elapsed gives the time from the last entry that moved time to a join: the least that any
// clock shows which has seen both. Too little makes charges last longer; too much would end
// them early.
func (t *timeline) elapsed(e *entry) time.Duration {
	d := time.Duration(e.claim.Wall - t.wall)
	if d <= 0 || e.Major <= t.id {
		return 0
	}
	if ms := e.Major - t.id; ms <= uint64(d/time.Millisecond) {
		d = time.Duration(ms) * time.Millisecond
	}
	if e.claim.Time > 0 {
		d = min(d, time.Duration(e.claim.Time-t.time))
	}
	return max(0, d)
}

// name gives a number for a position, of each its own but by an accident of 1 in 2⁶⁴, and
// never 0.
func name(p store.Position) uint64 {
	h := uint64(0)
	for _, v := range [...]uint64{p.Major, p.Minor, p.Incarnation, p.Number} {
		h ^= v + 0x9e3779b97f4a7c15 + h<<6 + h>>2
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return max(1, h)
}

// A timeline is kept beside a snapshot as a format and its numbers.
const (
	timelineFormat = 1
	timelineLen    = 1 + 10*8
)

func (t *timeline) append(b []byte) []byte {
	b = append(b, timelineFormat)
	for _, v := range [...]uint64{
		t.at.Major, t.at.Minor, t.at.Incarnation, t.at.Number,
		uint64(t.time), t.id, uint64(t.wall), t.base, t.joiner, t.join,
	} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func parseTimeline(b string) (t timeline, err error) {
	if len(b) != timelineLen || b[0] != timelineFormat {
		return t, errors.New("its time is written in a format that this version does not know")
	}
	var v [10]uint64
	for i := range v {
		v[i] = binary.BigEndian.Uint64([]byte(b[1+8*i:]))
	}
	return timeline{
		at:   store.Position{Major: v[0], Minor: v[1], Incarnation: v[2], Number: v[3]},
		time: store.Time(v[4]), id: v[5], wall: int64(v[6]), base: v[7], joiner: v[8], join: v[9],
	}, nil
}
