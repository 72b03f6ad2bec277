package replica

import (
	"context"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/store"
)

// mend puts the engine into a good state again after a command made it panic: that of the
// log without the command; or, of a log that keeps no entries, what the engine itself can
// still write down. Failing both, nothing is decided any more.
//
// e is the entry that is being applied, and index that of the command. Those who wait are
// not told again what the log says.
func (r *Replica) mend(e *store.Entry, index int) {
	defer func() {
		if p := recover(); p != nil {
			r.setLost(true)
			r.logger.Error("the organization's state is lost", "panic", p)
		}
	}()
	mended := r.rebuilt(e, index)
	if mended == nil {
		var err error
		if mended, err = limiter.Load(r.engine.Snapshot(nil)); err != nil {
			r.setLost(true)
			r.logger.Error("the organization's state is lost", "error", err)
			return
		}
	}
	r.engine = mended
	r.machine.Loaded()
}

// rebuilt gives the engine as the log has it before one command of an entry; nil if the
// log does not say.
func (r *Replica) rebuilt(e *store.Entry, index int) *limiter.Engine {
	s, entries, err := r.log.Load(context.Background(), r.name)
	if err != nil {
		return nil
	}
	engine, err := engineOf(&s)
	if err != nil {
		return nil
	}
	var decoder limiter.Decoder
	for i := range entries {
		x := &entries[i]
		_, _, rest, ok := open(x.Payload)
		if !ok || !engine.Begin(x.Incarnation, x.Number, limiter.Time(x.Time)) {
			continue
		}
		last := x.Position == e.Position
		for k := 0; len(rest) > 0 && (!last || k != index); k++ {
			var cmd limiter.Command
			if cmd, rest, err = decoder.Command(rest); err != nil {
				break
			}
			if !r.poisoned[poison{x.Incarnation, x.Number, k}] {
				r.events = engine.Apply(cmd, limiter.Time(x.Time), r.events[:0])
			}
		}
		if last {
			return engine
		}
	}
	return nil // the entry is not there: another history
}
