package simulate

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/backoff"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// Seconds is a duration as it is told in JSON: to the microsecond.
type Seconds float64

func seconds(d time.Duration) Seconds { return Seconds(float64(d.Round(time.Microsecond)) / 1e9) }

// Duration gives what it stands for.
func (s Seconds) Duration() time.Duration { return time.Duration(math.Round(float64(s) * 1e9)) }

// A Report is what a replay has shown. It is what --json prints; names are stable, times are
// in seconds, shares are 1 for all.
type Report struct {
	Trace        string   `json:"trace"`
	Format       string   `json:"format"` // azure, mooncake, servegen, servegen-image or own
	Organization string   `json:"organization"`
	Route        string   `json:"route,omitempty"` // what was asked for: a route …
	Model        string   `json:"model,omitempty"` // … or a model
	Pools        []string `json:"pools"`           // account/pool that may have served it
	Shape        Shape    `json:"shape"`           // of the providers' windows
	Seed         uint64   `json:"seed"`

	Load       float64 `json:"load"`        // offered, against what the pools sustain at their full quotas; 0: nothing limits them
	Stretch    float64 `json:"stretch"`     // that times were multiplied by
	JitterMin  Seconds `json:"jitter_min"`  // from a grant until the provider counts the call
	JitterMax  Seconds `json:"jitter_max"`  //
	FirstToken Seconds `json:"first_token"` // how long calls run
	TokenTime  Seconds `json:"token_time"`  // and more for each token of output
	SDK        string  `json:"sdk,omitempty"`
	Arrivals   Seconds `json:"arrivals"` // from the first to the last
	Span       Seconds `json:"span"`     // until the last call had ended

	All      Group      `json:"all"`
	Classes  []Group    `json:"classes"`  // the heaviest first
	Projects []Group    `json:"projects"` // who offered most first
	Limits   []LimitUse `json:"limits"`   // of the providers

	Verdict string   `json:"verdict"`
	Notes   []string `json:"notes,omitempty"`
}

// A Group is the calls of a class, of a project, or all.
type Group struct {
	Name        string `json:"name"`
	Offered     int64  `json:"offered"`
	Tokens      int64  `json:"tokens"` // input and real output of all that was offered
	Watermaster Fate   `json:"watermaster"`
	BackOff     *Fate  `json:"back_off,omitempty"` // absent without a baseline
}

// A Fate is what became of calls: each is served, refused, or has failed.
type Fate struct {
	Served    int64 `json:"served"`
	Tokens    int64 `json:"tokens"`    // input and real output of what was served
	Refused   int64 `json:"refused"`   // by Watermaster, which said so and why
	Failed    int64 `json:"failed"`    // after 429s
	Throttled int64 `json:"throttled"` // 429s

	// Of the calls that were served: until they might go; by back-off, until the provider
	// took them, the way there included.
	WaitP50 Seconds `json:"wait_p50"`
	WaitP99 Seconds `json:"wait_p99"`
	WaitMax Seconds `json:"wait_max"`
}

// A LimitUse is how far one limit of a provider was used.
type LimitUse struct {
	Pool        string      `json:"pool"`  // account/pool
	Limit       string      `json:"limit"` // as it is configured
	Metric      string      `json:"metric"`
	Shape       string      `json:"shape"` // bucket, sliding, fixed or stock
	Quota       int64       `json:"quota"`
	Window      Seconds     `json:"window,omitempty"` // a stock has none
	Watermaster LimitShare  `json:"watermaster"`
	BackOff     *LimitShare `json:"back_off,omitempty"`
}

// A LimitShare is one fleet's use of a limit.
type LimitShare struct {
	// Used is the share of what the quota allows from the end of the warm-up (two windows,
	// at most a quarter of the time) until the last arrival; of a limit whose window is longer than
	// that, the share of the quota that was used up.
	Used float64 `json:"used"`
	// InDemand is the same over the seconds in which Watermaster had calls waiting for the
	// pool; absent if there were none.
	InDemand *float64 `json:"in_demand,omitempty"`
	// Worst is the most that any window of that length held, wherever it begins, against the
	// quota. A full bucket allows up to twice the quota.
	Worst float64 `json:"worst_window"`
	// Peak is the most that the provider itself counted, by its shape: above 1 is over.
	Peak      float64 `json:"peak"`
	Throttled int64   `json:"throttled"` // 429s in which this limit had no room
}

