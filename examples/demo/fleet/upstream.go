package fleet

import (
	"sync"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// An Upstream is the provider: it knows nothing of the watermaster, and refuses with 429
// whatever exceeds its quotas. It runs in real time.
type Upstream struct {
	mu       sync.Mutex
	provider *provider.Provider
	start    time.Time
	next     uint64
	refused  []Refusal
}

// A Refusal is a call that was answered with 429.
type Refusal struct {
	At      time.Duration // since the start
	Verdict provider.Verdict
}

// An Arrival is what became of a call.
type Arrival uint8

const (
	Taken   Arrival = iota // it runs until Complete
	Refused                // 429
	Late                   // it would have left later than it may, and has not
)

// NewUpstream starts a provider whose limits are unused.
func NewUpstream(c provider.Config) (*Upstream, error) {
	p, err := provider.New(c)
	if err != nil {
		return nil, err
	}
	return &Upstream{provider: p, start: time.Now()}, nil
}

// Send sends a call that may leave until the deadline. Its ID is given here.
func (u *Upstream) Send(deadline time.Time, c provider.Call) (id uint64, a Arrival) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	if now.After(deadline) {
		return 0, Late
	}
	u.next++
	c.ID = u.next
	v := u.provider.Arrive(now.Sub(u.start), c)
	if !v.OK {
		u.refused = append(u.refused, Refusal{now.Sub(u.start), v})
		return 0, Refused
	}
	return c.ID, Taken
}

// Complete ends a call that was taken.
func (u *Upstream) Complete(id uint64, output int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.provider.Complete(time.Since(u.start), id, output)
}

// Since gives the time since the start.
func (u *Upstream) Since() time.Duration { return time.Since(u.start) }

// Use is the part of each limit's quota that was used from one time since the start to another.
func (u *Upstream) Use(from, to time.Duration) (use []float64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range u.provider.Report().Limits {
		use = append(use, u.provider.Use(i, from, to))
	}
	return use
}

// Report tells what was seen so far.
func (u *Upstream) Report() (r provider.Report, refused []Refusal) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.provider.Report(), append(refused, u.refused...)
}
