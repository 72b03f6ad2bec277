package limiter

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestSnapshotsAndBytesChangeNothing feeds the same commands to four engines: one that is
// left alone, one that gets them through the codec, one that is replaced by what its
// snapshot loads as at random points, and one that is looked at in every way there is.
func TestSnapshotsAndBytesChangeNothing(t *testing.T) {
	count, length := sequences()
	eachSeed(t, count, func(seed uint64) error { return compareReplicas(seed, length) })
}

func compareReplicas(seed uint64, length int) error {
	g := newGenerator(seed)
	g.hits = seed%2 == 0
	r := rand.New(rand.NewPCG(seed, 7))
	alone, decoded, loaded, watched := New(), New(), New(), New()
	var d Decoder
	var encoded, snapshot []byte
	var events [4][]Event
	for i := 0; i <= length; i++ {
		c, now := Command(g.config), g.now
		if i > 0 {
			c, now = g.next(alone.NextAt())
		}
		if process, number, ok := g.entry(c); ok {
			fresh := alone.Begin(process, number, now)
			for k, e := range []*Engine{decoded, loaded, watched} {
				if e.Begin(process, number, now) != fresh {
					return fmt.Errorf("step %d: batch %d of %d is fresh to engine 0 or to engine %d", i, number, process, k+1)
				}
			}
			if r.IntN(8) == 0 {
				if l, err := Load(loaded.Snapshot(nil)); err != nil {
					return fmt.Errorf("step %d: load in the midst of an entry: %w", i, err)
				} else {
					loaded = l
				}
			}
			if !fresh && i > 0 {
				continue
			}
		}
		encoded = AppendCommand(encoded[:0], c)
		c2, rest, err := d.Command(encoded)
		if err != nil || len(rest) > 0 {
			return fmt.Errorf("step %d: %s: decoded with %d bytes left: %v", i, describe(c), len(rest), err)
		}
		events[0] = alone.Apply(c, now, events[0][:0])
		events[1] = decoded.Apply(c2, now, events[1][:0])
		events[2] = loaded.Apply(c, now, events[2][:0])
		events[3] = watched.Apply(c, now, events[3][:0])
		g.learn(events[0])
		for k, e := range []*Engine{decoded, loaded, watched} {
			if err := sameDecisions(events[0], events[k+1]); err != nil {
				return fmt.Errorf("step %d: %s: engine %d: %w", i, describe(c), k+1, err)
			}
			if e.Digest() != alone.Digest() || e.Now() != alone.Now() {
				return fmt.Errorf("step %d: engine %d has another digest or time", i, k+1)
			}
		}
		look(watched, g)
		if r.IntN(8) > 0 {
			continue
		}
		snapshot = loaded.Snapshot(snapshot[:0])
		l, err := Load(snapshot)
		if err != nil {
			return fmt.Errorf("step %d: load: %w", i, err)
		}
		if again := l.Snapshot(nil); !bytes.Equal(again, snapshot) {
			return fmt.Errorf("step %d: a loaded engine has another snapshot", i)
		}
		if err := consistent(l); err != nil {
			return fmt.Errorf("step %d: loaded: %w", i, err)
		}
		loaded = l
		if r.IntN(8) == 0 { // not every time: a snapshot must not be what keeps engines equal
			for k, e := range []*Engine{alone, decoded, watched} {
				if !bytes.Equal(e.Snapshot(nil), snapshot) {
					return fmt.Errorf("step %d: engine %d has another snapshot", i, k)
				}
			}
		}
	}
	last := alone.Snapshot(nil)
	for k, e := range []*Engine{decoded, loaded, watched} {
		if !bytes.Equal(e.Snapshot(nil), last) {
			return fmt.Errorf("engine %d ends with another snapshot", k+1)
		}
	}
	return nil
}

// look asks an engine for all that can be asked.
func look(e *Engine, g *generator) {
	e.Limits(g.now)
	e.Pools(g.now)
	e.Classes()
	e.Counts()
	e.Use("a/x", "batch")
	e.Lease(g.lease(), nil)
	e.Holder(g.lease())
	e.Grant(g.lease())
	e.LimitsOf(g.now, []string{"p", "q"})
	e.Peers(nil)
	e.RollCall()
	e.Waits(g.recent().Key)
	e.Lost(New(), nil)
	New().Lost(e, nil)
	e.Hold()
	for id := range e.table {
		e.Limit(LimitID(id))
	}
}

// sameDecisions compares events but for the limits that explain them, whose ids are an
// engine's own.
func sameDecisions(got, want []Event) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d events, want %d", len(want), len(got))
	}
	for i := range got {
		a, b := got[i], want[i]
		a.Binding, a.Bindings = b.Binding, b.Bindings
		if a != b {
			return fmt.Errorf("event %d: %+v, want %+v", i, b, a)
		}
	}
	return nil
}
