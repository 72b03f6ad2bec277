package simulate

import (
	"fmt"
	"iter"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/backoff"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/limiter/simulate/trace"
)

// A baseline is what the same fleet gets that nobody limits: each worker sends its calls as
// they come up, and backs off on 429 as its SDK does.
type baseline struct {
	total             backoff.Group
	classes, projects map[string]backoff.Group
	providers         map[string]*provider.Provider // by pool
	merged            bool                          // of several pools: quantiles are means over them
}

// runBaseline plays a feed against the stand-ins. Without a limiter nobody knows which pool has
// room: calls are spread evenly, to each pool its share of what all sustain.
func (r *replay) runBaseline() (*baseline, error) {
	s := r.survey
	b := &baseline{
		classes: map[string]backoff.Group{}, projects: map[string]backoff.Group{},
		providers: map[string]*provider.Provider{}, merged: len(s.pools) > 1,
	}
	for i := range s.pools {
		pool := s.pools[i].pool
		got, err := backoff.Run(backoff.Config{
			Provider: r.outcome.standins[pool].Config,
			SDK:      r.SDK,
			Seed:     r.Seed,
			Fill:     r.feed.fill,
			Transit:  r.Jitter.Max,
			Service:  func(row trace.Row) time.Duration { return r.life(&row) },
		}, spread(r.watched("back-off", r.feed.rows()), s, i, trace.Hash(r.Seed, spreadSalt)))
		if err != nil {
			return nil, fmt.Errorf("simulate: %w", err)
		}
		b.providers[pool] = got.Provider
		b.total = merge(b.total, got.Total)
		for _, g := range got.Classes {
			b.classes[g.Name] = merge(b.classes[g.Name], g)
		}
		for _, g := range got.Projects {
			b.projects[g.Name] = merge(b.projects[g.Name], g)
		}
	}
	return b, nil
}

// spread gives the rows for one of the survey's pools.
func spread(rows iter.Seq2[trace.Row, error], s *survey, pool int, seed uint64) iter.Seq2[trace.Row, error] {
	if len(s.pools) == 1 {
		return rows
	}
	var from, to float64
	for i := range pool + 1 {
		from, to = to, to+s.share(i)
	}
	if pool == len(s.pools)-1 {
		to = 2 // whatever the sum has been rounded to
	}
	return func(yield func(trace.Row, error) bool) {
		for row, err := range rows {
			at := float64(trace.Hash(seed, uint64(row.Index))>>11) / (1 << 53)
			if err == nil && (at < from || at >= to) {
				continue
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

// merge adds up two groups. Of their waits, median and p99 are means weighted by calls.
func merge(a, b backoff.Group) backoff.Group {
	mean := func(x, y time.Duration) time.Duration {
		if a.Served+b.Served == 0 {
			return 0
		}
		return time.Duration((float64(x)*float64(a.Served) + float64(y)*float64(b.Served)) / float64(a.Served+b.Served))
	}
	return backoff.Group{
		Name:      b.Name,
		Offered:   a.Offered + b.Offered,
		Served:    a.Served + b.Served,
		Failed:    a.Failed + b.Failed,
		TooLarge:  a.TooLarge + b.TooLarge,
		Throttled: a.Throttled + b.Throttled,
		Tokens:    a.Tokens + b.Tokens,
		Wait50:    mean(a.Wait50, b.Wait50),
		Wait99:    mean(a.Wait99, b.Wait99),
		WaitMax:   max(a.WaitMax, b.WaitMax),
	}
}
