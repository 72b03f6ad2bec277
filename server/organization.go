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
	"github.com/watermaster-project/watermaster/store"
)

// An organization serves one organization: it puts commands into its log, applies what
// comes back to its engine, and tells the callers what has become of them.
//
// It has no goroutine. A caller's own goroutine leads while it appends and applies; who
// comes meanwhile joins the next batch and is handed the lead (commit.go).
type organization struct {
	name        string
	fingerprint uint32
	incarnation uint64
	edition     atomic.Pointer[edition] // of the configuration in force
	log         store.Log
	logger      *slog.Logger
	leases      atomic.Uint64 // given names so far
	calls       calls
	panics      atomic.Int64 // of the engine
	retries     retryBudget

	// What gathers while the leader is busy.
	mu        sync.Mutex
	gathering *batch
	spare     *batch // nil while the leader has it
	leading   bool

	// The leader's own.
	number  uint64 // of the latest batch
	entries []store.Entry
	doubt   *batch      // whose fate is unknown: it goes out again, unchanged, before any other
	broken  bool        // the log has to be loaded again
	retired atomic.Bool // nothing is appended any more

	snapshotEvery int // bytes; 0: never
	snapshotSize  int // of the latest
	tail          int // bytes in the log behind it
	installing    atomic.Bool
	background    sync.WaitGroup

	// What follows from the log. Held while entries are applied, and by who looks.
	state     sync.Mutex
	engine    *limiter.Engine
	lost      bool  // the engine's state is lost to a fault: nothing is decided any more
	fault     error // what in the log could not be read
	decoder   limiter.Decoder
	position  store.Position // of the last entry applied
	applied   store.Time     // its time
	worked    store.Time     // of the last that did more than to join or to configure
	kept      time.Duration  // see store.Snapshot.Kept; < 0: the log began with a state
	seen      map[uint64]uint64
	poisoned  map[poison]bool
	events    []limiter.Event
	charges   []limiter.LeaseCharge
	before    []limiter.LeaseCharge
	places    map[limiter.Key]*place
	spares    []*place
	consumers consumers
	loads     loads
	alarm     *time.Timer
	alarmAt   limiter.Time // Never: it is not set
	closed    bool
	next      *edition // of the Configure that is under way; nil: none is

	began        Beginning
	waitingInAll *atomic.Int64 // of the server; counts what counted says
	counted      int64

	gone     chan struct{} // closed: the configuration no longer has it, and whoever waits is sent away
	goneOnce sync.Once

	onLost func(n int) // the state is lost, 1, or known again, -1; holds state

	probe func(limiter.Command) // tests make a fault with it; nil

	trends trends

	lateStarts map[limiter.LeaseID]bool // of leases that are counted already and not settled: see count.go
}

func newOrganization(e *edition, log store.Log, logger *slog.Logger) *organization {
	g := &organization{
		name:        e.settings.Name,
		fingerprint: fingerprint(e.settings.Name),
		incarnation: newIncarnation(),
		log:         log,
		logger:      logger.With("organization", e.settings.Name),
		gathering:   &batch{},
		spare:       &batch{},
		seen:        map[uint64]uint64{},
		poisoned:    map[poison]bool{},
		places:      map[limiter.Key]*place{},
		gone:        make(chan struct{}),
		alarmAt:     limiter.Never,
		lateStarts:  map[limiter.LeaseID]bool{},
	}
	g.edition.Store(e)
	g.retries.init(g.now())
	return g
}

// open loads the organization's log, or begins it, joins it, and puts the configuration
// in force. What it was under a former name goes on: always if it was so just now (live),
// else if that is where it worked last.
func (o *organization) open(ctx context.Context, live bool) error {
	o.alarm = time.AfterFunc(time.Hour, o.ring)
	o.alarm.Stop()
	former, err := o.former(ctx)
	if err != nil {
		return fmt.Errorf("organization %s: %w", o.name, err)
	}
	if err := o.reload(ctx, former); err != nil {
		return fmt.Errorf("organization %s: %w", o.name, err)
	}
	join := &batch{}
	join.Join = true
	join.add(&limiter.Join{Incarnation: o.incarnation, Behaviour: limiter.Behaviour}, nil)
	if err := o.commit(join); err != nil {
		return fmt.Errorf("organization %s: join: %w", o.name, err)
	}
	if former != nil && (live || former.worked > o.worked) {
		if err := o.inherit(ctx, former); err != nil {
			return fmt.Errorf("organization %s: what was %s: %w", o.name, former.name, err)
		}
	}
	return o.reconfigure(o.edition.Load())
}