// newReport sums a replay up.
func newReport(r *replay) Report {
	o := &r.outcome
	rep := Report{
		Trace: r.Trace, Format: r.feed.format, Organization: r.organization.Name, Route: r.Route, Model: r.Model,
		Pools: o.pools, Shape: r.Shape, Seed: r.Seed,
		Load: round(r.survey.load()/r.stretch, 4), Stretch: r.stretch,
		JitterMin: seconds(r.Jitter.Min), JitterMax: seconds(r.Jitter.Max),
		FirstToken: seconds(r.FirstToken), TokenTime: seconds(r.TokenTime),
		Arrivals: seconds(o.ended), Span: seconds(o.result.Span),
	}
	if o.baseline != nil {
		rep.SDK = r.SDK.Name
	}
	all := &Tally{Name: "all"}
	for _, t := range o.result.Classes {
		all.add(t)
	}
	rep.All = o.group(all, func(b *baseline) backoff.Group { return b.total })
	for _, name := range o.result.Timeline.Classes {
		if t := o.result.classNames[name]; t != nil {
			rep.Classes = append(rep.Classes, o.group(t, func(b *baseline) backoff.Group { return b.classes[name] }))
		}
	}
	for _, t := range o.result.Projects {
		rep.Projects = append(rep.Projects, o.group(t, func(b *baseline) backoff.Group { return b.projects[t.Name] }))
	}
	slices.SortStableFunc(rep.Projects, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Offered, a.Offered), cmp.Compare(a.Name, b.Name))
	})
	warmUp := r.warmUp()
	for _, pool := range o.pools {
		rep.Limits = append(rep.Limits, o.limits(pool, warmUp)...)
	}
	rep.Notes = r.notes()
	rep.Verdict = rep.verdict()
	return rep
}

// warmUp is two of the longest windows that count for the rate, and a quarter of the time at most.
func (r *replay) warmUp() (d time.Duration) {
	for _, pool := range r.outcome.pools {
		for _, l := range r.outcome.standins[pool].Config.Limits {
			if l.Window <= mostSustained {
				d = max(d, 2*(l.Window+r.Jitter.Max))
			}
		}
	}
	return min(d, r.outcome.ended/4)
}

func (o *Outcome) group(t *Tally, of func(*baseline) backoff.Group) Group {
	g := Group{Name: t.Name, Offered: t.Offered, Tokens: t.OfferedUse, Watermaster: Fate{
		Served: t.Served, Tokens: t.ServedUse, Refused: t.Refused, Failed: t.Failed, Throttled: t.Throttled,
		WaitP50: seconds(t.Wait(0.5)), WaitP99: seconds(t.Wait(0.99)), WaitMax: seconds(t.Wait(1)),
	}}
	if o.baseline != nil {
		b := of(o.baseline)
		g.BackOff = &Fate{
			Served: b.Served, Tokens: b.Tokens, Failed: b.Failed, Throttled: b.Throttled,
			WaitP50: seconds(b.Wait50), WaitP99: seconds(b.Wait99), WaitMax: seconds(b.WaitMax),
		}
	}
	return g
}

// limits tells how far the limits of a pool were used.
func (o *Outcome) limits(pool string, warmUp time.Duration) (uses []LimitUse) {
	s := o.standins[pool]
	demand := o.result.Timeline.demand(pool, warmUp, o.ended)
	for i, l := range o.providers[pool].Report().Limits {
		u := LimitUse{
			Pool: pool, Limit: s.Names[i], Metric: l.Metric.String(), Shape: l.Shape.String(), Quota: l.Quota, Window: seconds(l.Window),
			Watermaster: share(o.providers[pool], i, warmUp, o.ended, demand),
		}
		if o.baseline != nil {
			b := share(o.baseline.providers[pool], i, warmUp, o.ended, demand)
			u.BackOff = &b
		}
		uses = append(uses, u)
	}
	return uses
}

func share(p *provider.Provider, i int, from, to time.Duration, demand []int) LimitShare {
	l := p.Report().Limits[i]
	s := LimitShare{Worst: round(l.Worst.Float(), 6), Peak: round(l.Peak.Float(), 6), Throttled: l.Throttled}
	if l.Window > to-from {
		s.Used = s.Worst
		return s
	}
	s.Used = round(p.Use(i, from, to), 6)
	if len(demand) > 0 {
		var sum float64
		for _, b := range demand {
			sum += p.Use(i, time.Duration(b)*bin, time.Duration(b+1)*bin)
		}
		mean := round(sum/float64(len(demand)), 6)
		s.InDemand = &mean
	}
	return s
}

// demand lists the whole bins within a time in which at every instant somebody waited for a
// pool.
func (t *Timeline) demand(pool string, from, to time.Duration) (bins []int) {
	i := slices.Index(t.pools, pool)
	for b := int((from + bin - 1) / bin); b < min(int(to/bin), len(t.Samples)); b++ {
		if !t.Samples[b].idle[i] {
			bins = append(bins, b)
		}
	}
	return bins
}

func round(x float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(x*p) / p
}
