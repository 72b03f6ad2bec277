package limiter

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// TestLostIsRestored cuts the log of an engine at a random point. Another engine that has
// only what came before is told what it lacks: then it holds as much in every limit, now and
// later, and to be told again changes nothing.
func TestLostIsRestored(t *testing.T) {
	count, length := sequences()
	eachSeed(t, count/2, func(seed uint64) error { return compareRestored(seed, length) })
}

// A cut is two engines that agreed until the log of one was cut.
type cut struct {
	whole, rest *Engine
	now         Time // of the rest, when it is told
	shifted     bool // its time is another, and it had nothing but its configuration
	more        bool // buckets may hold more than they must: something was given back, or restored in another order
	forgotten   bool // leases that the whole remembers no longer
	expired     bool // some charge of the whole has ended, perhaps
}

func compareRestored(seed uint64, length int) error {
	g, r := newGenerator(seed), rand.New(rand.NewPCG(seed, 11))
	g.config.ColdStart, g.calm = Trust, r.IntN(2) == 0
	c := &cut{whole: New(), rest: New(), shifted: r.IntN(3) == 0}
	honest := r.IntN(2) == 0 // nothing is given back as unsent
	at := 1 + r.IntN(length)
	if c.shifted {
		at = 1
	}
	met := map[LeaseID]uint64{} // their order of arrival: names may be used again
	var begun Time
	for i := range length {
		cmd, now := Command(g.config), g.now
		if i > 0 {
			config := g.config
			cmd, now = g.next(c.whole.NextAt())
			if g.config != config { // which nobody would have lost
				g.config, cmd = config, &Tick{}
			}
		}
		switch x := cmd.(type) {
		case *Release:
			if honest && x.Outcome == Unsent {
				x.Outcome = Used
			}
		case *Cancel:
			if honest {
				x.Departure = Away
			}
		case *Restore:
			c.more = true
			for k := range x.Leases {
				x.Leases[k].Unsent = x.Leases[k].Unsent && !honest
			}
		}
		if i == 0 {
			begun = now
		}
		process, number, ok := g.entry(cmd)
		for _, e := range []*Engine{c.whole, c.rest} {
			if e == c.rest && i >= at {
				break
			}
			if ok {
				ok = e.Begin(process, number, now) || i == 0
			}
			if ok || process == 0 {
				g.learn(e.Apply(cmd, now, nil))
			}
		}
		for id := range met {
			t := c.whole.leases[id]
			c.forgotten = c.forgotten || t == nil || t.seq != met[id]
		}
		for id, t := range c.whole.leases {
			met[id] = t.seq
		}
	}
	c.more = c.more || !honest
	c.now = c.whole.now
	if c.shifted {
		c.now = begun + Time(g.upTo(pick(g, 10*time.Hour, c.whole.now.Sub(begun))))
	}
	for _, l := range c.whole.table {
		if l != nil && l.Shape == SlidingWindow {
			for _, tm := range c.whole.timers.timers {
				if t := tm.ticket; t.state != ticketWaiting && t.granted.Add(l.hold) < c.whole.now {
					c.expired = true
				}
			}
		}
	}
	return c.tell()
}

