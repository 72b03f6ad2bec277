package simulate

import (
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// A Tally counts what became of the calls of a class or a project.
type Tally struct {
	Name          string
	Offered       int64 // calls
	Served        int64
	Refused       int64
	Throttled     int64 // 429s of the provider
	OfferedTokens int64 // input and cap
	ServedTokens  int64
	waits         []int64 // ns, of those served
	sorted        bool
}

// Wait gives a quantile of the waits of the calls that were served: 0.5 is the median,
// 1 the longest.
func (t *Tally) Wait(quantile float64) time.Duration {
	if len(t.waits) == 0 {
		return 0
	}
	if !t.sorted {
		slices.Sort(t.waits)
		t.sorted = true
	}
	return time.Duration(t.waits[min(len(t.waits)-1, int(quantile*float64(len(t.waits))))])
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
	r.Timeline.finish(now)
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

// bin is how fine the timeline is.
const bin = time.Second

// A Timeline samples the queue once a second.
type Timeline struct {
	Classes []string // the heaviest first
	Samples []Sample
	pools   []string
	at      int // the bin that runs
	idle    []bool
}

// A Sample is one second.
type Sample struct {
	Waiting []int  // by class, at its end
	idle    []bool // by pool: at some instant nobody waited
}

func newTimeline(e *limiter.Engine, providers map[string]*provider.Provider) *Timeline {
	t := &Timeline{}
	for _, c := range e.Classes() {
		t.Classes = append(t.Classes, c.Name)
	}
	for _, p := range e.Pools(0) {
		if providers[p.Name] != nil {
			t.pools = append(t.pools, p.Name)
		}
	}
	t.idle = make([]bool, len(t.pools))
	t.look(e)
	return t
}

// look notes for which pools nobody waits.
func (t *Timeline) look(e *limiter.Engine) {
	lightest := t.Classes[len(t.Classes)-1]
	for i, p := range t.pools {
		if !t.idle[i] {
			_, _, _, waiting := e.Use(p, lightest)
			t.idle[i] = waiting == 0
		}
	}
}

// moveTo ends the bins before a time.
func (t *Timeline) moveTo(at time.Duration, e *limiter.Engine) {
	for ; t.at < int(at/bin); t.at++ {
		t.look(e)
		s := Sample{idle: slices.Clone(t.idle)}
		for _, c := range e.Classes() {
			s.Waiting = append(s.Waiting, c.Waiting)
		}
		t.Samples = append(t.Samples, s)
		clear(t.idle)
	}
}

func (t *Timeline) finish(time.Duration) {}
