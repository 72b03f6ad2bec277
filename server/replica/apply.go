package replica

import (
	"context"
	"encoding/hex"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/store"
)

// A poison is a command that made the engine panic: it is left out when the log is applied
// again.
type poison struct {
	incarnation, number uint64
	index               int
}

// take applies entries. own is the batch that was appended.
func (r *Replica) take(entries []store.Entry, own *Batch) {
	r.read.Store(int64(r.clock()))
	r.mu.Lock()
	r.nudge = r.nudge[:0]
	var seen *Batch
	for i := range entries {
		e := &entries[i]
		if e.Incarnation == own.Incarnation && e.Number == own.Number && own.Number != 0 {
			r.apply(e, own, uint32(r.loaded))
			seen = own
		} else {
			r.apply(e, nil, uint32(r.loaded))
		}
	}
	if !r.lost {
		r.watchRollCall()
	}
	r.machine.Applied(seen)
	whose := slices.Clone(r.nudge) // nil where there are none
	r.mu.Unlock()
	if len(whose) > 0 {
		r.spawn(func() { _ = r.nudger.Nudge(context.Background(), r.name, whose...) }) // it only saves time
	}
	if r.differs != 0 {
		r.differs = 0
		r.broke(digest)
	}
}

// watchRollCall measures how long roll calls take.
func (r *Replica) watchRollCall() {
	since, _, calling := r.engine.RollCall()
	if r.calling && (!calling || since != r.called) {
		r.meter().RollCall(r.engine.Now().Sub(r.called))
		r.restored = r.engine.Now().Add(restoringFor)
	}
	r.calling, r.called = calling, since
}

// restoringFor is how long after a roll call a process may still come that was slow to notice.
const restoringFor = 5 * time.Second

// Restoring says whether processes may still put back leases that the log does not have. The
// caller holds the lock.
func (r *Replica) Restoring() bool {
	_, _, calling := r.engine.RollCall()
	return calling || r.engine.Now() < r.restored
}

// apply applies an entry. own is the batch that it is, if it is one of ours that is seen for
// the first time. Its own payload is decoded like any other: there is one path.
func (r *Replica) apply(e *store.Entry, own *Batch, history uint32) {
	r.position, r.applied = e.Position, e.Time
	r.tail += len(e.Payload)
	if e.Join && e.Incarnation != r.incarnation {
		r.joined = true
	}
	s, has, commands, ok := open(e.Payload)
	if !ok && !r.lost {
		r.Fail(errLater(e.Payload))
	}
	if r.lost {
		if own != nil {
			r.applyAll(e, own, commands) // who waits has to be told
		}
		return
	}
	if !r.engine.Begin(e.Incarnation, e.Number, limiter.Time(e.Time)) { // a late copy
		r.note(history)
		return
	}
	if has && s.history == history && e.Incarnation != r.incarnation {
		r.compare(e.Incarnation, &s)
	}
	r.applyAll(e, own, commands)
	if r.lost {
		return
	}
	if v := r.engine.Behaviour(); v > r.knows {
		r.Fail(fmt.Errorf("the organization is decided by version %d of the rules: this build knows %d, a later one is needed", v, r.knows))
		return
	}
	r.note(history)
}

// applyAll applies the commands of an entry.
func (r *Replica) applyAll(e *store.Entry, own *Batch, commands []byte) {
	for i := 0; len(commands) > 0; i++ {
		cmd, next, err := r.decoder.Command(commands)
		if err != nil {
			r.Fail(fmt.Errorf("an entry with a command that this build does not know, or that is damaged: %w: %s",
				err, hex.EncodeToString(commands[:min(len(commands), 64)])))
			return
		}
		r.applying = Applying{cmd, e, i, own, commands[:len(commands)-len(next)]}
		r.machine.Apply(&r.applying)
		if works(cmd) {
			r.worked = e.Time
		}
		commands = next
	}
}

// errLater says that a payload is of a version that is not known.
func errLater(payload []byte) error {
	return fmt.Errorf("an entry of version %d: this build knows %d, a later one is needed", payload[0], standVersion)
}

// Fail ends the organization's service here, as something does that cannot be read: to go on
// without what an entry says would be to forget charges. The caller holds the lock.
func (r *Replica) Fail(err error) {
	if said := r.failed; said == nil || said.Error() != err.Error() {
		r.failed = err // the same is found each time that it is tried
		r.logger.Error("the log cannot be understood: the organization is not served", "error", err)
	}
	r.fault = err
	r.setLost(true)
}

// note remembers how the engine stands.
func (r *Replica) note(history uint32) {
	if r.stands == nil {
		return
	}
	n := r.engine.Entries()
	r.stands[n%stands] = stand{history, n, r.engine.Digest()}
}

// compare looks whether another process's engine stood as this one did. If not, the log is
// loaded again; if that shows that it is not this one which errs, the other will find out.
func (r *Replica) compare(incarnation uint64, s *stand) {
	mine := &r.stands[s.entries%stands]
	if mine.entries != s.entries || mine.history != s.history || mine.digest == s.digest || r.engine.Now() < r.trusted {
		return
	}
	r.trusted = r.engine.Now().Add(trustFor)
	r.differs = incarnation
	r.logger.Error("two processes have decided differently from the same log; it is loaded again",
		"other", fmt.Sprintf("%016x", incarnation), "entries", s.entries, "digest", fmt.Sprintf("%016x", mine.digest), "other's", fmt.Sprintf("%016x", s.digest))
}

// trustFor is how long no further difference is looked at after one: the other process has to
// read its log again as well.
const trustFor = 2 * time.Second

// Step applies a command to the engine, for Machine.Apply. It says false if the engine
// panicked now or when it met the command before, or its state is lost: the command is left
// out. The events hold until the next Step.
func (r *Replica) Step(a *Applying) (events []limiter.Event, ok bool) {
	at := poison{a.Entry.Incarnation, a.Entry.Number, a.Index}
	if r.poisoned[at] || r.lost {
		return nil, false
	}
	if !r.try(a) {
		r.logger.Error("the engine panicked; the command is left out", "command", hex.EncodeToString(a.raw))
		r.panics.Add(1)
		r.poisoned[at] = true
		r.mend(a.Entry, a.Index)
		return nil, false
	}
	if a.Own != nil && r.nudger != nil {
		for i := range r.events {
			r.served(&r.events[i])
		}
	}
	return r.events, true
}

// served notes whose waiter an event has served.
func (r *Replica) served(ev *limiter.Event) {
	switch ev.Kind {
	case limiter.Granted, limiter.Refused, limiter.Lapsed:
		if who := ev.Lease.Incarnation; who != r.incarnation && who != 0 && !slices.Contains(r.nudge, who) {
			r.nudge = append(r.nudge, who)
		}
	}
}

// try says false if the engine panicked.
func (r *Replica) try(a *Applying) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			r.logger.Error("panic", "panic", p, "stack", string(debug.Stack()))
			r.events = nil
		}
	}()
	if r.Probe != nil {
		r.Probe(a.Command)
	}
	r.events = r.engine.Apply(a.Command, limiter.Time(a.Entry.Time), r.events[:0])
	return true
}
