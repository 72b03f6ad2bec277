package redis

import (
	"time"

	"github.com/watermaster-project/watermaster/store"
)

const (
	// timely is how long after a join, in log time, who reads it keeps its clock: it was
	// alive then, and no charge that it does not know of can have been made since at a
	// time that stood.
	timely = 500 * time.Millisecond
	// quick is how long a join may take: by so much the claims of its sender lag.
	quick = 50 * time.Millisecond
)

// A clock is what a process takes the log's time to be: its monotonic clock and an offset.
// Along one base it never leads the log by more than what has passed since it read it.
type clock struct {
	set    bool
	offset int64  // log time − monotonic clock
	base   uint64 // the last join that was read in time, or the own one; 0: none
	joined bool

	// The own join that was sent last: its time counts from when it was sent first.
	joiner, join uint64
	sent         int64 // monotonic clock
	awaited      bool  // it has not been read yet
}

// now gives the log's time at an instant of the monotonic clock; 0: unknown.
func (c *clock) now(monotonic int64) store.Time {
	if !c.set {
		return 0
	}
	return store.Time(monotonic + c.offset)
}

// sending notes when a join goes out for the first time.
func (c *clock) sending(b *store.Batch, monotonic int64) {
	if b.Join && (c.joiner != b.Incarnation || c.join != b.Number) {
		c.joiner, c.join, c.sent, c.awaited = b.Incarnation, b.Number, monotonic, true
	}
}

// read notes a join that was read: from t, which it ends, and the base before it.
func (c *clock) read(t *timeline, before uint64, monotonic int64) {
	if c.awaited && t.joiner == c.joiner && t.join == c.join {
		c.awaited, c.set = false, true
		c.offset = int64(t.time) - monotonic
		c.base = t.base
		c.joined = time.Duration(monotonic-c.sent) <= quick
		return
	}
	late := time.Duration(c.now(monotonic) - t.time)
	if c.joined && c.base == before && late <= timely {
		c.base = t.base
	}
}

// follow goes by the end of what was read.
func (c *clock) follow(t *timeline, monotonic int64) {
	c.joined = c.joined && c.base == t.base
	if c.set && t.time > c.now(monotonic) {
		c.offset = int64(t.time) - monotonic
	}
}
