package main

import (
	"sync"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// The quotas of the account, as in config.yaml.
const (
	requestsPerMinute = 300
	tokensPerMinute   = 200_000
)

// An upstream is the provider: it knows nothing of the watermaster, and is as strict as the
// real one. It runs in real time.
type upstream struct {
	mu       sync.Mutex
	provider *provider.Provider
	start    time.Time
	next     uint64
}

func newUpstream() (*upstream, error) {
	c, err := provider.Preset("openai", provider.Quotas{Requests: requestsPerMinute, Tokens: tokensPerMinute})
	if err != nil {
		return nil, err
	}
	p, err := provider.New(c)
	if err != nil {
		return nil, err
	}
	return &upstream{provider: p, start: time.Now()}, nil
}

// arrive sends a call. If it is not taken, the answer is 429.
func (u *upstream) arrive(r row) (id uint64, taken bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.next++
	v := u.provider.Arrive(time.Since(u.start), provider.Call{ID: u.next, Input: r.input, MaxOutput: max(1, r.output)})
	return u.next, v.OK
}

// complete ends a call that was taken.
func (u *upstream) complete(id uint64, output int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.provider.Complete(time.Since(u.start), id, output)
}

// use is the part of each quota that was used from one time to another, and its name.
func (u *upstream) use(from, to time.Duration) (names []string, use []float64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, l := range u.provider.Report().Limits {
		names = append(names, l.Metric.String())
		use = append(use, u.provider.Use(i, from, to))
	}
	return names, use
}

func (u *upstream) report() provider.Report {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.provider.Report()
}
