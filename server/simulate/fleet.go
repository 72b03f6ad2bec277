package simulate

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/limiter/simulate/clock"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/limiter/simulate/trace"
)

// A Clerk turns what a worker says into commands, and knows the provider behind a pool.
// Rows come with class, project and cap filled in.
type Clerk interface {
	// Acquire fills in the command for a row, but for Key, Lease and Arrived. An error
	// is a row that no command can be made of: it counts as refused.
	Acquire(row *trace.Row, cmd *limiter.Acquire) error
	// Release fills in the command that ends a call, but for Lease. v is not OK when the
	// provider refused the call with 429.
	Release(row *trace.Row, pool, model string, v provider.Verdict, cmd *limiter.Release)
}

// A Retrier is a Clerk whose workers ask again for a call that the provider refused.
type Retrier interface {
	Clerk
	// Retry is asked after Release of a call that was refused, the attempt-th from 0:
	// after how long it is asked for anew. again is false when it has failed for good.
	Retry(row *trace.Row, attempt int, v provider.Verdict) (after time.Duration, again bool)
}

// A Fleet is a number of workers, each a row of a trace, before one engine and the
// providers behind its pools. Time is virtual: hours of traffic take seconds.
type Fleet struct {
	Engine    *limiter.Engine
	Clerk     Clerk
	Providers map[string]*provider.Provider // by pool
	Seed      uint64
	JitterMin time.Duration // from a grant until the provider counts the call: even between
	JitterMax time.Duration // JitterMin and JitterMax
	Life      func(row *trace.Row) time.Duration
	Crash     func(row *trace.Row) bool            // the worker dies holding its lease; nil: none does
	Progress  func(now time.Duration, calls int64) // called about every 10,000 events; may be nil
}

// start is the log time at which simulations begin.
const start = limiter.Time(1_700_000_000_000_000_000)

type eventKind uint8

const (
	reach eventKind = iota // a call reaches the provider
	done                   // a call ends
	again                  // a call that was refused is asked for anew
)

type event struct {
	kind eventKind
	call *call
}

// A call is one row on its way.
type call struct {
	row     trace.Row
	number  uint64        // of the attempt
	attempt int           // from 0
	waited  time.Duration // from the row's time until the grant of the attempt
	lease   limiter.LeaseID
	pool    string
	model   string
	tally   *Tally
	project *Tally
}

// run is the state of one simulation.
type run struct {
	*Fleet
	random  *rand.Rand
	retrier Retrier // nil: what the provider refuses has failed
	queue   clock.Queue[event]
	now     time.Duration
	calls   map[uint64]*call // that wait or run, by number
	number  uint64
	acquire limiter.Acquire
	release limiter.Release
	events  []limiter.Event
	result  *Result
	free    []*call
}

// Run plays rows until all have ended, or until the time until (0: no bound), and tells
// what happened.
func (f *Fleet) Run(rows iter.Seq[trace.Row], until time.Duration) (*Result, error) {
	r := &run{
		Fleet:  f,
		random: rand.New(rand.NewPCG(f.Seed, 0)),
		calls:  map[uint64]*call{},
		result: newResult(f),
	}
	r.retrier, _ = f.Clerk.(Retrier)
	next, stop := iter.Pull(rows)
	defer stop()
	row, more := next()
	for steps := 0; ; steps++ {
		at, kind := r.next(row.At, more)
		if kind == nothing || until > 0 && at >= until {
			break
		}
		r.moveTo(at)
		switch kind {
		case arrival:
			r.arrive(row)
			row, more = next()
		case tick:
			r.apply(&limiter.Tick{})
		case queued:
			_, e, _ := r.queue.Next()
			if err := r.handle(e); err != nil {
				return nil, err
			}
		}
		if f.Progress != nil && steps%10_000 == 0 {
			f.Progress(r.now, int64(r.number))
		}
	}
	if until > 0 {
		r.moveTo(until)
	}
	r.result.finish(r.now)
	return r.result, nil
}

type nextKind uint8

const (
	nothing nextKind = iota
	tick
	queued
	arrival
)

// next gives what happens next; of what happens at one instant the engine's timers come
// first.
func (r *run) next(row time.Duration, more bool) (at time.Duration, kind nextKind) {
	if t := r.Engine.NextAt(); t != limiter.Never {
		at, kind = max(r.now, t.Sub(start)), tick
	}
	if kind == tick && !more && r.queue.Len() == 0 && len(r.calls) == 0 {
		return 0, nothing // only memories are left to fade
	}
	if t, ok := r.queue.Peek(); ok && (kind == nothing || t < at) {
		at, kind = t, queued
	}
	if more && (kind == nothing || row < at) {
		at, kind = row, arrival
	}
	return max(at, r.now), kind
}

