package simulate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/limiter/simulate/trace"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/policy"
)

// A Shape says how the stand-ins count their windows.
type Shape string

const (
	Auto      Shape = "auto"      // as the configuration says of each limit
	Bucket    Shape = "bucket"    // a token bucket, as large as the quota unless a burst is configured
	Sliding   Shape = "sliding"   // no window of the length, wherever it begins
	Fixed     Shape = "fixed"     // windows one after the other, from a random phase
	Quantised Shape = "quantised" // sliding, and a tenth of the quota in a tenth of the window too
)

// Shapes lists the shapes there are.
func Shapes() []Shape { return []Shape{Auto, Bucket, Sliding, Fixed, Quantised} }

const (
	parts        = 10        // of a quantised limit
	mostQuantum  = time.Hour // longer windows are not quantised
	steps        = 8         // in which output is counted that is counted as it is produced
	perMille     = 1000
	mostBurndown = 1000
)

// A Standin is the strict provider behind one pool: all that can be known of it from the
// account's preset, with the pool's full quotas. The margin is the limiter's own.
type Standin struct {
	Pool    string // account/pool, as the engine names it
	Config  provider.Config
	Names   []string          // of the limits of its report
	Metrics []provider.Metric // that they count
	Notes   []string          // what of the configuration it does not have
}

