package simulate

import (
	"math"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// A Tally counts what became of the calls of a class or a project.
type Tally struct {
	Name          string
	Offered       int64 // calls: Served + Refused + Failed, once all have ended
	Served        int64 // accepted by the provider
	Refused       int64 // by the engine, or before it
	Failed        int64 // with a 429, and not tried again
	Throttled     int64 // 429s of the provider
	OfferedTokens int64 // input and cap
	ServedTokens  int64
	OfferedUse    int64 // input and real output
	ServedUse     int64
	waits         []int64 // ns from the row's time until the last grant, of those served
	sorted        bool
}

// Wait gives a quantile of the waits of the calls that were served: 0.5 is the median,
// 1 the longest; by nearest rank, as the baseline's are.
func (t *Tally) Wait(quantile float64) time.Duration {
	if len(t.waits) == 0 {
		return 0
	}
	if !t.sorted {
		slices.Sort(t.waits)
		t.sorted = true
	}
	rank := int(math.Ceil(quantile * float64(len(t.waits))))
	return time.Duration(t.waits[min(max(rank, 1), len(t.waits))-1])
}

// add counts another's calls too.
func (t *Tally) add(o *Tally) {
	t.Offered += o.Offered
	t.Served += o.Served
	t.Refused += o.Refused
	t.Failed += o.Failed
	t.Throttled += o.Throttled
	t.OfferedTokens += o.OfferedTokens
	t.ServedTokens += o.ServedTokens
	t.OfferedUse += o.OfferedUse
	t.ServedUse += o.ServedUse
	t.waits, t.sorted = append(t.waits, o.waits...), false
}

// A Result is what a fleet got.
type Result struct {
	Classes   []*Tally // in the order of first appearance
	Projects  []*Tally
	Throttled int64 // 429s, or with a lenient provider what should have been
	Expired   int64 // leases that ended by their TTL
	Span      time.Duration
	Timeline  *Timeline

	classNames, projectNames map[string]*Tally
	providers                map[string]*provider.Provider
}

func newResult(f *Fleet) *Result {
	return &Result{
		classNames: map[string]*Tally{}, projectNames: map[string]*Tally{},
		providers: f.Providers, Timeline: newTimeline(f.Engine, f.Providers),
	}
}

func (r *Result) class(name string) *Tally {
	return tally(name, r.classNames, &r.Classes)
}

func (r *Result) project(name string) *Tally {
	return tally(name, r.projectNames, &r.Projects)
}

func tally(name string, names map[string]*Tally, list *[]*Tally) *Tally {
	t := names[name]
	if t == nil {
		t = &Tally{Name: name}
		names[name] = t
		*list = append(*list, t)
	}
	return t
}

func (r *Result) finish(now time.Duration) {
	r.Span = now
	r.Timeline.finish()
}

// offered is how many calls there were.
func (r *Result) offered() (n int64) {
	for _, t := range r.Classes {
		n += t.Offered
	}
	return n
}

// A Use is what was used of one limit of a provider.
type Use struct {
	Pool      string
	Limit     provider.LimitReport
	Used      float64 // of the quota, over all bins after the warm-up
	InDemand  float64 // of the quota, while calls were waiting for the pool
	DemandFor time.Duration
}

// Uses tells how far each limit of each provider was used after the warm-up.
func (r *Result) Uses(warmUp time.Duration) (uses []Use) {
	for i, pool := range r.Timeline.pools {
		p := r.providers[pool]
		for l, report := range p.Report().Limits {
			u := Use{Pool: pool, Limit: report, Used: p.Use(l, warmUp, r.Span)}
			var sum float64
			var bins int
			for b := int(warmUp/bin) + 1; b < len(r.Timeline.Samples)-1; b++ {
				if r.Timeline.Samples[b].idle[i] {
					continue
				}
				sum += p.Use(l, time.Duration(b)*bin, time.Duration(b+1)*bin)
				bins++
			}
			if bins > 0 {
				u.InDemand = sum / float64(bins)
			}
			u.DemandFor = time.Duration(bins) * bin
			uses = append(uses, u)
		}
	}
	return uses
}
