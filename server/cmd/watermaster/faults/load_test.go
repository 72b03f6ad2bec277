package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/examples/demo/fleet"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// The quotas of budget's account a.
var quotas = []provider.Limit{
	{Metric: provider.Requests, Quota: 300, Window: 2 * time.Second, Shape: provider.Sliding},
	{Metric: provider.Tokens, Quota: 100_000, Window: 2 * time.Second, Shape: provider.Sliding},
	{Metric: provider.Concurrency, Quota: 120, Shape: provider.Stock},
}

const (
	leaseTTL = 2 * time.Second
	patience = 500 * time.Millisecond // of workers, above their block
)

// A load is a fleet that wants more than the quota, and the provider that it calls.
type load struct {
	t        *testing.T
	upstream *fleet.Upstream
	fleet    *fleet.Fleet
	alone    bool // replicas grant alone: others may not know of it when its release comes to them
	cancel   context.CancelFunc
	done     chan struct{}
}

// drive lets a fleet ask replicas until it is ended.
func drive(t *testing.T, addresses ...string) *load {
	t.Helper()
	up, err := fleet.NewUpstream(provider.Config{Limits: quotas, Charge: provider.Charge{Estimate: provider.EstimateSum}})
	must(t, err)
	f, err := fleet.New(fleet.Options{
		Addresses: addresses, Upstream: up, Workers: 48, Classes: []string{"interactive", "standard", "batch", "standard"},
		Project: "p", Route: "smart", Block: 500 * time.Millisecond, Patience: patience, TTL: leaseTTL,
		Call: func(_ string, r *rand.Rand) fleet.Call {
			return fleet.Call{Input: 100 + r.Int64N(400), Output: 50, Life: time.Duration(20+r.IntN(80)) * time.Millisecond}
		},
	})
	must(t, err)
	l := &load{t: t, upstream: up, fleet: f, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go func() {
		defer close(l.done)
		f.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-l.done
		f.Close()
	})
	return l
}

// now is the time of the load's tally.
func (l *load) now() time.Duration { return l.fleet.Since() }

// granted waits until the first grant after a time.
func (l *load) granted(after time.Duration, within time.Duration) time.Duration {
	l.t.Helper()
	var at time.Duration
	eventually(l.t, fmt.Sprintf("there is a grant after %v", after), within, func() bool {
		c := l.fleet.Tally()
		if n := len(c.Grants); n == 0 || c.Grants[n-1] <= after {
			return false
		}
		for i := len(c.Grants) - 1; i >= 0 && c.Grants[i] > after; i-- {
			at = c.Grants[i]
		}
		return true
	})
	return at - after
}

// rate is the number of grants a second from one time to another.
func (l *load) rate(from, to time.Duration) float64 {
	n := 0
	for _, at := range l.fleet.Tally().Grants {
		if at >= from && at < to {
			n++
		}
	}
	return float64(n) / (to - from).Seconds()
}

// end lets the workers finish and judges: the provider has had nothing to refuse, no lease was
// given twice, and no call ended with an error that asking again does not get over.
func (l *load) end() fleet.Tally {
	l.t.Helper()
	l.cancel()
	<-l.done
	c := l.fleet.Tally()
	seen, refused := l.upstream.Report()
	worst := 0.0
	for _, n := range seen.Limits {
		worst = max(worst, n.Worst.Float())
	}
	l.t.Logf("%d granted, %d sent, %d late, worst window %.3f of the quota, use %.2f, refused %v, %d errors %v", c.Granted, c.Sent, c.Late,
		worst, l.upstream.Use(0, l.upstream.Since())[0], c.Refused, fleet.All(c.Errors), c.Errors)
	if len(refused) > 0 {
		l.t.Errorf("the provider refused %d calls: at %v %+v …", len(refused), refused[0].At, refused[0].Verdict)
	}
	for kind := range c.Lost {
		if l.alone && strings.HasPrefix(kind, "release: NotFound") {
			l.t.Logf("%d calls ended with %s", c.Lost[kind], kind)
			delete(c.Lost, kind)
		}
	}
	if fleet.All(c.Lost) > 0 || len(c.Twice) > 0 {
		l.t.Errorf("calls ended with %v, and leases were given twice: %v", c.Lost, c.Twice)
	}
	if c.Sent < 50 {
		l.t.Errorf("only %d calls were sent: the load was none", c.Sent)
	}
	return c
}
