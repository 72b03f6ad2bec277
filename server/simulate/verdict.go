package simulate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// limitsOf lists the limits of all providers.
func (o *Outcome) limitsOf() (all []provider.LimitReport) {
	for _, pool := range o.pools {
		all = append(all, o.providers[pool].Report().Limits...)
	}
	return all
}

// ownLimits names who has limits that no provider knows.
func (r *replay) ownLimits() string {
	c := r.configure
	template := c.Template != nil && len(c.Template.Limits) > 0
	switch {
	case len(c.Limits) > 0:
		return "the organization"
	case template || slices.ContainsFunc(c.Projects, func(p limiter.ProjectSpec) bool { return len(p.Limits) > 0 }):
		return "a project"
	}
	return ""
}

// buckets says whether a limit of the pools is configured as a token bucket.
func (r *replay) buckets() bool {
	return slices.ContainsFunc(r.configure.Pools, func(p limiter.PoolSpec) bool {
		return slices.Contains(r.outcome.pools, p.Name) &&
			slices.ContainsFunc(p.Limits, func(l limiter.LimitSpec) bool { return l.Shape == limiter.TokenBucket })
	})
}

func (r *replay) notes() (notes []string) {
	o := &r.outcome
	for _, pool := range o.pools {
		notes = append(notes, o.standins[pool].Notes...)
	}
	if d := r.delay(); r.Jitter.Max > d {
		notes = append(notes, fmt.Sprintf("the jitter of up to %s is more than start_within + transit, %s: what the limits promise holds up to there", span(r.Jitter.Max), span(d)))
	}
	if own := r.ownLimits(); own != "" && o.baseline != nil {
		notes = append(notes, own+" has limits of its own: Watermaster keeps them, back-off alone does not know them")
	}
	if b := o.baseline; b != nil {
		note := "waits: until the call may go; by back-off until the provider has taken it, its way there of up to " + span(r.Jitter.Max) + " included"
		if b.merged {
			note += "; back-off spreads its calls over the pools by what they sustain, and its median and p99 are means over them"
		}
		notes = append(notes, note)
	}
	if slices.ContainsFunc(o.limitsOf(), func(l provider.LimitReport) bool { return l.Shape == provider.Bucket && l.Worst.Over() }) {
		notes = append(notes, "a bucket that was full lets up to twice its quota through in one window; its peak is what it had to hold")
	}
	if r.Shape != Auto && r.Shape != Bucket && o.result.Throttled > 0 && r.buckets() {
		notes = append(notes, "limits that are configured as token_bucket keep only providers that are one from being overdrawn")
	}
	if r.Shape == Quantised && o.result.Throttled > 0 {
		notes = append(notes, "the providers count a tenth of the window too: configure a second limit of a tenth of the quota for it")
	}
	return notes
}

// verdict says in a line how it went.
func (r *Report) verdict() string {
	all, heaviest := &r.All, &r.Classes[0]
	line := r.side("Watermaster", &all.Watermaster, &heaviest.Watermaster, func(u *LimitUse) *LimitShare { return &u.Watermaster })
	if r.All.BackOff != nil {
		line += " " + r.side("Back-off alone", all.BackOff, heaviest.BackOff, func(u *LimitUse) *LimitShare { return u.BackOff })
	}
	return line
}

// side sums up what one fleet got: all of it, and its heaviest class.
func (r *Report) side(who string, all, heaviest *Fate, share func(*LimitUse) *LimitShare) string {
	var peak, used float64
	demand := false
	for i := range r.Limits {
		s := share(&r.Limits[i])
		peak = max(peak, s.Peak)
		if s.InDemand != nil {
			used, demand = max(used, *s.InDemand), true
		}
	}
	said := []string{"worst window " + percent(peak, 2) + " of the quota"}
	if all.Throttled == 0 {
		said = append(said, "no 429")
	} else {
		said = append(said, grouped(all.Throttled)+" × 429")
	}
	if demand {
		said = append(said, percent(used, 1)+" used while there was demand")
	} else {
		said = append(said, "nobody had to wait for long")
	}
	said = append(said, fmt.Sprintf("%s of the calls and %s of the tokens served", part(all.Served, r.All.Offered), part(all.Tokens, r.All.Tokens)))
	class := &r.Classes[0]
	said = append(said, fmt.Sprintf("%s %s with a p99 of %s", class.Name, part(heaviest.Served, class.Offered), heaviest.waits()[1]))
	return who + ": " + strings.Join(said, ", ") + "."
}

func part(n, of int64) string { return percent(float64(n)/float64(max(of, 1)), 1) }
