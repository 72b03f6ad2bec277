package replica

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/metrics"
	"github.com/watermaster-project/watermaster/store"
)

// Tries is how often an append goes out at once when it fails, if nothing else is said and the
// log is nobody else's.
const Tries = 4

// After how long it goes out again for the first time, and how often a batch that broke is put
// into what was loaded.
const (
	firstPause = 10 * time.Millisecond
	mends      = 4
)

// quietTime is how long a process that has joined decides nothing: others that were alive have
// answered by then, and their entries carry the log's time forward to where it is.
const quietTime = 500 * time.Millisecond

// quietRead is how often a process reads meanwhile.
const quietRead = 50 * time.Millisecond

// A Fault is a panic of ours while committing.
type Fault struct {
	Cause any
	Stack []byte
}

func (e *Fault) Error() string { return fmt.Sprintf("fault: %v", e.Cause) }

// Open loads the log, or begins it, and joins it.
func (r *Replica) Open(ctx context.Context) error { return r.Read(ctx) }

// Commit puts a batch into the log and applies all that comes back; what its commands have
// come to has been told to the machine. An error says that it is not known to be in the log;
// it may get there later.
func (r *Replica) Commit(ctx context.Context, b *Batch) (err error) {
	defer recovered(&err)
	for range mends {
		err = r.ready(ctx)
		if err == nil && r.orphans { // of a log that was begun anew, it knows no configuration yet
			r.settle(ctx)
			err = r.ready(ctx)
		}
		if err == nil {
			r.seal(b)
			err = r.append(ctx, b)
		}
		if !errors.Is(err, store.ErrBroken) {
			break
		}
	}
	if err != nil {
		return err
	}
	r.settle(ctx)
	r.snapshot()
	return nil
}

// Read applies what others have appended, and mends the log if it broke.
func (r *Replica) Read(ctx context.Context) (err error) {
	defer recovered(&err)
	for range mends {
		whole := r.broken == whole && r.rejoin == nil
		if err = r.ready(ctx); err == nil && whole {
			err = r.append(ctx, &Batch{})
		}
		if !errors.Is(err, store.ErrBroken) {
			break
		}
	}
	if err != nil {
		return err
	}
	r.settle(ctx)
	r.snapshot()
	return nil
}

func recovered(err *error) {
	if p := recover(); p != nil {
		*err = &Fault{p, debug.Stack()}
	}
}

// ready brings the replica to where the next batch can be appended.
func (r *Replica) ready(ctx context.Context) error {
	if r.broken != whole {
		if err := r.load(ctx); err != nil {
			return err
		}
	}
	if r.rejoin != nil {
		if err := r.join(ctx); err != nil {
			return err
		}
	}
	if d := r.doubt; d != nil {
		if d.Number == 0 { // it broke: what of it is still to be told goes in anew
			r.seal(d)
		}
		if err := r.append(ctx, d); err != nil {
			return err
		}
		r.doubt = nil
	}
	for try := 0; !r.hasJoined(); try++ {
		if try == joinTries {
			return fmt.Errorf("join: %w: it takes too long to answer", store.ErrUnavailable)
		}
		r.rejoin = r.joining()
		if err := r.join(ctx); err != nil {
			return err
		}
	}
	for wait := r.quiet - r.clock(); wait > 0; wait = r.quiet - r.clock() {
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return errQuiet
		}
		r.sleep(min(wait, quietRead))
		if err := r.attend(ctx); err != nil {
			return err
		}
	}
	return nil
}

// errQuiet says that nothing is decided yet after a join, for longer than the caller waits.
var errQuiet = fmt.Errorf("join: %w: others have to be heard first", store.ErrUnavailable)

// attend reads, and answers who has joined meanwhile: of two that join and are quiet for the
// other's sake each would miss the other's join.
func (r *Replica) attend(ctx context.Context) error {
	if err := r.append(ctx, &Batch{}); err != nil {
		return err
	}
	r.mu.Lock()
	answer := r.joined && !r.lost
	r.joined = false
	r.mu.Unlock()
	if !answer || r.broken != whole || !r.hasJoined() {
		return nil
	}
	b := &Batch{}
	b.Add(&limiter.Tick{})
	r.seal(b)
	return r.append(ctx, b)
}

// joinTries is how often a process joins until that is quick enough for its clock to count.
const joinTries = 5

func (r *Replica) hasJoined() bool {
	_, joined := r.log.Now(r.name)
	return joined
}

// join appends the batch with which this process joins.
func (r *Replica) join(ctx context.Context) error {
	if err := r.append(ctx, r.rejoin); err != nil {
		return err
	}
	r.rejoined()
	return nil
}

// joining makes the batch with which this process joins the log; some commands go before.
func (r *Replica) joining(before ...limiter.Command) *Batch {
	b := &Batch{}
	b.Join = true
	for _, c := range before {
		b.Add(c)
	}
	b.Add(&limiter.Join{Incarnation: r.incarnation, Behaviour: r.knows})
	r.seal(b)
	return b
}