// Standins gives a strict provider for every pool of an organization.
func Standins(org *config.Organization, shape Shape, seed uint64) ([]Standin, error) {
	if !slices.Contains(Shapes(), shape) {
		return nil, fmt.Errorf("simulate: unknown shape %q: there are %s", shape, strings.Trim(fmt.Sprint(Shapes()), "[]"))
	}
	var all []Standin
	for i := range org.Accounts {
		a := &org.Accounts[i]
		for k := range a.Pools {
			s, err := newStandin(a, &a.Pools[k], shape, trace.Hash(seed, uint64(len(all))))
			if err != nil {
				return nil, fmt.Errorf("simulate: account %s: %w", a.Name, err)
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// An account is what a stand-in must know of one: how its provider charges a pool.
type account struct {
	*config.Account
	pool    *config.Pool
	profile policy.Profile // the preset's
	tokens  bool           // the pool limits input and output as one sum
}

// limits says whether the pool has a limit of a metric.
func (c *account) limits(m limiter.Metric) bool {
	return slices.ContainsFunc(c.pool.Limits, func(l limiter.LimitSpec) bool { return l.Metric == m })
}

func newStandin(a *config.Account, pool *config.Pool, shape Shape, seed uint64) (Standin, error) {
	s := Standin{Pool: a.Name + "/" + pool.Name}
	profile, ok := policy.Preset(a.Provider)
	if !ok {
		return s, fmt.Errorf("unknown provider %q", a.Provider)
	}
	c := account{Account: a, pool: pool, profile: profile}
	c.tokens = c.limits(limiter.Tokens) && c.admission() != "input"
	if preset, err := provider.Preset(a.Provider, provider.Quotas{}); err == nil {
		s.Config.CountRejected = preset.CountRejected
		s.Config.Charge = preset.Charge
	} else {
		s.Config.Charge = provider.Charge{CachedPerMille: perMille}
	}
	if err := c.charge(&s.Config.Charge); err != nil {
		return s, err
	}
	for i := range pool.Limits {
		l, ok := c.limit(&pool.Limits[i], shape, trace.Hash(seed, uint64(i)))
		if !ok {
			s.Notes = append(s.Notes, fmt.Sprintf("%s: the stand-in does not count %s: no provider says how it does", s.Pool, pool.Limits[i].Name))
			continue
		}
		s.Config.Limits = append(s.Config.Limits, l)
		s.Names, s.Metrics = append(s.Names, pool.Limits[i].Name), append(s.Metrics, l.Metric)
		if l.Parts > 1 {
			s.Names, s.Metrics = append(s.Names, pool.Limits[i].Name+", a tenth"), append(s.Metrics, l.Metric)
		}
	}
	if _, err := provider.New(s.Config); err != nil {
		return s, fmt.Errorf("pool %s: %w", pool.Name, err)
	}
	return s, nil
}

var metrics = map[limiter.Metric]provider.Metric{
	limiter.Requests:     provider.Requests,
	limiter.Tokens:       provider.Tokens,
	limiter.InputTokens:  provider.InputTokens,
	limiter.OutputTokens: provider.OutputTokens,
	limiter.Concurrency:  provider.Concurrency,
}

// limit turns a limit as it is configured into one of a provider. Money, units, what is
// enqueued and calendars are our own: no stand-in counts them.
func (c *account) limit(spec *limiter.LimitSpec, shape Shape, seed uint64) (l provider.Limit, ok bool) {
	m, ok := metrics[spec.Metric]
	if !ok || spec.Shape == limiter.Calendar {
		return l, false
	}
	if m == provider.Tokens && c.admission() == "input" {
		m = provider.InputTokens
	}
	l = provider.Limit{Metric: m, Quota: spec.Quota, Window: spec.Window}
	if spec.Shape == limiter.Stock {
		l.Window, l.Shape = 0, provider.Stock
		return l, m == provider.Concurrency
	}
	if shape == Auto {
		shape = Sliding
		if spec.Shape == limiter.TokenBucket {
			shape = Bucket
		}
	}
	l.Shape = provider.Sliding
	switch shape {
	case Bucket:
		l.Shape, l.Burst = provider.Bucket, spec.Burst
	case Fixed:
		l.Shape, l.Phase = provider.Fixed, time.Duration(seed%uint64(spec.Window))
	case Quantised:
		if c.quantised(spec) {
			l.Parts, l.PartShape = parts, provider.Sliding
		}
	}
	return l, true
}

// quantised says whether a stand-in adds a tenth to a limit: not where the tenth is
// configured, to the tenth itself, to long windows, and to a quota that leaves nothing.
func (c *account) quantised(spec *limiter.LimitSpec) bool {
	if spec.Window > mostQuantum || spec.Quota < parts {
		return false
	}
	return !slices.ContainsFunc(c.pool.Limits, func(l limiter.LimitSpec) bool {
		return l.Metric == spec.Metric && l.Shape != limiter.Calendar &&
			(l.Window == parts*spec.Window || l.Window == spec.Window/parts && l.Quota <= spec.Quota/parts)
	})
}

func (c *account) admission() string {
	if c.Charge.Admission != nil {
		return *c.Charge.Admission
	}
	return c.profile.Admission.String()
}

// charge makes of a preset's charge rules those of the account: what `charge:` overrides,
// and the weights of the pool's models.
func (c *account) charge(to *provider.Charge) error {
	o := &c.Charge
	onCompletion := c.profile.OutputOn == policy.OutputOnCompletion
	if o.OutputOn != nil {
		onCompletion = *o.OutputOn == policy.OutputOnCompletion.String()
	}
	refund := c.profile.Refund
	if o.Refund != nil {
		refund = *o.Refund
	}
	if o.Admission != nil || o.OutputOn != nil || o.Refund != nil || c.unlisted() {
		to.Steps = 0
		switch c.admission() {
		default: // with input, what limits tokens counts input tokens here: see limit
			to.Estimate, to.Settle = provider.EstimateSum, refund
		case "max":
			to.Estimate, to.Settle = provider.EstimateMax, false
			if refund {
				return fmt.Errorf("charge: no stand-in both admits by the larger of input and output and refunds: leave refund out to simulate it")
			}
		}
		if onCompletion && (c.admission() == "input_and_cap" || !c.tokens) {
			to.Estimate, to.Settle, to.Steps = provider.EstimateInput, false, steps
		} else if onCompletion {
			to.Settle = true
		}
	}
	cached, burndown := int64(0), int64(perMille)
	for i, m := range c.pool.Models {
		w, b := weight(c.profile.CachedWeights, c.profile.CachedWeight, m.Name), weight(c.profile.Burndowns, c.profile.Burndown, m.Name)
		if o.CachedWeight != nil {
			w = *o.CachedWeight
		}
		if o.Burndown != nil {
			b = *o.Burndown
		}
		if i > 0 && (w != cached || b != burndown) {
			return fmt.Errorf("pool %s: its models count cached input or output differently: no stand-in does", c.pool.Name)
		}
		cached, burndown = w, b
	}
	if !c.tokens { // it multiplies the output within a sum
		burndown = perMille
	}
	if burndown != perMille && c.limits(limiter.OutputTokens) {
		return fmt.Errorf("pool %s: output burns down in tokens and not in output_tokens: no stand-in does that", c.pool.Name)
	}
	to.CachedPerMille = min(cached, perMille)
	if to.Burndown = burndown / perMille; burndown%perMille != 0 || to.Burndown < 1 || to.Burndown > mostBurndown {
		return fmt.Errorf("pool %s: a burndown of %g: stand-ins know whole ones from 1 to %d", c.pool.Name, float64(burndown)/perMille, mostBurndown)
	}
	return nil
}

// unlisted says whether the pool has limits that its provider is not known to have: then
// nothing is known of how they count, but what policy assumes.
func (c *account) unlisted() bool {
	for m, q := range map[limiter.Metric]provider.Quotas{
		limiter.Tokens: {Tokens: 1}, limiter.InputTokens: {InputTokens: 1}, limiter.OutputTokens: {OutputTokens: 1},
	} {
		if _, err := provider.Preset(c.Provider, q); err != nil && c.limits(m) {
			return true
		}
	}
	return false
}

// weight finds what policy knows of a model: the first weight whose part its name contains.
func weight(of []policy.ModelWeight, otherwise int64, model string) int64 {
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), ".", "-") }
	for _, w := range of {
		if strings.Contains(plain(model), plain(w.Part)) {
			return w.Weight
		}
	}
	return otherwise
}
