package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/store"
)

// loads is how often it is tried to load a log that comes and goes.
const loads = 5

// restoreAtOnce is how many leases one Restore has at most, and counters one Recount; it ends
// with the counter with which it has so many entries.
const (
	restoreAtOnce = 500
	recountAtOnce = 5000
)

// load makes the engine what the log says, and prepares what this process has to say to that.
// A log that is gone begins with what is known here. The lock is not held while the log is
// asked.
func (r *Replica) load(ctx context.Context) error {
	former := r.present()
	if former != nil && (len(r.known) == 0 || r.known[len(r.known)-1] != former) {
		r.known = append(r.known, former)
	}
	began := false
	for try := 1; ; try++ {
		s, entries, err := r.log.Load(ctx, r.name)
		if errors.Is(err, store.ErrNotFound) && try < loads {
			began = true
			if err = r.create(ctx, former); err == nil || errors.Is(err, store.ErrExists) {
				continue
			}
			return fmt.Errorf("create: %w", err)
		}
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		r.mu.Lock()
		err = r.replay(s, entries)
		r.mu.Unlock()
		if err != nil {
			return err
		}
		r.loaded = s.History
		break
	}
	r.rejoin = r.saying(former != nil)
	r.tell(began, former)
	r.broken, r.orphans = whole, true
	return nil
}

// tell measures why the log was loaded, and what others may have granted without knowing of
// what is put back: they did, if the log has more of them than the engine from before, and
// nobody is waited for.
func (r *Replica) tell(began bool, former *limiter.Engine) {
	cause := r.broken
	if cause == gap {
		switch {
		case began:
			cause = gone
		case r.loaded != r.history:
			cause = another
		default:
			cause = trimmed
		}
	}
	if cause != unloaded {
		r.meter().Broke(string(cause))
	}
	if r.restore == 0 || former == nil {
		return
	}
	r.mu.Lock()
	_, _, calling := r.engine.RollCall()
	more := !calling && r.wentOn(former)
	r.mu.Unlock()
	if more {
		r.meter().Uncounted(r.restore)
	}
}

// wentOn says whether another process appended what an engine has not applied. The caller
// holds the lock.
func (r *Replica) wentOn(without *limiter.Engine) bool {
	numbers := map[uint64]uint64{}
	for _, p := range without.Peers(nil) {
		numbers[p.Incarnation] = p.Number
	}
	r.peers = r.engine.Peers(r.peers[:0])
	for i := range r.peers {
		if p := &r.peers[i]; p.Incarnation != r.incarnation && p.Number > numbers[p.Incarnation] {
			return true
		}
	}
	return false
}

// present gives the engine, if it is of any use: nil where it is lost, or where nothing that it
// knows matters any more and others may have come and gone.
func (r *Replica) present() *limiter.Engine {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.engine == nil || r.lost || r.nudger != nil && r.Now() > r.engine.Now().Add(r.engine.Hold()) {
		return nil
	}
	return r.engine
}

// create begins the log.
func (r *Replica) create(ctx context.Context, from *limiter.Engine) error {
	s := r.from
	if from != nil {
		r.mu.Lock()
		s = store.Snapshot{Position: r.position, Time: r.applied, State: from.Snapshot(nil)}
		r.mu.Unlock()
		if claim, joined := r.log.Now(r.name); joined {
			s.Time = max(s.Time, claim.Time)
		}
	}
	return r.log.Create(ctx, r.name, s)
}

// saying gives the batch that goes out first after the log was loaded; nil: none needs to.
func (r *Replica) saying(again bool) *Batch {
	lost, in := r.missing()
	recounts, counters := r.recounts()
	var first []limiter.Command
	if len(lost)+counters > 0 && in != nil { // begun by one who has put nothing in force yet, where nothing can be put back
		first = append(first, in)
	}
	if r.history != 0 && r.loaded != r.history || len(lost)+counters > 0 {
		first = append(first, &limiter.Loss{History: r.loaded, Restores: len(lost)+counters > 0})
		r.logger.Warn("the organization's log is not what it was: what was known here is put back",
			"leases", len(lost), "counters", counters, "another history", r.loaded != r.history)
	}
	if r.beside != nil {
		r.mu.Lock()
		lost = unique(r.beside(r.engine, lost))
		r.mu.Unlock()
	}
	first = append(first, Restoring(lost)...)
	first = append(first, recounts...)
	r.restore = len(lost)
	if len(first) == 0 && again && r.hasJoined() {
		r.known, r.history = nil, r.loaded
		return nil
	}
	return r.joining(first...)
}

// missing lists the leases that were known and are not, or not so, in what was loaded; and the
// limits that were in force, if none are there.
func (r *Replica) missing() (lost []limiter.LeaseState, in *limiter.Configure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, _, configured := r.engine.Configuration(); !configured && len(r.known) > 0 {
		in = r.known[len(r.known)-1].InForce()
	}
	for i := len(r.known) - 1; i >= 0; i-- { // the latest knows best
		lost = r.known[i].Lost(r.engine, lost)
	}
	return unique(lost), in
}

