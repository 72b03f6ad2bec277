package server

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/alone"
	"github.com/watermaster-project/watermaster/server/config"
)

// A solo is what an organization decides without its log. It is held by the replica's lock.
type solo struct {
	away       bool
	engine     *alone.Engine             // nil: nothing matters any more that was granted alone
	calls      map[limiter.Key][]*call   // that wait for a grant, or for the log
	owing      []limiter.Cancel          // what the log is to be told first
	configured bool                      // it was told the configuration that is under way
	alarm      *time.Timer               // rings when the engine has something to do
	granted    func(p config.AwayPolicy) // counts
}

// leave begins an absence.
func (s *solo) leave(o *organization) {
	if s.engine == nil {
		s.engine = alone.New()
	}
	if s.calls == nil {
		s.calls = map[limiter.Key][]*call{}
	}
	s.away, s.configured = true, false
	e := o.edition.Load()
	s.engine.Leave(alone.Absence{
		Organization: e.settings, Configure: e.policy.Configure(), Log: o.engine(), Until: o.partUntil(),
	}, o.now())
}

// arrive ends an absence: whoever does not wait in the log's queue is sent there.
func (s *solo) arrive(o *organization) {
	s.away = false
	s.engine.Return(o.now())
	for _, calls := range s.calls {
		for _, c := range calls {
			if c.place == nil {
				c.back = true
				c.signal()
			}
		}
	}
	clear(s.calls)
	s.arm(o)
}

// owe notes what the log is to be told of a call that has left.
func (s *solo) owe(c limiter.Cancel) { s.owing = append(s.owing, c) }

// arm sets the alarm for when the engine has something to do; where the log is back, that is
// also to be dropped when it is idle.
func (s *solo) arm(o *organization) {
	if s.engine == nil || o.closed {
		return
	}
	next, now := s.engine.NextAt(), o.now()
	if !s.away {
		next = min(next, now.Add(idleLook))
	}
	if next != limiter.Never {
		s.alarm.Reset(max(next.Sub(now), leastAlarm))
	}
}

// idleLook is how often it is looked whether anything still matters that was granted alone.
const idleLook = time.Minute

// soloRing lets time pass where nobody else does.
func (o *organization) soloRing() {
	o.replica.Lock()
	defer o.replica.Unlock()
	if o.solo.engine == nil || o.closed {
		return
	}
	o.soloApply(&limiter.Tick{})
	if !o.solo.away && o.solo.engine.Idle(o.now()) {
		o.solo.engine = nil
		return
	}
	o.solo.arm(o)
}

// soloLost gives what was granted alone and the log does not know. The caller holds the replica's
// lock.
func (o *organization) soloLost(log *limiter.Engine, to []limiter.LeaseState) []limiter.LeaseState {
	if o.solo.engine == nil {
		return to
	}
	return o.solo.engine.Lost(log, to)
}

// soloApply applies a command without the log, tells whoever is granted by it, and gives what
// has happened. The caller holds the replica's lock.
func (o *organization) soloApply(cmd limiter.Command) []limiter.Event {
	events := o.solo.engine.Apply(cmd, o.now(), nil)
	for i := range events {
		if ev := &events[i]; ev.Kind == limiter.Granted {
			o.soloGranted(ev)
		}
	}
	return events
}

// soloAsk asks for what a request asks, without the log. Those who wait under its key are told
// if it is granted, now or later.
func (o *organization) soloAsk(acquire *limiter.Acquire) {
	cmd := *acquire
	cmd.Lease = o.nextLease()
	cmd.MaxWait = max(0, cmd.MaxWait-o.now().Sub(cmd.Arrived))
	o.soloApply(&cmd)
	o.solo.arm(o)
}

// soloGranted tells of a grant that was made alone. The log is told that the request no longer
// waits there, or has not to be granted once more.
func (o *organization) soloGranted(ev *limiter.Event) {
	s := &o.solo
	calls := s.calls[ev.Key]
	delete(s.calls, ev.Key)
	if len(calls) == 0 { // its caller has left just now
		o.soloApply(&limiter.Release{Lease: ev.Lease, Outcome: limiter.Unsent})
		return
	}
	arrived := calls[0].acquire.Arrived // of the latest, from which the engine counts
	for _, c := range calls {
		arrived = max(arrived, c.acquire.Arrived)
	}
	if p := o.places[ev.Key]; p != nil {
		s.owe(limiter.Cancel{Key: ev.Key, Lease: p.lease, Departure: limiter.Gone})
		delete(o.places, ev.Key)
	}
	o.charges, _ = s.engine.Engine().Lease(ev.Lease, o.charges[:0])
	for _, c := range calls {
		if c.sent {
			s.owe(limiter.Cancel{Key: ev.Key, Lease: c.acquire.Lease, Departure: limiter.Gone})
		}
		c.place, c.same = nil, nil
		o.write(&c.end, ev)
		o.press(&c.end, &c.acquire)
		c.end.alone, c.end.shared = true, len(calls) > 1
		c.end.event.Waited += arrived.Sub(c.acquire.Arrived)
		c.end.event.StartWithin += arrived.Sub(c.acquire.Arrived)
		c.end.waited = c.end.event.Waited
		c.ended = true
		c.signal()
	}
	if p, ok := s.engine.Policy(ev.Pool); ok && !ev.Again {
		s.granted(p)
	}
}

