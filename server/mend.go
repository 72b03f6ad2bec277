package server

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
func (o *organization) mend(e *store.Entry, index int) {
	defer func() {
		if r := recover(); r != nil {
			o.setLost(true)
			o.logger.Error("the organization's state is lost", "panic", r)
		}
	}()
	mended := o.rebuilt(e, index)
	if mended == nil {
		var err error
		if mended, err = limiter.Load(o.engine.Snapshot(nil)); err != nil {
			o.setLost(true)
			o.logger.Error("the organization's state is lost", "error", err)
			return
		}
	}
	o.engine = mended
	o.configured()
}

// rebuilt gives the engine as the log has it before one command of an entry; nil if the
// log does not say.
func (o *organization) rebuilt(e *store.Entry, index int) *limiter.Engine {
	s, entries, err := o.log.Load(context.Background(), o.name)
	if err != nil {
		return nil
	}
	engine := limiter.New()
	if len(s.State) > 0 {
		if engine, err = limiter.Load(s.State); err != nil {
			return nil
		}
	}
	var decoder limiter.Decoder
	seen := map[uint64]uint64{}
	for i := range entries {
		x := &entries[i]
		if x.Number <= seen[x.Incarnation] || len(x.Payload) == 0 || x.Payload[0] != payloadVersion {
			continue
		}
		seen[x.Incarnation] = x.Number
		last := x.Position == e.Position
		rest := x.Payload[1:]
		for k := 0; len(rest) > 0 && (!last || k != index); k++ {
			var cmd limiter.Command
			if cmd, rest, err = decoder.Command(rest); err != nil {
				break
			}
			if !o.poisoned[poison{x.Incarnation, x.Number, k}] {
				o.events = engine.Apply(cmd, limiter.Time(x.Time), o.events[:0])
			}
		}
		if last {
			return engine
		}
	}
	return nil // the entry is not there: another history
}
