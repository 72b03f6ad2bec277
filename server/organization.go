package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/alone"
	"github.com/watermaster-project/watermaster/server/metrics"
	"github.com/watermaster-project/watermaster/server/replica"
	"github.com/watermaster-project/watermaster/store"
)

// An organization serves one organization: it puts commands into its log, applies what
// comes back to its engine, and tells the callers what has become of them.
//
// No goroutine of its own decides. A caller's leads while it appends and applies; who comes
// meanwhile joins the next batch and is handed the lead (commit.go). What nobody waits for has
// one for as long as it takes: to read what others have appended, and to look for a log that is
// away (away.go).
type organization struct {
	name        string
	fingerprint uint32
	incarnation uint64
	edition     atomic.Pointer[edition] // of the configuration in force
	log         store.Log
	logger      *slog.Logger
	leases      atomic.Uint64 // given names so far
	calls       calls
	retries     retryBudget
	domain      *metrics.Domain // of Envoy's that it is; nil: it is one of a configuration
	snapshots   bool            // are made

	replica *replica.Replica

	// What gathers while the leader is busy.
	mu        sync.Mutex
	gathering *batch
	spare     *batch // nil while the leader has it
	leading   bool
	unread    bool            // somebody has said that there is something to read
	readers   []chan struct{} // closed when that has been done
	absent    bool            // nothing gathers: the log is away
	ended     bool            // nothing is read any more

	background sync.WaitGroup
	mending    *time.Timer // reads the log after it failed

	shows     store.Board // nil: the log has no room for a readable copy
	showing   atomic.Bool // it is to be made
	showLater *time.Timer // makes it

	committing *batch      // the leader's own
	applied    bool        // it has been, and its calls were told
	retired    atomic.Bool // nothing is appended any more

	// What follows from the log. Held by the replica's lock, which it has while entries are
	// applied.
	charges   []limiter.LeaseCharge
	before    []limiter.LeaseCharge
	returned  time.Time // from the latest absence of the log
	places    map[limiter.Key]*place
	spares    []*place
	consumers consumers
	loads     loads
	alarm     *time.Timer
	alarmAt   limiter.Time // Never: it is not set
	closed    bool
	next      *edition // of the Configure that is under way; nil: none is
	older     bool     // other processes have put a later one in force

	solo solo // what is decided without the log

	breaker *alone.Breaker // nil: the log is nobody else's, and is never away
	timeout time.Duration  // after which it is
	opened  atomic.Bool    // it was reached once, and the edition is in force, or found to be an older one
	stopped chan struct{}  // closed: it is not looked for any more
	stop    sync.Once
	onAway  func() // the log has gone away, or is back
	late    bool   // held by the server's healthLock: it is away for so long that the server is not ready

	began        Beginning
	waitingInAll *atomic.Int64 // of the server; counts what counted says
	counted      int64

	gone     chan struct{} // closed: the configuration no longer has it, and whoever waits is sent away
	goneOnce sync.Once

	onLost func(n int) // the state is lost, 1, or known again, -1

	trends trends
	sizes  sizes // of the log

	lateStarts map[limiter.LeaseID]bool // of leases that are counted already and not settled: see count.go
}

func newOrganization(e *edition, log store.Log, logger *slog.Logger) *organization {
	o := &organization{
		name:        e.settings.Name,
		fingerprint: fingerprint(e.settings.Name),
		incarnation: newIncarnation(),
		log:         log,
		logger:      logger.With("organization", e.settings.Name),
		gathering:   &batch{},
		spare:       &batch{},
		places:      map[limiter.Key]*place{},
		gone:        make(chan struct{}),
		alarmAt:     limiter.Never,
		lateStarts:  map[limiter.LeaseID]bool{},
		onLost:      func(int) {},
		onAway:      func() {},
		stopped:     make(chan struct{}),
	}
	o.edition.Store(e)
	o.retries.init(o.now())
	return o
}

