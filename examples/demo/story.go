package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/watermaster-project/watermaster/examples/demo/fleet"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// The quotas of the account, as in config.yaml.
var quotas = []provider.Limit{
	{Metric: provider.Requests, Quota: 1000, Window: 10 * time.Second, Shape: provider.Sliding},
	{Metric: provider.Tokens, Quota: 1_000_000, Window: 10 * time.Second, Shape: provider.Sliding},
	{Metric: provider.Concurrency, Quota: 150, Shape: provider.Stock},
}

var classes = []string{"interactive", "standard", "batch", "batch", "standard"}

// call is what a worker does next: a person thinks before the next question, a job does not.
func call(class string, r *rand.Rand) fleet.Call {
	c := fleet.Call{Input: 100 + r.Int64N(1200), Output: 10 + r.Int64N(190)}
	c.Life = 200*time.Millisecond + time.Duration(c.Output)*4*time.Millisecond
	if class == "interactive" {
		c.Before = time.Duration(500+r.IntN(2000)) * time.Millisecond
	}
	return c
}

// A story is one run of the demo.
type story struct {
	out      io.Writer
	stage    *stage
	upstream *fleet.Upstream
	fleet    *fleet.Fleet
	length   time.Duration

	mu  sync.Mutex
	err error
}

// tell lets the fleet work on a stage, to which it happens half-way.
func tell(ctx context.Context, out io.Writer, s *stage, workers int, length time.Duration) (t *story, err error) {
	t = &story{out: out, stage: s, length: length}
	if t.upstream, err = fleet.NewUpstream(provider.Config{Limits: quotas, Charge: provider.Charge{Estimate: provider.EstimateSum}}); err != nil {
		return nil, err
	}
	t.fleet, err = fleet.New(fleet.Options{
		Addresses: s.addresses(), Upstream: t.upstream, Workers: workers, Classes: classes, Project: "demo", Route: "smart",
		Block: 5 * time.Second, Patience: time.Second, TTL: 30 * time.Second, Call: call,
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.fleet.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	var others sync.WaitGroup
	others.Go(func() { t.happen(ctx) })
	others.Go(func() { t.progress(watching) })
	t.fleet.Run(ctx)
	stop()
	others.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t, t.err
}

// happen is what goes wrong.
func (t *story) happen(ctx context.Context) {
	last := t.stage.replicas[len(t.stage.replicas)-1]
	for _, e := range []struct {
		part float64 // of the length
		what string
		do   func() error
	}{
		{0.5, "kill -9 " + last.name, func() error { last.kill(); return nil }},
		{0.6, "kill -9 redis", func() error { t.stage.redis.kill(); return nil }},
		{0.62, "redis is started again, with its append-only file", func() error { return t.stage.redis.start(ctx) }},
		{0.72, last.name + " is started again", func() error { return last.start(ctx) }},
	} {
		if !sleep(ctx, time.Duration(e.part*float64(t.length))-t.fleet.Since()) {
			return
		}
		fmt.Fprintf(t.out, "\n%3.0f s  %s\n", t.fleet.Since().Seconds(), e.what)
		if err := e.do(); err != nil && ctx.Err() == nil {
			t.mu.Lock()
			t.err = err
			t.mu.Unlock()
			return
		}
	}
}

// sleep waits unless the context ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// progress writes a line every second.
func (t *story) progress(ctx context.Context) {
	for sleep(ctx, time.Second) {
		c := t.fleet.Tally()
		seen, _ := t.upstream.Report()
		redis := "up"
		if !t.stage.redis.up.Load() {
			redis = "DOWN"
		}
		fmt.Fprintf(t.out, "\r%3.0f s  replicas %d/%d  redis %-4s  granted %5d  waiting %3d  running %3d  429s %d  errors %d  fullest window %.0f %% of the quota   ",
			t.fleet.Since().Seconds(), t.stage.up(), len(t.stage.replicas), redis,
			c.Granted, c.Waiting, c.Running, c.Throttled, fleet.All(c.Errors), 100*seen.Limits[0].Worst.Float())
	}
	fmt.Fprintln(t.out)
}