// Restoring gives the commands that put leases back.
func Restoring(leases []limiter.LeaseState) (list []limiter.Command) {
	for len(leases) > 0 {
		n := min(len(leases), restoreAtOnce)
		list = append(list, &limiter.Restore{Leases: leases[:n]})
		leases = leases[n:]
	}
	return list
}

// recounts gives what puts back the counters that were known and are not, or not so, in what was
// loaded; and how many those are. Each says which history its knowledge is of.
func (r *Replica) recounts() (list []limiter.Command, counters int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.known) - 1; i >= 0; i-- {
		stranger := r.loaded != r.history && r.known[i].Strange(r.engine)
		lost := r.known[i].LostCounters(r.engine, stranger, nil)
		counters += len(lost)
		for len(lost) > 0 {
			n, hits := 0, 0
			for ; n < len(lost) && n < restoreAtOnce && hits < recountAtOnce; n++ {
				hits += len(lost[n].Hits)
			}
			list = append(list, &limiter.Recount{History: r.known[i].History(), Stranger: stranger, Counters: lost[:n]})
			lost = lost[n:]
		}
	}
	return list, counters
}

// unique keeps the first of those that tell of the same lease.
func unique(list []limiter.LeaseState) []limiter.LeaseState {
	seen := make(map[limiter.LeaseID]bool, len(list))
	kept := list[:0]
	for i := range list {
		if !seen[list[i].Lease] {
			seen[list[i].Lease] = true
			kept = append(kept, list[i])
		}
	}
	return kept
}

// engineOf makes the engine of a snapshot.
func engineOf(s *store.Snapshot) (*limiter.Engine, error) {
	if len(s.State) == 0 {
		return limiter.New(), nil
	}
	e, err := limiter.Load(s.State)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return e, nil
}

// replay makes the engine of a snapshot and what follows it. What cannot be read is no log that
// is away: an organization that was served is lost to it, as by Fail, until it can be read.
func (r *Replica) replay(s store.Snapshot, entries []store.Entry) error {
	e, err := engineOf(&s)
	if err != nil {
		if r.engine != nil {
			r.Fail(err)
		}
		return err
	}
	if r.kept = s.Kept; len(s.State) > 0 {
		r.kept = -1
	}
	was := r.lost
	r.engine, r.fault, r.lost = e, nil, false
	r.position, r.applied, r.worked = s.Position, s.Time, s.Time
	r.tail, r.size = 0, len(s.State)
	clear(r.stands)
	r.note(uint32(s.History))
	r.joined, r.calling = false, false
	r.machine.Loaded()
	r.replaying = true
	for i := range entries {
		if r.apply(&entries[i], nil, uint32(s.History)); r.fault != nil {
			err = fmt.Errorf("position %d.%d: %w", entries[i].Major, entries[i].Minor, r.fault)
			break
		}
	}
	r.replaying = false
	lost := r.lost
	r.lost = was
	r.setLost(lost) // of the end only, and not of what was tried
	if err == nil {
		r.machine.Applied(nil)
	}
	return err
}

// setLost notes whether the engine's state is lost to a fault. While the log is replayed the
// machine is not told.
func (r *Replica) setLost(lost bool) {
	if r.replaying {
		r.lost = lost
	} else if lost != r.lost {
		r.lost = lost
		r.machine.Fault(lost)
	}
}

// Replay gives the engine that a snapshot and what follows it make, and the time of the last
// entry that did more than to join or to configure, for those who only want to know.
func Replay(s store.Snapshot, entries []store.Entry) (e *limiter.Engine, applied, worked store.Time, err error) {
	if e, err = engineOf(&s); err != nil {
		return nil, 0, 0, err
	}
	applied, worked = s.Time, s.Time
	var d limiter.Decoder
	var events []limiter.Event
	for i := range entries {
		x := &entries[i]
		applied = x.Time
		_, _, commands, ok := open(x.Payload)
		if !ok {
			return nil, 0, 0, fmt.Errorf("position %d.%d: %w", x.Major, x.Minor, errLater(x.Payload))
		}
		if !e.Begin(x.Incarnation, x.Number, limiter.Time(x.Time)) {
			continue
		}
		for len(commands) > 0 {
			var cmd limiter.Command
			if cmd, commands, err = d.Command(commands); err != nil {
				return nil, 0, 0, fmt.Errorf("position %d.%d: %w", x.Major, x.Minor, err)
			}
			events = e.Apply(cmd, limiter.Time(x.Time), events[:0])
			if works(cmd) {
				worked = x.Time
			}
		}
	}
	return e, applied, worked, nil
}

// works says whether a command does more than to say who serves, and with what limits.
func works(cmd limiter.Command) bool {
	switch cmd.(type) {
	case *limiter.Join, *limiter.Configure, *limiter.Upgrade:
		return false
	}
	return true
}