// open loads the organization's log, or begins it, joins it, and puts the configuration
// in force. What it was under a former name goes on: always if it was so just now (live),
// else if that is where it worked last.
func (o *organization) open(ctx context.Context, live bool, snapshotEvery int) error {
	o.alarm = time.AfterFunc(time.Hour, o.ring)
	o.alarm.Stop()
	o.mending = time.AfterFunc(time.Hour, o.read)
	o.mending.Stop()
	o.shows, _ = o.log.(store.Board)
	o.showLater = time.AfterFunc(time.Hour, o.show)
	o.showLater.Stop()
	o.solo.alarm = time.AfterFunc(time.Hour, o.soloRing)
	o.solo.alarm.Stop()
	o.snapshots = snapshotEvery > 0
	former, worked, err := o.former(ctx)
	if err != nil {
		return fmt.Errorf("organization %s: %w", o.name, err)
	}
	o.replica = replica.New(replica.Options{
		Log: o.log, Organization: o.name, Incarnation: o.incarnation, Machine: o, Logger: o.logger,
		Beside: o.soloLost,
		Meter:  func() replica.Meter { return o.edition.Load().counts.Replica },
		From:   former, SnapshotEvery: snapshotEvery,
	})
	if o.replica.Shared() {
		o.breaker = alone.NewBreaker(o.timeout, nil)
	}
	if err := o.replica.Open(ctx); err != nil {
		return fmt.Errorf("organization %s: %w", o.name, err)
	}
	if len(former.State) > 0 && (live || worked > o.worked()) {
		if err := o.inherit(ctx, former); err != nil {
			return fmt.Errorf("organization %s: what was %s: %w", o.name, o.edition.Load().settings.Was, err)
		}
	}
	if err := o.reconfigure(o.edition.Load()); err != nil {
		return err
	}
	o.opened.Store(true)
	return nil
}

// worked gives the time of the last entry that did more than to join or to configure.
func (o *organization) worked() store.Time {
	o.replica.Lock()
	defer o.replica.Unlock()
	_, _, worked := o.replica.Position()
	return worked
}

// former reads what the organization was under its former name, and when that worked last;
// without State there is nothing.
func (o *organization) former(ctx context.Context) (s store.Snapshot, worked store.Time, err error) {
	was := o.edition.Load().settings.Was
	if was == "" {
		return s, 0, nil
	}
	s, entries, err := o.log.Load(ctx, was)
	if errors.Is(err, store.ErrNotFound) {
		return store.Snapshot{}, 0, nil
	}
	if err != nil {
		return store.Snapshot{}, 0, fmt.Errorf("load what was %s: %w", was, err)
	}
	if _, shared := o.log.(store.Nudger); shared {
		return store.Snapshot{}, 0, fmt.Errorf("was: %s: an organization cannot be renamed over a store that several processes share, "+
			"while it is in use: those that have not read the configuration would go on granting under the former name; "+
			"stop them all, and begin when the store has forgotten it (after its longest window)", was)
	}
	e, applied, worked, err := replica.Replay(s, entries)
	if err != nil {
		return store.Snapshot{}, 0, fmt.Errorf("what was %s: %w", was, err)
	}
	return store.Snapshot{Time: applied, State: e.Snapshot(nil)}, worked, nil
}

// inherit makes the state of a former organization that of this log. It may have had
// another, of an earlier time at which it had this name.
func (o *organization) inherit(ctx context.Context, former store.Snapshot) error {
	o.replica.Lock()
	former.Position, former.Time, _ = o.replica.Position()
	o.replica.Unlock()
	if err := o.log.Install(ctx, o.name, former); err != nil && !errors.Is(err, store.ErrStale) {
		return err
	}
	o.logger.Info("the organization goes on from its former name", "was", o.edition.Load().settings.Was)
	return o.replica.Break(ctx)
}

// Loaded implements replica.Machine: what was known by the ids of limits means others now.
func (o *organization) Loaded() {
	o.consumers = consumers{}
	if o.opened.Load() {
		o.configured()
	}
}

// Fault implements replica.Machine.
func (o *organization) Fault(lost bool) {
	if o.closed {
		return
	}
	if lost {
		o.onLost(1)
	} else {
		o.onLost(-1)
	}
}

