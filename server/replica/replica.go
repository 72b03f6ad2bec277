package replica

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/metrics"
	"github.com/watermaster-project/watermaster/store"
)

// A Machine is what follows from the log besides the engine. All methods are called with the
// replica's lock held.
type Machine interface {
	// Loaded tells that the replica has another engine, to which entries are applied from here
	// on.
	Loaded()
	// Apply has to apply a command, by Replica.Step, and tells whoever waits for what comes of it.
	Apply(c *Applying)
	// Applied tells that all has been applied that was read. own is the batch of this process
	// that was among it, if it is one that was just appended.
	Applied(own *Batch)
	// Orphans proposes what the engine has to be told again after it was loaded: what waits here
	// and not there, and a configuration that it does not have.
	Orphans(propose func(limiter.Command))
	// Fault tells that the engine's state is lost, or known again.
	Fault(lost bool)
}

// An Applying is a command as it is applied.
type Applying struct {
	Command limiter.Command
	Entry   *store.Entry
	Index   int    // of the command in the entry
	Own     *Batch // of this process, and seen for the first time; nil: it is none such
	raw     []byte
}

// Meter takes what is to be measured. Its methods are called by whoever commits.
type Meter interface {
	Committed(commands int, start, appended metrics.Time)
	Read(start, read metrics.Time)
	Failed()
	Broke(cause string) // of Cause; the log has been loaded
	Restored(leases int)
	Uncounted(grants int) // of those that were restored: others may have granted on top of them
	RollCall(length time.Duration)
}

// Options make a replica. Log, Organization, Incarnation, Machine and Meter are needed.
type Options struct {
	Log          store.Log
	Organization string
	Incarnation  uint64 // random, ≠ 0, of this process and organization only
	Machine      Machine
	Meter        func() Meter
	Logger       *slog.Logger // nil: nobody
	// Beside appends leases that were granted without the log and that it does not know, to be
	// put back with what else it has lost. They ask for no roll call: none was granted of what
	// the log divides. It is called with the lock held. Nil: there are none.
	Beside func(log *limiter.Engine, to []limiter.LeaseState) []limiter.LeaseState
	// Knows is the latest behaviour of the engine that is known here; 0: limiter.Behaviour.
	Knows uint32
	// From is what the log begins with, if there is none and nothing is known here of a former
	// one: State and Time of it.
	From store.Snapshot
	// SnapshotEvery is how many bytes of entries call for a snapshot, if that is not smaller.
	// 0: none is made.
	SnapshotEvery int
	// Tries is how often an append goes out at once when it fails. 0: Tries, and 1 where the log
	// is shared: that takes its timeout to fail, and there are others to ask.
	Tries int
	// Sleep, Clock and Go replace time.Sleep, the monotonic clock and the go statement. Nil:
	// those.
	Sleep func(time.Duration)
	Clock func() time.Duration
	Go    func(func())
}

// A Replica is one process's part in the log of an organization. One goroutine at a time may
// Open, Commit or Read. The engine is read under Lock.
type Replica struct {
	name        string
	incarnation uint64
	log         store.Log
	nudger      store.Nudger // nil: no other process has the log
	machine     Machine
	meter       func() Meter
	logger      *slog.Logger
	knows       uint32
	beside      func(*limiter.Engine, []limiter.LeaseState) []limiter.LeaseState
	tries       int
	sleep       func(time.Duration)
	clock       func() time.Duration
	spawn       func(func())
	from        store.Snapshot
	panics      atomic.Int64
	read        atomic.Int64 // when the log was read last, by clock
	background  sync.WaitGroup

	// Of whoever commits.
	number  uint64 // of the latest batch
	entries []store.Entry
	doubt   *Batch            // whose fate is unknown: it goes out again, unchanged, before any other
	broken  Cause             // why the log has to be loaded again
	known   []*limiter.Engine // before it broke, while not all of it is in the log for certain
	rejoin  *Batch            // goes out first after it was loaded
	orphans bool              // ask the machine after that
	history uint64            // that is followed; 0: none yet
	loaded  uint64            // that was loaded
	quiet   time.Duration     // nothing is decided before, by clock
	nudge   []uint64          // whose waiters were served
	restore int               // leases in rejoin
	spare   Batch

	snapshotEvery int
	installing    chan struct{} // of capacity 1: full while a snapshot is being installed

	mu        sync.Mutex // what follows
	engine    *limiter.Engine
	lost      bool  // the engine's state is lost to a fault: nothing is applied any more
	fault     error // what in the log could not be read
	failed    error // that was logged last
	decoder   limiter.Decoder
	applying  Applying
	events    []limiter.Event
	poisoned  map[poison]bool
	replaying bool           // see Replaying
	position  store.Position // of the last entry applied
	applied   store.Time     // its time
	worked    store.Time     // of the last that did more than to join or to configure
	kept      time.Duration  // see store.Snapshot.Kept; < 0: the log began with a state
	hold      time.Duration  // that the last batch of this process asked for
	joined    bool           // by another process, and not yet answered
	calling   bool           // a roll call is under way
	called    limiter.Time   // since
	restored  limiter.Time   // from then on nobody is expected to put anything back
	beat      limiter.Time   // when the last batch of this process was closed
	tail      int            // bytes in the log behind the latest snapshot
	size      int            // of that
	stands    []stand        // by entries; nil: nobody compares
	differs   uint64         // the process whose digest was not this one's
	trusted   limiter.Time   // until then differences with others are not looked at
	peers     []limiter.Peer

	// Probe is called before a command is applied: tests make faults with it.
	Probe func(limiter.Command)
}

