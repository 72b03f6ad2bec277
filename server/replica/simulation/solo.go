package simulation

import (
	"context"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/alone"
	"github.com/watermaster-project/watermaster/server/config"
)

// maxReplicas is into how many parts the margin is divided.
const maxReplicas = 4

// A solo is what a node decides without its log.
type solo struct {
	breaker *alone.Breaker // nil: it does not decide without it
	away    bool
	engine  *alone.Engine
	calls   map[limiter.Key][]*call // that wait for a grant, or for the log
	owing   []limiter.Cancel        // what the log is to be told first
	alarm   limiter.Time
}

// settings are the configuration as far as it divides the margin.
func settings(margin uint32) *config.Organization {
	c := configure(margin)
	o := &config.Organization{Name: organization, MaxReplicas: maxReplicas, Projects: c.Projects}
	a := config.Account{Name: "p", Margin: margin, Away: config.Away{Policy: config.AwayMargin}}
	for i := range c.Pools {
		a.Pools = append(a.Pools, config.Pool{Name: c.Pools[i].Name[len("p/"):], Limits: c.Pools[i].Limits})
	}
	o.Accounts = []config.Account{a}
	return o
}

// true time as the breaker takes it.
func (w *world) instant() time.Time { return time.Unix(0, epoch).Add(w.now()) }

// unreached notes that the log was not reached by an attempt that began then, for a batch or
// nil. With the attempt that makes it away the node goes on alone, and it says true.
func (n *node) unreached(began time.Time, b *batch) bool {
	s := &n.solo
	if s.breaker == nil || n.process.dead {
		return false
	}
	pause, left := s.breaker.Failed(began, n.process.world.instant())
	if !left {
		n.process.wait(context.Background(), pause, nil)
		return false
	}
	w := n.process.world
	w.tell("%s: goes on alone", n.process)
	s.away = true
	if s.engine == nil {
		s.engine, s.calls = alone.New(), map[limiter.Key][]*call{}
	}
	until := limiter.Time(0)
	if seat, ends, ok := n.engine.Seat(n.incarnation); ok && seat < maxReplicas {
		until = ends
	}
	s.engine.Leave(alone.Absence{
		Organization: settings(w.margin), Configure: configure(w.margin), Log: n.engine, Until: until,
	}, n.replica.Now())
	gathered := n.gathering
	n.gathering, n.reads = nil, false
	n.orphan(b)
	n.orphan(gathered)
	for _, key := range sortedKeys(n.places) {
		if p := n.places[key]; p != nil {
			for _, c := range slices.Clone(p.calls) {
				n.askAlone(c)
			}
		}
	}
	w.spawn(n.process, func() {
		n.process.wait(context.Background(), pause, nil)
		n.seek()
	})
	return true
}

// orphan lets those ask without the log who wait for a batch.
func (n *node) orphan(b *batch) {
	if b == nil {
		return
	}
	for _, c := range b.calls {
		switch {
		case c == nil || c.answered:
		case c.departing:
			c.departing = false
			if c.done {
				c.tell()
			} else {
				n.leaveAlone(c, c.departure)
			}
		case c.place == nil:
			n.askAlone(c)
		}
	}
	b.calls, b.acks = nil, nil
}

// seek looks for the log until it is there and has been told what happened without it.
func (n *node) seek() {
	p := n.process
	for !p.dead {
		began := p.world.instant()
		err := n.meet()
		if err == nil {
			break
		}
		n.failed("seek", err)
		pause, _ := n.solo.breaker.Failed(began, p.world.instant())
		p.wait(context.Background(), pause, nil)
	}
	if p.dead {
		return
	}
	n.solo.breaker.Succeeded()
	p.world.tell("%s: the log is back", p)
	n.lead(true)
}

func (n *node) meet() error {
	ctx := context.Background()
	if err := n.replica.Read(ctx); err != nil {
		return err
	}
	s := &n.solo
	for {
		owed := s.owing
		s.owing = nil
		b := &batch{}
		for i := range owed {
			b.Add(&owed[i])
		}
		lost := s.engine.Lost(n.engine, nil)
		if len(lost) > 0 {
			b.Add(&limiter.Restore{Leases: lost})
		}
		if b.Len() == 0 {
			break
		}
		if err := n.replica.Commit(ctx, &b.Batch); err != nil {
			if !n.replica.InDoubt(&b.Batch) {
				s.owing = append(owed, s.owing...)
			}
			return err
		}
		s.engine.Told(lost)
	}
	s.away = false
	s.engine.Return(n.replica.Now())
	for _, key := range sortedKeys(s.calls) {
		for _, c := range s.calls[key] {
			if c.place == nil {
				c.answer(&answer{kind: answerWait})
			}
		}
	}
	clear(s.calls)
	return nil
}