// Orphans implements replica.Machine: the configuration, and whoever waits here and not in
// the log.
func (o *organization) Orphans(propose func(limiter.Command)) {
	e, engine := o.edition.Load(), o.replica.Engine()
	if !o.opened.Load() {
		return
	}
	generation, hash, ok := engine.Configuration()
	if !ok || generation < e.generation || generation == e.generation && hash < e.hash {
		propose(o.configure(e))
	}
	for key, p := range o.places {
		lease, waits := engine.Waits(key)
		switch {
		case waits && lease.Incarnation == o.incarnation:
		case p.calls != nil:
			again := p.calls.acquire
			again.Lease, again.Arrived = o.nextLease(), o.arrived(p.calls)
			again.MaxWait = max(0, again.MaxWait-engine.Now().Sub(p.since))
			propose(&again)
		case !waits:
			delete(o.places, key)
		}
	}
}

// engine gives what the log has come to. The caller holds the replica's lock.
func (o *organization) engine() *limiter.Engine { return o.replica.Engine() }

// restoring says whether processes may still put back what the log has lost, or what they have
// granted without it: where it was away for this one, others come back to it as well.
func (o *organization) restoring() bool {
	o.replica.Lock()
	defer o.replica.Unlock()
	return o.replica.Restoring() || time.Since(o.returned) < returnTime
}

// returnTime is how long it takes until all processes have come back to a log that was away.
const returnTime = 2 * time.Second

// unknown is what a call is told whose lease the log does not have.
func (o *organization) unknown(lease string) error {
	if o.restoring() {
		return errRestoring
	}
	return &leaseError{lease}
}

// now gives the time that the log would have now.
func (o *organization) now() limiter.Time {
	claim, _ := o.log.Now(o.name)
	return limiter.Time(claim.Time)
}

// nextLease gives a name that no lease has had.
func (o *organization) nextLease() limiter.LeaseID {
	return limiter.LeaseID{Incarnation: o.incarnation, Count: o.leases.Add(1)}
}

// arm sets the alarm for when the engine next has something to do, if it is not set for
// an earlier time. The caller holds the
// replica's lock.
func (o *organization) arm() {
	if o.closed || o.replica.Lost() {
		return
	}
	next := o.replica.NextAt()
	if next >= o.alarmAt {
		return
	}
	o.alarmAt = next
	o.alarm.Reset(max(next.Sub(o.now()), leastAlarm))
}

// leastAlarm is how soon an alarm rings at the earliest: many deadlines that lie close
// together are one.
const leastAlarm = time.Millisecond

// ring lets time pass, if that changes anything.
func (o *organization) ring() {
	o.replica.Lock()
	o.alarmAt = limiter.Never
	due := !o.closed && !o.replica.Lost() && o.replica.NextAt() <= o.now()
	if !due && !o.closed {
		o.arm()
	}
	o.replica.Unlock()
	if due {
		if lead, _ := o.submit(&limiter.Tick{}, nil); lead {
			o.lead()
		}
	}
}

// close stops the alarm and waits for what runs in the background. Callers are still
// answered.
func (o *organization) close() {
	if o.replica == nil { // it was not opened
		return
	}
	o.leaveSeat()
	o.mu.Lock()
	o.ended = true
	o.mu.Unlock()
	o.mending.Stop()
	o.showLater.Stop()
	o.stop.Do(func() { close(o.stopped) })
	defer o.ceased()
	defer o.replica.Wait()
	defer o.background.Wait()
	o.replica.Lock()
	defer o.replica.Unlock()
	o.closed = true
	if o.replica.Lost() {
		o.onLost(-1) // it is nobody's trouble any more
	}
	o.count(0)
	o.alarm.Stop()
	o.solo.alarm.Stop()
}

// ceased notes that nobody looks for the log any more.
func (o *organization) ceased() {
	if o.breaker != nil {
		o.breaker.Succeeded()
		o.onAway()
	}
}