// stands is how many entries back engines can be compared.
const stands = 1024

// A Cause says why a log has to be loaded.
type Cause string

// The causes.
const (
	whole    Cause = ""
	unloaded Cause = "start"
	gap      Cause = "broken"  // it does not go on from where it was read; what that was is known when it is loaded:
	gone     Cause = "gone"    // it was not there, and was begun anew
	another  Cause = "history" // it was begun by somebody else, or another server answers
	trimmed  Cause = "trimmed" // what had not been read was trimmed
	digest   Cause = "digest"  // another engine stands otherwise
	told     Cause = "command" // by Break
)

// New makes a replica that has to be opened.
func New(o Options) *Replica {
	r := &Replica{
		name:          o.Organization,
		incarnation:   o.Incarnation,
		log:           o.Log,
		machine:       o.Machine,
		meter:         o.Meter,
		logger:        o.Logger,
		knows:         o.Knows,
		beside:        o.Beside,
		tries:         o.Tries,
		sleep:         o.Sleep,
		clock:         o.Clock,
		spawn:         o.Go,
		from:          o.From,
		snapshotEvery: o.SnapshotEvery,
		installing:    make(chan struct{}, 1),
		broken:        unloaded,
		poisoned:      map[poison]bool{},
	}
	if r.nudger, _ = o.Log.(store.Nudger); r.nudger != nil {
		r.stands = make([]stand, stands)
		r.tries = max(1, r.tries)
	}
	if r.logger == nil {
		r.logger = slog.New(slog.DiscardHandler)
	}
	if r.knows == 0 {
		r.knows = limiter.Behaviour
	}
	if r.tries == 0 {
		r.tries = Tries
	}
	if r.sleep == nil {
		r.sleep = time.Sleep
	}
	if r.clock == nil {
		began := time.Now()
		r.clock = func() time.Duration { return time.Since(began) }
	}
	if r.spawn == nil {
		r.spawn = r.background.Go
	}
	return r
}

// Lock lets nothing be applied until Unlock.
func (r *Replica) Lock() { r.mu.Lock() }

// Unlock ends Lock.
func (r *Replica) Unlock() { r.mu.Unlock() }

// Engine gives what the log has come to. The caller holds the lock, also while it uses it.
// Nil before Open.
func (r *Replica) Engine() *limiter.Engine { return r.engine }

// Lost says whether the engine's state is lost to a fault. The caller holds the lock.
func (r *Replica) Lost() bool { return r.lost }

// Panics counts those of the engine that were survived.
func (r *Replica) Panics() int64 { return r.panics.Load() }

// Fault says what in the log could not be read; nil: all could. The caller holds the lock.
func (r *Replica) Fault() error { return r.fault }

// Replaying says whether what is applied is what a log says that has just been loaded: some of
// it was applied and told before, and may be taken back by what follows. Whoever waits is told
// of the end of it, by Orphans. The caller holds the lock.
func (r *Replica) Replaying() bool { return r.replaying }

// Position gives the last entry that was applied, its time, and that of the last which did
// more than to join or to configure. The caller holds the lock.
func (r *Replica) Position() (at store.Position, applied, worked store.Time) {
	return r.position, r.applied, r.worked
}

// Kept says for how long it was known, when the log began, that there was no use before; < 0:
// it began with a state. The caller holds the lock.
func (r *Replica) Kept() time.Duration { return r.kept }

// Shared says whether other processes may have the log as well.
func (r *Replica) Shared() bool { return r.nudger != nil }

// Age says how long ago what others have appended was read.
func (r *Replica) Age() time.Duration { return r.clock() - time.Duration(r.read.Load()) }

// Now gives the time that the log would have now.
func (r *Replica) Now() limiter.Time {
	claim, _ := r.log.Now(r.name)
	return limiter.Time(claim.Time)
}

// Tail says how many bytes there are in the log behind the latest snapshot, and how large
// that is, as far as is known here. The caller holds the lock.
func (r *Replica) Tail() (behind, snapshot int) { return r.tail, r.size }

// Wait waits for what runs in the background, while the replica goes on.
func (r *Replica) Wait() { r.background.Wait() }

// NextAt says when a Tick should be committed, if nothing is before: when the engine has
// something to do, or the others should hear that callers wait here; or once when all calls
// have ended, so that the log does not stay for them. A process whose callers
// do not wait leaves that to those whose do. The caller holds the lock.
func (r *Replica) NextAt() limiter.Time {
	if r.nudger == nil {
		return r.engine.NextAt()
	}
	if r.waiting() > 0 {
		return min(r.engine.NextAt(), r.beat.Add(beatEvery))
	}
	if r.engine.Hold()+beatEvery < r.hold { // the log need not stay as long as was said last
		return r.beat.Add(shortenAfter)
	}
	return limiter.Never
}

// shortenAfter is how long after the last batch of this process it is said that the log need
// not stay as long any more: later than the log's keys are looked after anyway.
const shortenAfter = 2 * time.Second

// beatEvery is how often a process with waiters is heard at least: three times before its
// waiters are passed over.
const beatEvery = 900 * time.Millisecond

// waiting says how many wait in this process's name.
func (r *Replica) waiting() int {
	r.peers = r.engine.Peers(r.peers[:0])
	for i := range r.peers {
		if r.peers[i].Incarnation == r.incarnation {
			return r.peers[i].Waiting
		}
	}
	return 0
}

// Break lets the log be loaded before anything else is committed.
func (r *Replica) Break(ctx context.Context) error {
	r.broken = told
	return r.Read(ctx)
}
