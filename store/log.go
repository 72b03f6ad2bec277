package store

import (
	"cmp"
	"context"
	"time"
)

// A Log orders the batches of all processes that serve an organization.
//
// All methods may be called concurrently; for one organization a process has at most one
// Append under way. Organizations have nothing to do with each other. Whoever opens a log
// closes it; after that every method with an error returns ErrClosed.
//
// An error that is none of this package's own says only that the call failed, an ended
// context among them: like with ErrUnavailable, what it asked for may have happened. A
// log that never waits may ignore its context.
type Log interface {
	// Load returns the latest snapshot and every entry after it, in order.
	//
	// ErrNotFound: there is no log, or not all of it: see Create.
	Load(ctx context.Context, organization string) (Snapshot, []Entry, error)

	// Create begins the log of an organization that has none, with the caller's state
	// (of a former log that was lost), or with nothing. Of the snapshot it takes State
	// and Time; Position says how far the state had come in the former log, zero for a
	// caller without one. A log with several processes may let the one that has come
	// furthest go first, and so take its time. After Create, Load.
	//
	// ErrExists: there is a complete log, perhaps somebody else's of just now: Load it.
	Create(ctx context.Context, organization string, from Snapshot) error

	// Append appends a batch and appends to entries all those after the position after,
	// in order, up to and including the batch's own; there may be some after that. With
	// a batch whose Number is 0 it appends nothing and only reads.
	//
	// after is the position of the last entry that the caller has had, or of the snapshot
	// that it loaded. A batch that the caller cannot see in what comes back, because the
	// call failed, is appended again unchanged, before any other of its incarnation.
	//
	// ErrBroken: the log does not continue from after: it was lost, trimmed beyond it, or
	// is another history; or another server answers than the one that was loaded from, and
	// nobody has looked what it lacks. Whether the batch is in the log is unknown. Load.
	Append(ctx context.Context, organization string, after Position, batch Batch, entries []Entry) ([]Entry, error)

	// Install makes a snapshot the one that Load returns. Entries up to it may go; some
	// may stay, to spare readers that lag a reload. It takes State and Position.
	//
	// ErrStale: it is not later than the present one, or the log has no such entry: it is
	// of another history, or the log does not keep what an older state would need.
	// ErrNotFound: there is no log.
	Install(ctx context.Context, organization string, s Snapshot) error

	// Now returns the claim of the log's time for a batch that is closed at this instant;
	// a batch that is sent again keeps its claim. Claims of one process do not decrease but
	// where it joins again: its join may be given an earlier time than it would have claimed.
	//
	// It says false while claims of this process do not count: it has not joined, or has
	// missed that somebody else did. Then its next batch must be a Join.
	Now(organization string) (claim Claim, joined bool)
}

// A Nudger is a Log that can tell other processes that there is something to read. A log
// of a single process has nobody to tell and is none. Nudges may be lost: they save time
// and must not be relied upon.
type Nudger interface {
	// Nudge tells the processes of these incarnations to read an organization's log. It
	// does not wait for them.
	Nudge(ctx context.Context, organization string, incarnations ...uint64) error

	// Nudged returns organizations whose log this process, known by the incarnation of
	// its batches, should read now, by Append: entries wait for it, somebody joined, or
	// the log broke. Nudges for the same organization may come as one. The channel is
	// closed with the log.
	Nudged() <-chan string
}

// A Board is a Log that shows something beside it to who reads no log: tools and people.
type Board interface {
	// Show replaces all rows of an organization's board, for any reader: what it says is
	// not part of the log, may be older than the log's end, and goes with the log. Without
	// rows there is no board.
	Show(ctx context.Context, organization string, rows map[string]string) error
}

// A Gauge is a Log that can say how large it is.
type Gauge interface {
	// Size measures the log of an organization. ErrNotFound: it has none.
	Size(ctx context.Context, organization string) (Size, error)
}

// Size is how large a log is.
type Size struct {
	Entries       int64    // that it holds, with those that the snapshot stands for
	LogBytes      int64    // that they take, about
	SnapshotBytes int64    // of the snapshot's state
	Last          Position // of the last entry
}

// Time is log time: nanoseconds since the Unix epoch as the log counts them. It never
// decreases along a log. It is near to real time and promises nothing about it.
type Time int64

// A Position names an entry, or the beginning of a log: its place, and who wrote it. Where
// a log was lost and begun again, another entry may stand at the same place; it is not
// the same position. The zero Position is before every other and of no log.
type Position struct {
	Major, Minor uint64 // the place; they rise along a log, Minor within Major
	Incarnation  uint64 // of the writer; 0 for the beginning of a log
	Number       uint64 // of the batch; 0 for the beginning of a log
}

// Compare orders positions of one history by their place: −1 if p is before q, 0, or +1.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Major, q.Major), cmp.Compare(p.Minor, q.Minor))
}

// A Claim is what a process takes the log's time to be. Only the log that made it reads
// it; a batch carries it unchanged.
type Claim struct {
	Time Time
	Base uint64 // how many joins the process had read; an older base does not count
	Wall int64  // its wall clock, Unix ns; only the time of a join is judged by it
}

// A Batch is what one process appends at once. Sent again, it is the same in all parts.
type Batch struct {
	Incarnation uint64 // of the process: random, new at every start, ≠ 0
	Number      uint64 // of that process and organization: 1, 2, 3 …; 0: none, only read
	Claim       Claim  // from Now, when the batch was closed
	Join        bool   // a new base of time: the process joins the log
	// Hold is how long what the log says still matters: an organization with no entry for
	// so long may be forgotten, as if it had never been. 0: never.
	Hold time.Duration
	// Payload is borrowed until Append returns: the log keeps no part of it.
	Payload []byte
}

// An Entry is a batch at its place.
type Entry struct {
	Position
	Time Time // not before that of the entry before
	Join bool
	// Payload must not be changed. It stays as it is, except that of the caller's own
	// batch, which may be the very Payload that Append was given.
	Payload []byte
}

// A Snapshot is a state that stands for all entries up to a position.
type Snapshot struct {
	Position Position // of the last entry in it, or the beginning of the log
	Time     Time     // the log's time there
	// State belongs to the log once Create or Install has it, and must not be changed,
	// nor may one that Load returned. Empty: the log begins with nothing.
	State []byte
	// Kept is set by Load for a log that began with nothing, until a snapshot is
	// installed: for how long, when it began, this log was known to have lost nothing. If
	// that is longer than everything that could have mattered, nothing was used before;
	// if not, something may have been that nobody knows of. It is the same for all
	// readers. ≥ 0.
	Kept time.Duration
	// History is set by Load, ≠ 0. It names the log as it was begun and the server that
	// answers. If it is another than the last Load of this process gave, entries that were
	// there then may be gone, even such as nobody misses by their place.
	History uint64
}
