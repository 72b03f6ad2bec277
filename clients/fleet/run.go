package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// A plan is one run.
type plan struct {
	root, binary, dir string
	languages         []language
	workers           int // in all
	crews             int // processes a language; of each language one third is killed
	budget            budget
	warm, measured    time.Duration // the doomed die in the middle of what is measured
	ttl               time.Duration // of leases
	wrapped           bool
	progress          io.Writer
}

// A result is what was seen of a run.
type result struct {
	calls              map[string][]call // by language, those that ended while it was measured
	survivors, victims []call            // all that were told
	survivorsAsDone    bool              // every crew that lived delivered all of its releases
	before, after, end report            // when measuring began and ended, and at the end of all
	used               float64           // of the quota of requests, while it was measured
	workers, killed    int
	heldByDead         time.Duration // from their death until nothing was held for them
	booked             int64         // tokens that the service booked to the survivors
	bookedDead         int64
	late               []error
}

func (p plan) say(format string, args ...any) {
	if p.progress != nil {
		fmt.Fprintf(p.progress, format+"\n", args...)
	}
}

// run musters the fleet, lets it work, kills a third of it, and counts.
func (p plan) run(ctx context.Context) (*result, error) {
	s, err := build(ctx, p.binary, p.dir, p.budget, p.wrapped)
	if err != nil {
		return nil, err
	}
	defer s.strike()
	r := &result{calls: map[string][]call{}}
	crews, err := p.muster(ctx, s, r)
	defer func() {
		for _, c := range crews {
			c.kill()
		}
	}()
	if err != nil {
		return nil, err
	}
	p.say("%d workers in %d processes", r.workers, len(crews))
	for _, c := range crews {
		if err := c.begin(); err != nil {
			return nil, err
		}
	}
	if err := p.work(ctx, s, crews, r); err != nil {
		return nil, err
	}
	return r, p.count(ctx, s, crews, r)
}

// muster starts all crews at once: interpreters take their time.
func (p plan) muster(ctx context.Context, s *stage, r *result) ([]*crew, error) {
	var (
		mu    sync.Mutex
		crews []*crew
		errs  []error
		all   sync.WaitGroup
	)
	n := len(p.languages) * p.crews
	for i := range n {
		o := order{
			service: s.service, provider: s.provider, project: steady, ttl: p.ttl, seed: i + 1,
			workers: p.workers/n + min(1, max(0, p.workers%n-i)),
			seconds: (p.warm + p.measured).Seconds(),
		}
		dies := i%p.crews < p.crews/3
		if dies {
			o.project, o.seconds = doomed, 3600
			r.killed += o.workers
		}
		r.workers += o.workers
		all.Go(func() {
			c, err := muster(ctx, p.languages[i/p.crews], o)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			c.doomed = dies
			crews = append(crews, c)
		})
	}
	all.Wait()
	return crews, errors.Join(errs...)
}

// work waits while they work, and kills the doomed half-way.
func (p plan) work(ctx context.Context, s *stage, crews []*crew, r *result) (err error) {
	if err := wait(ctx, p.warm); err != nil {
		return err
	}
	if r.before, err = s.report(ctx); err != nil {
		return err
	}
	p.say("warm: %d calls, %d refused with 429", r.before.Accepted, r.before.Refused)
	if err := wait(ctx, p.measured/2); err != nil {
		return err
	}
	if r.killed > 0 {
		if p.wrapped {
			// Calls come in bursts: death is to find them in the middle of one.
			if err := p.await(ctx, s, func(held int64) bool { return held >= int64(r.killed)/10 }); err != nil {
				return err
			}
		}
		var dying sync.WaitGroup
		for _, c := range crews {
			if c.doomed {
				dying.Go(c.kill)
			}
		}
		dying.Wait()
		dead := time.Now()
		p.say("%d workers are killed", r.killed)
		if p.wrapped {
			if err := p.await(ctx, s, func(held int64) bool { return held == 0 || time.Since(dead) > p.ttl+30*time.Second }); err != nil {
				return err
			}
			r.heldByDead = time.Since(dead)
		}
	}
	if err := wait(ctx, time.Until(r.before.at.Add(p.measured))); err != nil {
		return err
	}
	if r.after, err = s.report(ctx); err != nil {
		return err
	}
	r.used = float64(r.after.counted("requests")-r.before.counted("requests")) /
		(float64(p.budget.requests) * float64(r.after.at.Sub(r.before.at)) / float64(p.budget.window))
	return nil
}

// await looks at how many slots the doomed hold until it is as it should be.
func (p plan) await(ctx context.Context, s *stage, enough func(held int64) bool) error {
	for {
		held, err := s.held(ctx, doomed, "concurrency")
		if err != nil || enough(held) {
			return err
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// count waits for those that live to end, and adds up.
func (p plan) count(ctx context.Context, s *stage, crews []*crew, r *result) (err error) {
	r.survivorsAsDone = true
	for _, c := range crews {
		if !c.doomed {
			select {
			case <-c.done:
			case <-ctx.Done():
				return errors.Join(ctx.Err(), fmt.Errorf("a worker of %s goes on:\n%s", c.language, c.said()))
			}
		}
		calls, done := c.told()
		if c.doomed {
			r.victims = append(r.victims, calls...)
		} else {
			r.survivors = append(r.survivors, calls...)
			if !done {
				r.survivorsAsDone = false
				r.late = append(r.late, fmt.Errorf("a worker of %s ended otherwise than it should:\n%s", c.language, c.said()))
			}
		}
		for _, call := range calls {
			if call.at.After(r.before.at) && call.at.Before(r.after.at) {
				r.calls[c.language] = append(r.calls[c.language], call)
			}
		}
	}
	if r.end, err = s.report(ctx); err != nil || !p.wrapped {
		return err
	}
	if r.booked, err = s.held(ctx, steady, "tokens"); err != nil {
		return err
	}
	r.bookedDead, err = s.held(ctx, doomed, "tokens")
	return err
}

// waits are how long calls took beyond what the provider itself takes, in order.
func waits(calls []call) (all []time.Duration) {
	for _, c := range calls {
		if c.Outcome != "ok" {
			continue
		}
		own := latency
		if !c.Stream {
			own += time.Duration(c.Output) * time.Second / rate
		}
		all = append(all, max(0, time.Duration(c.Seconds*float64(time.Second))-own))
	}
	slices.Sort(all)
	return all
}

// quantile is of sorted values; 0 of none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