func (c *cut) tell() error {
	lost := &Restore{c.whole.Lost(c.rest, nil)}
	loaded, err := Load(c.whole.Snapshot(nil))
	if err != nil {
		return err
	}
	if again := loaded.Lost(c.rest, nil); !reflect.DeepEqual(again, lost.Leases) {
		return fmt.Errorf("a loaded engine has lost\n%+v, want\n%+v", again, lost.Leases)
	}
	c.rest.Begin(99, 1, c.now)
	c.rest.Apply(&Loss{History: 99, Restores: true}, c.now, nil) // so that nobody is granted meanwhile
	decoded, _, err := new(Decoder).Command(AppendCommand(nil, lost))
	if err != nil {
		return err
	}
	for _, ev := range c.rest.Apply(decoded, c.now, nil) {
		if ev.Kind != Lapsed && (ev.Kind != Granted || !ev.Again) {
			return fmt.Errorf("restoring said %+v", ev)
		}
	}
	if err := consistent(c.rest); err != nil {
		return err
	}
	if err := c.holdsAll(); err != nil {
		return fmt.Errorf("%w\nlost %+v", err, lost.Leases)
	}
	if left := c.whole.Lost(c.rest, nil); len(left) > 0 && !c.forgotten {
		return fmt.Errorf("%d of %d are still lost: %+v", len(left), len(lost.Leases), left)
	}
	// Ten replicas restore the same, some of them later.
	for _, later := range []time.Duration{0, time.Second} {
		twin, err := Load(c.rest.Snapshot(nil))
		if err != nil {
			return err
		}
		c.rest.Apply(lost, c.now.Add(later), nil)
		twin.Apply(&Restore{}, c.now.Add(later), nil)
		if got, want := c.rest.Snapshot(nil), twin.Snapshot(nil); !bytes.Equal(got, want) {
			return fmt.Errorf("to restore again after %v changes something", later)
		}
	}
	return nil
}

// holdsAll compares what the limits hold.
func (c *cut) holdsAll() error {
	if c.forgotten {
		return nil
	}
	type name struct {
		scope Scope
		owner string
		name  string
		m     Metric
	}
	others := map[name]*limit{}
	for _, l := range c.rest.table {
		if l != nil {
			l.advance(c.now)
			others[name{l.scope, l.owner, l.Name, l.Metric}] = l
		}
	}
	for _, l := range c.whole.table {
		if l == nil {
			continue
		}
		l.advance(c.whole.now)
		o := others[name{l.scope, l.owner, l.Name, l.Metric}]
		if o == nil {
			if used := l.used(c.whole.now); used > 0 {
				return fmt.Errorf("%s of %q is not there, want %d", l.Name, l.owner, used)
			}
			continue
		}
		got, want := o.used(c.now), l.used(c.whole.now)
		switch l.Shape {
		case Calendar:
			if c.shifted {
				continue // at another time of day
			}
		case TokenBucket:
			if want -= int64(time.Microsecond); c.more { // roundings
				continue
			}
		case Stock:
			if got != want {
				return fmt.Errorf("%s of %q holds %d, want %d", l.Name, l.owner, got, want)
			}
		case SlidingWindow:
			if !c.expired && got != want {
				return fmt.Errorf("%s of %q holds %d, want %d, no more and no less", l.Name, l.owner, got, want)
			}
			for k := range Time(17) {
				after := k * Time(l.hold) / 16
				got := o.heldAfter(c.now+after) + o.outstanding()
				want := l.heldAfter(c.whole.now+after) + l.outstanding() - c.joined(l, c.whole.now+after)
				if got < want {
					return fmt.Errorf("%s of %q holds %d after %d ns, want %d", l.Name, l.owner, got, after, want)
				}
			}
			continue
		}
		if got < want {
			return fmt.Errorf("%s of %q holds %d, want at least %d", l.Name, l.owner, got, want)
		}
	}
	return nil
}

// joined is what of a window is held longer than it must be at a time, for it was put back
// into a later entry.
func (c *cut) joined(l *limit, at Time) (sum int64) {
	for _, tm := range c.whole.timers.timers {
		for i := range tm.ticket.holds {
			h, t := c.whole.unpack(tm.ticket, i), tm.ticket
			if h.limit != l {
				continue
			}
			if t.state == ticketExpired && h.seen > h.amount && c.whole.ended(t).Add(l.hold) < at {
				sum += h.seen - h.amount
			}
			if h.number-l.window.head < l.window.count && t.granted.Add(l.hold) < at && l.window.at(h.number).first.Add(l.hold) >= at {
				sum += max(h.amount, h.seen)
			}
		}
	}
	return sum
}

// heldAfter is what a window holds surely at a time: of an entry that joins several charges
// nobody knows which of them would have ended.
func (l *limit) heldAfter(at Time) (sum int64) {
	for i := range l.window.count {
		if en := l.window.at(l.window.head + i); en.first.Add(l.hold) >= at {
			sum += en.amount
		}
	}
	return sum
}
