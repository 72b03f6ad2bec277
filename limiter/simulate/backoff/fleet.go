package backoff

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/clock"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/limiter/simulate/trace"
)

// Config describes a fleet and its provider.
type Config struct {
	Provider provider.Config
	SDK      SDK
	Seed     uint64     // of delays and jitter
	Fill     trace.Fill // for what the trace does not say

	// Transit is the longest way from a worker to the provider; each attempt takes
	// U(0, Transit). 0 … 1 h.
	Transit time.Duration

	// Service is how long a call runs from its admission to its end, ≥ 0. Nil: 0.
	Service func(trace.Row) time.Duration

	// Silent: refusals carry no Retry-After. Otherwise they tell the true time until
	// the call fits, rounded up to a millisecond, and nothing where that is unknown or
	// never.
	Silent bool
}

func (c Config) validate() error {
	s := c.SDK
	switch {
	case c.Transit < 0 || c.Transit > time.Hour:
		return fmt.Errorf("transit %v is not within 0 … 1 h", c.Transit)
	case s.Retries < 0 || s.Base < 0 || s.Cap < 0 || s.Cap > time.Hour || s.Plus < 0 || s.Plus > time.Hour || s.Longest < 0 || s.Less < 0 || s.Less > 1000:
		return fmt.Errorf("SDK %+v: negative, or longer than an hour", s)
	case s.Retries > 0 && s.Cap == 0:
		return errors.New("the SDK retries without any delay")
	}
	return nil
}

type kind uint8

const (
	reaches kind = iota // an attempt reaches the provider
	ends                // a call has run
)

type event struct {
	kind kind
	job  int32 // index of a job
}

// A job is a row until it is served or has failed.
type job struct {
	row     trace.Row
	retries int
}

// A fleet is one run.
type fleet struct {
	config   Config
	provider *provider.Provider
	rnd      *rand.Rand
	queue    clock.Queue[event]
	jobs     []job
	free     []int32
	tally    tally
}

// Run plays rows, which are in order of time, and all that follows from them. An error
// of the rows ends it.
func Run(c Config, rows iter.Seq2[trace.Row, error]) (*Result, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("backoff: %w", err)
	}
	p, err := provider.New(c.Provider)
	if err != nil {
		return nil, fmt.Errorf("backoff: %w", err)
	}
	f := &fleet{config: c, provider: p, rnd: rand.New(rand.NewPCG(c.Seed, 0)), tally: newTally()}
	var last time.Duration
	for row, err := range rows {
		if err != nil {
			return nil, fmt.Errorf("backoff: %w", err)
		}
		if row.At < last {
			return nil, fmt.Errorf("backoff: row %d at %v comes after one at %v", row.Index, row.At, last)
		}
		last = row.At
		f.queue.Run(row.At, f.happen)
		f.take(c.Fill.Apply(row))
	}
	f.queue.Drain(f.happen)
	return &Result{
		Span: last, End: f.queue.Now(),
		Total: f.tally.total.group(), Classes: groups(f.tally.classes), Projects: groups(f.tally.projects),
		Report: p.Report(), Provider: p,
	}, nil
}

// take begins a job.
func (f *fleet) take(row trace.Row) {
	var i int32
	if n := len(f.free); n > 0 {
		i, f.free = f.free[n-1], f.free[:n-1]
	} else {
		i = int32(len(f.jobs))
		f.jobs = append(f.jobs, job{})
	}
	f.jobs[i] = job{row: row}
	f.tally.each(row, func(c *count) { c.Offered++ })
	f.send(row.At, i)
}

func (f *fleet) send(now time.Duration, i int32) {
	way := time.Duration(0)
	if f.config.Transit > 0 {
		way = time.Duration(f.rnd.Int64N(int64(f.config.Transit) + 1))
	}
	f.queue.At(now+way, event{reaches, i})
}

func (f *fleet) happen(now time.Duration, e event) {
	j := &f.jobs[e.job]
	if e.kind == ends {
		f.provider.Complete(now, uint64(e.job), j.row.Output)
		f.tally.each(j.row, func(c *count) {
			c.Served++
			c.Tokens += j.row.Input + j.row.Output
		})
		f.free = append(f.free, e.job)
		return
	}
	var life time.Duration
	if f.config.Service != nil {
		life = f.config.Service(j.row)
	}
	v := f.provider.Arrive(now, provider.Call{
		ID: uint64(e.job), Input: j.row.Input, Cached: j.row.Cached, MaxOutput: j.row.MaxOutput,
		Output: j.row.Output, Life: life,
	})
	if v.OK {
		f.tally.each(j.row, func(c *count) { c.waits = append(c.waits, now-j.row.At) })
		f.queue.At(now+life, event{ends, e.job})
		return
	}
	f.tally.each(j.row, func(c *count) { c.Throttled++ })
	delay, again := f.config.SDK.delay(j.retries, f.told(v), f.rnd)
	if !again {
		f.tally.each(j.row, func(c *count) {
			c.Failed++
			if v.Kind == provider.TooLarge {
				c.TooLarge++
			}
		})
		f.free = append(f.free, e.job)
		return
	}
	j.retries++
	f.send(now+delay, e.job)
}

// told is the Retry-After of a refusal.
func (f *fleet) told(v provider.Verdict) time.Duration {
	if f.config.Silent || v.RetryAfter <= 0 {
		return 0
	}
	if v.RetryAfter > 1000*time.Hour {
		return 1000 * time.Hour // does not fit the sum with now any more
	}
	return (v.RetryAfter + time.Millisecond - 1).Truncate(time.Millisecond)
}
