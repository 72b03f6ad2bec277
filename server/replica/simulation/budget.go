package simulation

import (
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// The budget of all worlds: two pools of one provider, two projects, two classes. Windows
// are short, so that a world of some seconds sees several of them.
const (
	window      = 3 * time.Second
	startWithin = 700 * time.Millisecond
	transit     = 300 * time.Millisecond // that the limits allow for
	realTransit = 250 * time.Millisecond // the longest there is; clocks and joins take the rest
	hold        = window + startWithin + transit
	patience    = 5 * time.Second

	organization = "acme"
	mainPool     = "p/main"
	sidePool     = "p/side"
	model        = "m"
)

// quotas are what the provider enforces.
type quotas struct{ requests, tokens, output, concurrency int64 }

var provided = map[string]quotas{
	mainPool: {requests: 24, tokens: 400},
	sidePool: {requests: 12, tokens: 200, output: 150, concurrency: 4},
}

// poolNames in a fixed order.
var poolNames = []string{mainPool, sidePool}

// configure gives the configuration. margin is kept free below the quotas, in parts per
// million.
func configure(margin uint32) *limiter.Configure {
	limit := func(name string, m limiter.Metric, quota int64) limiter.LimitSpec {
		return limiter.LimitSpec{Name: name, Metric: m, Quota: quota, Window: window, Margin: margin, Jitter: startWithin + transit}
	}
	c := &limiter.Configure{
		Generation: 1, Hash: 1, MaxProjects: 8, MaxWaiting: 1000,
		Classes: []limiter.ClassSpec{
			{Name: "interactive", Weight: 8, Reserve: 100_000},
			{Name: "batch", Weight: 1, Paced: true},
		},
		Projects: []limiter.ProjectSpec{
			{Name: "red", Weight: 2},
			{Name: "blue", Weight: 1, Limits: []limiter.LimitSpec{limit("tokens", limiter.Tokens, 250)}},
		},
		ColdStart: limiter.Wait,
	}
	for _, name := range poolNames {
		q := provided[name]
		pool := limiter.PoolSpec{Name: name, Models: []string{model}, StartWithin: startWithin, Limits: []limiter.LimitSpec{
			limit("requests", limiter.Requests, q.requests),
			limit("tokens", limiter.Tokens, q.tokens),
		}}
		if q.output > 0 {
			pool.Limits = append(pool.Limits, limit("output", limiter.OutputTokens, q.output))
		}
		if q.concurrency > 0 {
			pool.Limits = append(pool.Limits, limiter.LimitSpec{Name: "calls", Metric: limiter.Concurrency, Shape: limiter.Stock, Quota: q.concurrency})
		}
		c.Pools = append(c.Pools, pool)
	}
	return c
}

// charges are what a call of so many tokens, of which it may produce some, is charged in a
// pool; ascending by metric.
func charges(pool string, tokens, output int64) []limiter.Charge {
	both := limiter.ToPool | limiter.ToOwner | limiter.Refundable
	all := []limiter.Charge{{limiter.Requests, limiter.ToPool, 1}}
	if provided[pool].output > 0 {
		all = append(all, limiter.Charge{limiter.OutputTokens, limiter.ToPool | limiter.OnCompletion, output})
	}
	all = append(all, limiter.Charge{limiter.Tokens, both, tokens})
	if provided[pool].concurrency > 0 {
		all = append(all, limiter.Charge{limiter.Concurrency, limiter.ToPool, 1})
	}
	return all
}