// askAlone asks for what a call asks, without the log.
func (n *node) askAlone(c *call) {
	s := &n.solo
	s.calls[c.acquire.Key] = append(s.calls[c.acquire.Key], c)
	again := c.acquire
	again.Lease = n.nextLease()
	n.applyAlone(&again)
}

// applyAlone applies a command without the log, and answers whoever is granted by it.
func (n *node) applyAlone(cmd limiter.Command) {
	s := &n.solo
	for _, ev := range s.engine.Apply(cmd, n.replica.Now(), nil) {
		if ev.Kind != limiter.Granted {
			continue
		}
		calls := s.calls[ev.Key]
		delete(s.calls, ev.Key)
		if len(calls) == 0 {
			n.applyAlone(&limiter.Release{Lease: ev.Lease, Outcome: limiter.Unsent})
			continue
		}
		n.process.world.alone++
		if p := n.places[ev.Key]; p != nil {
			s.owing = append(s.owing, limiter.Cancel{Key: ev.Key, Lease: p.lease, Departure: limiter.Gone})
			delete(n.places, ev.Key)
		}
		arrived := calls[0].acquire.Arrived
		for _, c := range calls {
			arrived = max(arrived, c.acquire.Arrived)
		}
		for _, c := range calls {
			s.owing = append(s.owing, limiter.Cancel{Key: ev.Key, Lease: c.acquire.Lease, Departure: limiter.Gone})
			c.place = nil
			c.alone, c.shared, c.departing = true, len(calls) > 1, false
			c.ended(&ev, arrived)
		}
	}
	n.armAlone()
}

// armAlone lets time pass when the engine has something to do.
func (n *node) armAlone() {
	s := &n.solo
	next := s.engine.NextAt()
	if next == limiter.Never || next == s.alarm {
		return
	}
	s.alarm = next
	n.process.after(max(next.Sub(n.replica.Now()), time.Millisecond), func() {
		if s.alarm == next {
			s.alarm = 0
			n.applyAlone(&limiter.Tick{})
		}
	})
}

// lostAlone gives what was granted without the log and it does not know.
func (n *node) lostAlone(log *limiter.Engine, to []limiter.LeaseState) []limiter.LeaseState {
	if n.solo.engine == nil {
		return to
	}
	return n.solo.engine.Lost(log, to)
}

// follow lets what was granted without the log follow what becomes of it there.
func (s *solo) follow(n *node, cmd limiter.Command) {
	if s.engine == nil {
		return
	}
	switch cmd := cmd.(type) {
	case *limiter.Release:
		if s.engine.Granted(cmd.Lease) {
			n.applyAlone(cmd)
		}
	case *limiter.Renew:
		for _, id := range cmd.Leases {
			if s.engine.Granted(id) {
				n.applyAlone(&limiter.Renew{Leases: []limiter.LeaseID{id}})
			}
		}
	}
}

// forget takes a call from those that wait without the log.
func (s *solo) forget(c *call) {
	key := c.acquire.Key
	if rest := slices.DeleteFunc(s.calls[key], func(o *call) bool { return o == c }); len(rest) > 0 {
		s.calls[key] = rest
	} else {
		delete(s.calls, key)
	}
}

// leaveAlone takes a call from where it waits without the log.
func (n *node) leaveAlone(c *call, how limiter.Departure) {
	s, key := &n.solo, c.acquire.Key
	s.owing = append(s.owing, limiter.Cancel{Key: key, Lease: c.acquire.Lease, Departure: limiter.Gone})
	rest := slices.DeleteFunc(s.calls[key], func(o *call) bool { return o == c })
	c.forsake()
	c.answer(&answer{kind: answerWait})
	if len(rest) > 0 {
		s.calls[key] = rest
		return
	}
	delete(s.calls, key)
	if lease, waits := s.engine.Waits(key); waits {
		n.applyAlone(&limiter.Cancel{Key: key, Lease: lease, Departure: how})
	}
}