// press reads how the pressure is where a request may go, as far as is known.
func (o *organization) press(out *outcome, acquire *limiter.Acquire) {
	for i := range acquire.Targets {
		o.loads.join(o.engine(), &out.load, acquire.Targets[i].Pool, acquire.Class)
	}
	o.loads.read(o.engine(), &out.load, acquire.Class)
}

// soloLeave takes a call from where it waits for a grant without the log. The caller holds the
// replica's lock.
func (o *organization) soloLeave(key limiter.Key, c *call, departure limiter.Departure) {
	calls := o.solo.calls[key]
	i := slices.Index(calls, c)
	if i < 0 {
		return
	}
	if calls = slices.Delete(calls, i, i+1); len(calls) > 0 {
		o.solo.calls[key] = calls
		return
	}
	delete(o.solo.calls, key)
	if lease, waits := o.solo.engine.Waits(key); waits {
		o.soloApply(&limiter.Cancel{Key: key, Lease: lease, Departure: departure})
	}
}

// alone answers a call while the log is away: by a grant, if this process has room for it,
// else when its block ends. back says that the log is there again, for the call to be asked
// of it; block is what is left then.
func (s *Server) alone(ctx context.Context, o *organization, c *call, a *asked) (out *outcome, back, moved bool, err error) {
	start := time.Now()
	o.replica.Lock()
	if !o.solo.away {
		o.replica.Unlock()
		return nil, true, false, nil
	}
	c.out.reset()
	c.left = false
	o.press(&c.out, &c.acquire)
	o.solo.calls[c.acquire.Key] = append(o.solo.calls[c.acquire.Key], c)
	o.soloAsk(&c.acquire)
	ended := c.ended
	patience := c.patience - o.now().Sub(c.acquire.Arrived)
	o.replica.Unlock()
	if ended {
		return &c.end, false, false, nil
	}
	if c.waits && patience > 0 {
		c.timer.Reset(min(a.block, patience))
		defer c.timer.Stop()
		for waits := true; waits; {
			select {
			case <-c.wake:
				o.replica.Lock()
				ended, back = c.ended, c.back
				o.replica.Unlock()
				if ended {
					return &c.end, false, false, nil
				}
				if back {
					a.block = max(0, a.block-time.Since(start))
					return nil, true, false, nil
				}
				continue
			case <-c.timer.C:
			case <-ctx.Done():
			case <-s.draining:
			case <-o.gone:
				moved = true
			}
			waits = false
		}
	}
	out, err = o.soloEnd(ctx, c)
	if moved = moved && out != nil && out.event.Kind == limiter.Queued; moved {
		a.block = max(0, a.block-time.Since(start))
	}
	return out, false, moved, err
}

// soloEnd is what a call is told whose block or patience has ended without a grant, or whose
// caller has left. It may have been granted just now.
func (o *organization) soloEnd(ctx context.Context, c *call) (*outcome, error) {
	c.cancel = limiter.Cancel{Key: c.acquire.Key, Lease: c.acquire.Lease, Departure: limiter.Away}
	if errors.Is(ctx.Err(), context.Canceled) {
		c.cancel.Departure = limiter.Gone
	}
	o.replica.Lock()
	ended := c.ended
	if !ended && o.solo.away {
		o.soloLeave(c.acquire.Key, c, c.cancel.Departure)
		if c.sent {
			// The log may grant at once what is in doubt, and nobody would hear of it.
			o.solo.owe(limiter.Cancel{Key: c.cancel.Key, Lease: c.cancel.Lease, Departure: limiter.Gone})
		}
	}
	late := !ended && !o.solo.away && c.sent // the log may have it waiting
	patient := c.patience > o.now().Sub(c.acquire.Arrived)
	closed := o.edition.Load().closedFor(&c.acquire)
	o.replica.Unlock()
	if late {
		o.leave(c)
		ended = c.ended
	}
	if err := ctx.Err(); err != nil {
		if ended && c.end.event.Kind == limiter.Granted {
			o.giveBack(c, &c.end)
		}
		return nil, err
	}
	if ended {
		return &c.end, nil
	}
	out := &c.out
	out.err = nil
	out.event = limiter.Event{Kind: limiter.Queued, Key: c.acquire.Key}
	switch {
	case closed:
		out.err = errAway
	case !patient:
		out.event.Kind, out.event.Reason, out.event.RetryAfter = limiter.Refused, limiter.WaitTooLong, retryDelay
	}
	return out, nil
}

// closedFor says whether no account that a request may use grants anything without the log.
func (e *edition) closedFor(acquire *limiter.Acquire) bool {
	for i := range acquire.Targets {
		if e.away[acquire.Targets[i].Pool] != config.AwayClosed {
			return false
		}
	}
	return true
}
