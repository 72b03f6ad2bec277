package simulate

import (
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/limiter/simulate/trace"
)

// mostSustained is the longest window whose limit counts for what a pool sustains: what is
// left of a day's quota says nothing of the rate.
const mostSustained = time.Hour

// A survey is what a trace asks for, found before it is replayed.
type survey struct {
	rows  int64
	span  time.Duration // from the first row to the last, and one mean gap
	pools []demand      // that its calls may go to, in the order of preference
}

// A demand is what a trace asks of one pool.
type demand struct {
	pool string
	work float64 // s: how long the pool takes to serve all rows, alone, at its full quotas
}

// survey reads a trace. The work of a call in a pool is the longest time that any of the pool's
// limits takes for it, c·W/L: as in the engine, but by the full quotas, for that is what
// the provider sustains. A stock takes c·(service time)/L. Limits with windows of more than an
// hour, and those of projects and the organization, are left out.
func (f *feed) survey(clerk Clerk, c *limiter.Configure, life func(*trace.Row) time.Duration) (*survey, error) {
	limits := map[string][]limiter.LimitSpec{}
	for _, p := range c.Pools {
		limits[p.Name] = p.Limits
	}
	s := &survey{}
	var cmd limiter.Acquire
	var last time.Duration
	for row, err := range f.rows() {
		if err != nil {
			return nil, err
		}
		s.rows++
		last = row.At
		if clerk.Acquire(&row, &cmd) != nil {
			continue // refused, whatever the load
		}
		for i := range cmd.Targets {
			t := &cmd.Targets[i]
			if !slices.ContainsFunc(cmd.Targets[:i], func(o limiter.Target) bool { return o.Pool == t.Pool }) {
				s.demand(t.Pool).work += work(limits[t.Pool], t.Charges, life(&row))
			}
		}
	}
	if s.rows == 0 {
		return nil, errEmpty
	}
	s.span = last
	if s.rows > 1 {
		s.span += last / time.Duration(s.rows-1)
	}
	return s, nil
}

func (s *survey) demand(pool string) *demand {
	for i := range s.pools {
		if s.pools[i].pool == pool {
			return &s.pools[i]
		}
	}
	s.pools = append(s.pools, demand{pool: pool})
	return &s.pools[len(s.pools)-1]
}

// work is how long a pool's limits take for a call, in s.
func work(limits []limiter.LimitSpec, charges []limiter.Charge, life time.Duration) (longest float64) {
	for i := range limits {
		l := &limits[i]
		window := l.Window
		switch {
		case l.Shape == limiter.Stock:
			window = life
		case l.Shape == limiter.Calendar || window > mostSustained:
			continue
		}
		for _, c := range charges {
			if c.Metric == l.Metric && c.Flags&limiter.ToPool != 0 {
				longest = max(longest, float64(c.Amount)*window.Seconds()/float64(l.Quota))
			}
		}
	}
	return longest
}

// takes is how long the pools together take for the trace, in s, if its calls are spread over
// them as they can serve them; 0: nothing limits them.
func (s *survey) takes() float64 {
	var rate float64 // traces per s
	for _, p := range s.pools {
		if p.work == 0 {
			return 0
		}
		rate += 1 / p.work
	}
	if rate == 0 {
		return 0
	}
	return 1 / rate
}

// load is what the trace offers as it was recorded, against what the pools sustain.
func (s *survey) load() float64 {
	if s.span == 0 {
		return 0
	}
	return s.takes() / s.span.Seconds()
}

// share is the part of the calls for each pool that would use all pools alike.
func (s *survey) share(i int) float64 {
	if takes := s.takes(); takes > 0 {
		return takes / s.pools[i].work
	}
	return 1 / float64(len(s.pools))
}