// former reads what the organization was under its former name; nil: nothing.
func (o *organization) former(ctx context.Context) (*organization, error) {
	was := o.edition.Load().settings.Was
	if was == "" {
		return nil, nil
	}
	s, entries, err := o.log.Load(ctx, was)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load what was %s: %w", was, err)
	}
	former := newOrganization(o.edition.Load(), o.log, o.logger)
	former.name, former.onLost = was, func(int) {}
	if err := former.replay(s, entries); err != nil {
		return nil, fmt.Errorf("what was %s: %w", was, err)
	}
	return former, nil
}

// inherit makes the state of a former organization that of this log. It may have had
// another, of an earlier time at which it had this name.
func (o *organization) inherit(ctx context.Context, former *organization) error {
	s := store.Snapshot{Position: o.position, Time: o.applied, State: former.engine.Snapshot(nil)}
	if err := o.log.Install(ctx, o.name, s); err != nil {
		return err
	}
	o.logger.Info("the organization goes on from its former name", "was", former.name)
	return o.reload(ctx, nil)
}

// reload makes the engine what the log says. One that is not there begins with what this
// process knows, or what the organization was formerly.
func (o *organization) reload(ctx context.Context, former *organization) error {
	o.state.Lock()
	defer o.state.Unlock()
	for range 3 {
		s, entries, err := o.log.Load(ctx, o.name)
		if errors.Is(err, store.ErrNotFound) {
			from := store.Snapshot{}
			switch {
			case o.engine != nil && !o.lost:
				from = store.Snapshot{Position: o.position, Time: o.applied, State: o.engine.Snapshot(nil)}
			case former != nil:
				from = store.Snapshot{Time: former.applied, State: former.engine.Snapshot(nil)}
			}
			if err = o.log.Create(ctx, o.name, from); err != nil && !errors.Is(err, store.ErrExists) {
				return fmt.Errorf("create: %w", err)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		return o.replay(s, entries)
	}
	return errors.New("load: the log comes and goes")
}

// replay makes the engine of a snapshot and what follows it.
func (o *organization) replay(s store.Snapshot, entries []store.Entry) error {
	e := limiter.New()
	o.kept = s.Kept
	if len(s.State) > 0 {
		var err error
		if e, err = limiter.Load(s.State); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		o.kept = -1
	}
	o.engine, o.fault = e, nil
	o.setLost(false)
	o.position, o.applied, o.worked = s.Position, s.Time, s.Time
	o.consumers = consumers{}
	o.seen = map[uint64]uint64{} // what was applied to another engine
	o.tail = 0
	for i := range entries {
		if o.apply(&entries[i], nil); o.fault != nil {
			return fmt.Errorf("position %d.%d: %w", entries[i].Major, entries[i].Minor, o.fault)
		}
	}
	return nil
}

// setLost notes whether the engine's state is lost to a fault. The caller holds state.
func (o *organization) setLost(lost bool) {
	switch {
	case lost && !o.lost:
		o.onLost(1)
	case !lost && o.lost:
		o.onLost(-1)
	}
	o.lost = lost
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
// an earlier time. The caller holds state.
func (o *organization) arm() {
	next := o.engine.NextAt()
	if next >= o.alarmAt || o.closed || o.lost {
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
	o.state.Lock()
	o.alarmAt = limiter.Never
	due := !o.closed && !o.lost && o.engine.NextAt() <= o.now()
	if !due && !o.closed {
		o.arm()
	}
	o.state.Unlock()
	if due && o.submit(&limiter.Tick{}, nil) {
		o.lead()
	}
}

// close stops the alarm and waits for what runs in the background. Callers are still
// answered.
func (o *organization) close() {
	defer o.background.Wait()
	o.state.Lock()
	defer o.state.Unlock()
	o.closed = true
	o.count(0)
	if o.alarm != nil {
		o.alarm.Stop()
	}
}