// rejoined notes that the batch is in the log with which this process has joined it.
func (r *Replica) rejoined() {
	r.rejoin, r.known, r.history = nil, nil, r.loaded
	if r.restore > 0 {
		r.meter().Restored(r.restore)
		r.restore = 0
	}
	r.mu.Lock()
	r.peers = r.engine.Peers(r.peers[:0])
	alone := len(r.peers) <= 1
	r.mu.Unlock()
	if r.nudger != nil && !alone {
		r.quiet = r.clock() + quietTime
	}
}

// seal closes a batch: from here on it is never changed.
func (r *Replica) seal(b *Batch) {
	claim, _ := r.log.Now(r.name)
	r.number++
	b.Incarnation, b.Number, b.Claim = r.incarnation, r.number, claim
	r.mu.Lock()
	defer r.mu.Unlock()
	r.beat = max(r.beat, limiter.Time(claim.Time))
	if r.nudger == nil {
		b.write(nil)
		return
	}
	r.hold = r.engine.Hold()
	b.Hold = r.hold
	b.write(&stand{uint32(r.loaded), r.engine.Entries(), r.engine.Digest()})
}

// append sends a batch until it is seen in the log, for a while: then its fate is in doubt
// and it is kept. One without a number only reads.
func (r *Replica) append(ctx context.Context, b *Batch) error {
	pause := firstPause
	for try := 1; ; try++ {
		start := metrics.Now()
		entries, err := r.log.Append(ctx, r.name, r.position, b.Batch, r.entries[:0])
		if err == nil {
			appended := metrics.Now()
			r.take(entries, b)
			if b.Number != 0 {
				r.meter().Committed(b.commands, start, appended)
			} else {
				r.meter().Read(start, appended)
			}
			clear(entries)
			r.entries = entries[:0]
			return nil
		}
		r.meter().Failed()
		if errors.Is(err, store.ErrClosed) {
			return err
		}
		if errors.Is(err, store.ErrBroken) {
			r.broke(gap)
			return err
		}
		if try == r.tries {
			if b.Number != 0 && b != r.rejoin {
				r.doubt = b
			}
			return err
		}
		r.sleep(pause)
		pause *= 2
	}
}

// broke notes that the log has to be loaded.
func (r *Replica) broke(why Cause) {
	r.broken, r.rejoin = why, nil
	if d := r.doubt; d != nil {
		if r.doubt = d.withoutAcquires(); r.doubt.Len() == 0 {
			r.doubt = nil
		}
	}
}

// InDoubt says whether a batch may get into the log later: its owner must not change it.
func (r *Replica) InDoubt(b *Batch) bool { return r.doubt == b }

// settle appends what follows from what was read. If that fails, it is done later.
func (r *Replica) settle(ctx context.Context) {
	for range mends {
		b := &r.spare
		if r.doubt == b {
			return
		}
		b.Clear()
		r.follow(b)
		if b.Len() == 0 && r.broken == whole {
			return
		}
		if err := r.ready(ctx); err != nil {
			return
		}
		if b.Len() == 0 {
			continue
		}
		r.seal(b)
		err := r.append(ctx, b)
		if r.doubt == b {
			r.doubt = &Batch{}
			*r.doubt, r.spare = r.spare, Batch{}
		}
		if err != nil {
			return
		}
	}
}

// follow adds what this process has to say.
func (r *Replica) follow(b *Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost || r.broken != whole {
		return
	}
	if r.orphans {
		r.orphans = false
		r.machine.Orphans(b.Add)
	}
	if r.engine.Missing(r.incarnation) {
		b.Add(&limiter.Join{Incarnation: r.incarnation, Behaviour: r.knows})
	}
	if next := r.upgrade(); next != 0 {
		b.Add(&limiter.Upgrade{Behaviour: next})
	}
	if r.joined || r.nudger != nil && r.engine.Hold() > r.hold+beatEvery && r.number > 0 {
		r.joined = false // or another's lease needs the log for longer than was said
		if b.Len() == 0 {
			b.Add(&limiter.Tick{})
		}
	}
}

// upgrade gives the behaviour that all processes know and that is not in force; 0: none.
func (r *Replica) upgrade() uint32 {
	if r.knows <= r.engine.Behaviour() {
		return 0
	}
	least := r.knows
	r.peers = r.engine.Peers(r.peers[:0])
	for i := range r.peers {
		if p := &r.peers[i]; p.Heard.Add(aliveFor) >= r.engine.Now() {
			least = min(least, p.Behaviour)
		}
	}
	if least <= r.engine.Behaviour() {
		return 0
	}
	return least
}

// aliveFor is how long a process counts, that has not been heard, where it is asked what all
// know: one that comes back later finds what it does not know, and says so.
const aliveFor = 10 * time.Second
