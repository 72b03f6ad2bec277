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
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/policy"
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
	settings    *config.Organization
	policy      *policy.Policy
	revision    int64                     // of the configuration
	diversions  map[string]*diversion     // by route
	metrics     map[limiter.Metric]string // names of units
	poolScopes  map[string]string
	classNames  []string // the heaviest first
	log         store.Log
	logger      *slog.Logger
	leases      atomic.Uint64 // given names so far
	calls       calls
	panics      atomic.Int64 // of the engine

	// What gathers while the leader is busy.
	mu        sync.Mutex
	gathering *batch
	spare     *batch // nil while the leader has it
	leading   bool

	// The leader's own.
	number  uint64 // of the latest batch
	entries []store.Entry
	doubt   *batch // whose fate is unknown: it goes out again, unchanged, before any other
	broken  bool   // the log has to be loaded again

	snapshotEvery int // bytes; 0: never
	snapshotSize  int // of the latest
	tail          int // bytes in the log behind it

	// What follows from the log. Held while entries are applied, and by who looks.
	state     sync.Mutex
	engine    *limiter.Engine
	lost      bool // the engine's state is lost to a fault: nothing is decided any more
	decoder   limiter.Decoder
	position  store.Position // of the last entry applied
	applied   store.Time     // its time
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

	onLost func(n int) // the state is lost, 1, or known again, -1; holds state

	probe func(limiter.Command) // tests make a fault with it; nil

	trends trends
}

func newOrganization(cfg *config.Config, o *config.Organization, p *policy.Policy, incarnation uint64, log store.Log, logger *slog.Logger) *organization {
	g := &organization{
		name:        o.Name,
		fingerprint: fingerprint(o.Name),
		incarnation: incarnation,
		settings:    o,
		policy:      p,
		revision:    cfg.Revision,
		diversions:  newDiversions(o, cfg.Classes),
		metrics:     map[limiter.Metric]string{},
		poolScopes:  map[string]string{},
		log:         log,
		logger:      logger.With("organization", o.Name),
		gathering:   &batch{},
		spare:       &batch{},
		seen:        map[uint64]uint64{},
		poisoned:    map[poison]bool{},
		places:      map[limiter.Key]*place{},
		loads:       loads{policy: p, maxWait: map[string]time.Duration{}},
		alarmAt:     limiter.Never,
	}
	for _, u := range o.Units {
		g.metrics[limiter.Unit(u)] = u
	}
	for _, a := range o.Accounts {
		for _, p := range a.Pools {
			name := a.Name + "/" + p.Name
			g.poolScopes[name] = scopeName(limiter.ScopePool, name)
		}
	}
	for _, c := range cfg.Classes {
		g.classNames = append(g.classNames, c.Name)
		g.loads.maxWait[c.Name] = c.MaxWait
	}
	return g
}

// metric gives the name of a metric.
func (o *organization) metric(m limiter.Metric) string {
	if name, ok := o.metrics[m]; ok {
		return name
	}
	return m.String()
}

// poolScope gives the name of a pool's scope.
func (o *organization) poolScope(pool string) string {
	if name, ok := o.poolScopes[pool]; ok {
		return name
	}
	return scopeName(limiter.ScopePool, pool)
}

// longestHold is for how long, at most, use matters that was made before.
func (o *organization) longestHold() (hold time.Duration) {
	o.state.Lock()
	defer o.state.Unlock()
	for _, c := range o.consumers.byLimit {
		if c != nil && !c.stock {
			hold = max(hold, c.window)
		}
	}
	return hold
}

// open loads the organization's log, or begins it, joins it, and puts the configuration
// in force.
func (o *organization) open(ctx context.Context) error {
	o.alarm = time.AfterFunc(time.Hour, o.ring)
	o.alarm.Stop()
	if err := o.reload(ctx); err != nil {
		return fmt.Errorf("organization %s: %w", o.name, err)
	}
	join := &batch{}
	join.Join = true
	join.add(&limiter.Join{Incarnation: o.incarnation, Behaviour: limiter.Behaviour}, nil)
	if err := o.commit(join); err != nil {
		return fmt.Errorf("organization %s: join: %w", o.name, err)
	}
	c := o.calls.get()
	defer c.free()
	o.propose(o.policy.Configure(), c)
	if c.out.err != nil {
		return fmt.Errorf("organization %s: configure: %w", o.name, c.out.err)
	}
	return nil
}

// reload makes the engine what the log says.
func (o *organization) reload(ctx context.Context) error {
	o.state.Lock()
	defer o.state.Unlock()
	for range 3 {
		s, entries, err := o.log.Load(ctx, o.name)
		if errors.Is(err, store.ErrNotFound) {
			from := store.Snapshot{}
			if o.engine != nil && !o.lost {
				from = store.Snapshot{Position: o.position, Time: o.applied, State: o.engine.Snapshot(nil)}
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
	o.engine = e
	o.setLost(false)
	o.position, o.applied = s.Position, s.Time
	o.consumers = consumers{}
	o.tail = 0
	for i := range entries {
		o.apply(&entries[i], nil)
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

// close stops the alarm. Callers are still answered.
func (o *organization) close() {
	o.state.Lock()
	defer o.state.Unlock()
	o.closed = true
	if o.alarm != nil {
		o.alarm.Stop()
	}
}