func (r *run) moveTo(at time.Duration) {
	r.result.Timeline.moveTo(at, r.Engine)
	r.now = at
}

func (r *run) apply(c limiter.Command) {
	r.events = r.Engine.Apply(c, start.Add(r.now), r.events[:0])
	for i := range r.events {
		r.event(&r.events[i])
	}
	r.result.Timeline.look(r.Engine)
}

func (r *run) arrive(row trace.Row) {
	c := r.newCall()
	c.row, c.attempt = row, 0
	c.tally, c.project = r.result.class(row.Class), r.result.project(row.Client)
	for _, t := range [2]*Tally{c.tally, c.project} {
		t.Offered++
		t.OfferedTokens += row.Input + row.MaxOutput
		t.OfferedUse += row.Input + row.Output
	}
	r.ask(c)
}

// ask asks the engine for an attempt of a call.
func (r *run) ask(c *call) {
	r.number++
	c.number = r.number
	if err := r.Clerk.Acquire(&c.row, &r.acquire); err != nil {
		r.refused(c)
		return
	}
	r.acquire.Key = limiter.Key{}
	binary.LittleEndian.PutUint64(r.acquire.Key[:], c.number)
	r.acquire.Lease = limiter.LeaseID{Incarnation: 1, Count: c.number}
	r.acquire.Arrived = start.Add(r.now)
	r.calls[c.number] = c
	r.apply(&r.acquire)
}

func (r *run) event(e *limiter.Event) {
	switch e.Kind {
	case limiter.Granted:
		c := r.calls[e.Lease.Count]
		c.lease, c.pool, c.model = e.Lease, e.Pool, e.Model
		c.waited = r.now - c.row.At
		r.queue.At(r.now+r.jitter(), event{reach, c})
	case limiter.Refused, limiter.Lapsed:
		if c := r.calls[e.Lease.Count]; c != nil {
			r.refused(c)
		}
	case limiter.Expired:
		r.result.Expired++
	}
}

func (r *run) refused(c *call) {
	c.tally.Refused++
	c.project.Refused++
	delete(r.calls, c.number)
	r.free = append(r.free, c)
}

func (r *run) jitter() time.Duration {
	if r.JitterMax <= r.JitterMin {
		return r.JitterMin
	}
	return r.JitterMin + time.Duration(r.random.Int64N(int64(r.JitterMax-r.JitterMin+1)))
}

func (r *run) handle(e event) error {
	c := e.call
	if e.kind == again {
		r.ask(c)
		return nil
	}
	p := r.Providers[c.pool]
	if p == nil {
		return fmt.Errorf("simulate: no provider stands behind pool %q", c.pool)
	}
	switch e.kind {
	case reach:
		life := r.Life(&c.row)
		v := p.Arrive(r.now, provider.Call{
			ID: c.number, Input: c.row.Input, Cached: c.row.Cached, MaxOutput: c.row.MaxOutput, Output: c.row.Output, Life: life,
		})
		if v.Kind != provider.Fits {
			r.result.Throttled++
			c.tally.Throttled++
			c.project.Throttled++
		}
		if !v.OK {
			r.end(c, v)
			return nil
		}
		r.served(c)
		r.queue.At(r.now+life, event{done, c})
	case done:
		p.Complete(r.now, c.number, c.row.Output)
		if r.Crash != nil && r.Crash(&c.row) {
			delete(r.calls, c.number)
			return nil
		}
		r.end(c, provider.Verdict{OK: true})
	}
	return nil
}

// served counts a call that the provider has accepted.
func (r *run) served(c *call) {
	for _, t := range [2]*Tally{c.tally, c.project} {
		t.Served++
		t.ServedTokens += c.row.Input + c.row.MaxOutput
		t.ServedUse += c.row.Input + c.row.Output
		t.waits = append(t.waits, int64(c.waited))
	}
	r.result.Timeline.waited(c.row.Class, c.waited)
}

// end releases the lease of a call. One that was refused may be asked for again.
func (r *run) end(c *call, v provider.Verdict) {
	r.Clerk.Release(&c.row, c.pool, c.model, v, &r.release)
	r.release.Lease = c.lease
	delete(r.calls, c.number)
	if !v.OK && r.retrier != nil {
		if after, ok := r.retrier.Retry(&c.row, c.attempt, v); ok {
			c.attempt++
			r.queue.At(r.now+max(0, after), event{again, c})
			r.apply(&r.release)
			return
		}
	}
	if !v.OK {
		c.tally.Failed++
		c.project.Failed++
	}
	r.apply(&r.release)
	r.free = append(r.free, c)
}

func (r *run) newCall() *call {
	if n := len(r.free); n > 0 {
		c := r.free[n-1]
		r.free = r.free[:n-1]
		return c
	}
	return &call{}
}
