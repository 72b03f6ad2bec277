package policy

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/watermaster-project/watermaster/limiter"
)

const scopes = limiter.ToPool | limiter.ToOwner

// An item is a metric in which a target charges: to its pool, to the owner or to both.
type item struct {
	metric limiter.Metric
	pool   limiter.ChargeFlags // ToPool with the provider's rule; 0: the pool has no such limit
	owner  limiter.ChargeFlags // ToOwner with our own rule; 0: nobody has such a limit
	unit   string              // the metric's name, if the configuration names it
}

// newPlan decides in which metrics a target charges.
func (p *Policy) newPlan(t *target, limits []limiter.LimitSpec) error {
	var pool []limiter.Metric
	for i := range limits {
		pool = append(pool, limits[i].Metric)
	}
	pool = ascending(pool)
	for _, m := range ascending(slices.Concat(pool, p.owner)) {
		it := item{metric: m}
		if m > limiter.EnqueuedTokens {
			name, ok := p.units[m]
			if !ok {
				return &Invalid{"units", fmt.Sprintf("a limit of %s counts a unit without a name", t.pool)}
			}
			it.unit = name
		}
		if slices.Contains(pool, m) {
			it.pool = limiter.ToPool | t.profile.mode(m)
		}
		if slices.Contains(p.owner, m) {
			it.owner = limiter.ToOwner | ownerMode(m)
		}
		t.plan = append(t.plan, it)
	}
	return nil
}

// mode says how a provider counts a metric.
func (p *Profile) mode(m limiter.Metric) limiter.ChargeFlags {
	onCompletion := p.OutputOn == OutputOnCompletion
	switch m {
	case limiter.Requests, limiter.Concurrency, limiter.EnqueuedTokens:
		return 0 // counted as it is sent; stocks are freed at the end by themselves
	case limiter.Cost:
		return limiter.OnCompletion // billed when it is known; providers.md tells nothing else
	case limiter.OutputTokens:
		if onCompletion {
			return limiter.OnCompletion | limiter.Pooled // where the model's output is known
		}
	case limiter.Tokens:
		// The sum of an input that counts early and an output that counts late is kept whole
		// until the end and counts then: neither moment is missed.
		if onCompletion && p.Admission == AdmissionInputAndCap {
			return limiter.OnCompletion
		}
	}
	if p.Refund {
		return limiter.Refundable
	}
	return 0
}

// ownerMode says how our own limits count: on admission, and what wasn't used is given back.
// A call that was made stays one call.
func ownerMode(m limiter.Metric) limiter.ChargeFlags {
	switch m {
	case limiter.Requests, limiter.Concurrency, limiter.EnqueuedTokens:
		return 0
	}
	return limiter.Refundable
}

// use is what a call may use, or has used. 0 ≤ cached + written ≤ input; at most maxTokens
// each.
type use struct {
	input   int64 // cached and written tokens included
	cached  int64 // read from a cache
	written int64 // to a cache; unknown until the call is settled
	output  int64
	settled bool // it is what was used, not what may be
}

// poolAmount is what the provider counts in a metric.
func (t *target) poolAmount(m limiter.Metric, u *use) int64 {
	p := t.profile
	switch m {
	case limiter.InputTokens:
		if p.CapInInput {
			return t.weighted(u) + u.output
		}
		return t.weighted(u)
	case limiter.Tokens:
		output := weigh(u.output, t.burndown)
		switch p.Admission {
		case AdmissionInput:
			return t.weighted(u)
		case AdmissionMax:
			return max(t.weighted(u), output)
		}
		return t.weighted(u) + output
	case limiter.EnqueuedTokens:
		if p.EnqueuedInput {
			return u.input
		}
	}
	return t.ownerAmount(m, u)
}

// ownerAmount is what a call counts in a metric by its plain size and price.
func (t *target) ownerAmount(m limiter.Metric, u *use) int64 {
	switch m {
	case limiter.Requests, limiter.Concurrency:
		return 1
	case limiter.InputTokens:
		return u.input
	case limiter.OutputTokens:
		return u.output
	case limiter.Tokens, limiter.EnqueuedTokens:
		return u.input + u.output
	case limiter.Cost:
		return t.cost(u)
	}
	return 0
}

// weighted is the input as the provider counts it. As long as nobody knows what is written to
// a cache, all that isn't read from it may be.
func (t *target) weighted(u *use) int64 {
	rest := u.input - u.cached - u.written
	restWeight := int64(1000)
	if !u.settled {
		restWeight = max(restWeight, t.profile.CacheWriteWeight)
	}
	return weigh(rest, restWeight) + weigh(u.cached, t.cached) + weigh(u.written, t.profile.CacheWriteWeight)
}

// weigh takes n ≤ maxTokens times a weight in 1/1000, rounded up. The product is below 2⁶⁰.
func weigh(n, weight int64) int64 {
	if weight == 1000 {
		return n
	}
	return (n*weight + 999) / 1000
}

// cost is the price in micro-USD, rounded up, at most maxAmount.
func (t *target) cost(u *use) int64 {
	p := &t.price
	input := p.Input
	if !u.settled {
		input = max(input, p.CacheWrite)
	}
	var hi, lo uint64
	for _, part := range [...][2]int64{
		{u.input - u.cached - u.written, input}, {u.cached, p.CachedInput}, {u.written, p.CacheWrite}, {u.output, p.Output},
	} {
		h, l := bits.Mul64(uint64(part[0]), uint64(part[1]))
		var carry uint64
		lo, carry = bits.Add64(lo, l, 0)
		hi += h + carry
	}
	const million = 1_000_000
	lo, carry := bits.Add64(lo, million-1, 0)
	hi += carry
	if hi >= million {
		return maxAmount
	}
	q, _ := bits.Div64(hi, lo, million)
	return int64(min(q, maxAmount))
}

// appendCharges adds what a call may use: by metric, then by flags, ascending. Where the
// provider's rule and ours agree there is one charge for both.
func (t *target) appendCharges(to []limiter.Charge, u *use, units map[string]int64) []limiter.Charge {
	for i := range t.plan {
		it := &t.plan[i]
		var pool, owner int64
		if it.unit != "" {
			amount, ok := units[it.unit]
			if !ok {
				continue
			}
			pool, owner = amount, amount
		} else {
			if it.pool != 0 {
				pool = t.poolAmount(it.metric, u)
			}
			if it.owner != 0 {
				owner = t.ownerAmount(it.metric, u)
			}
		}
		to = appendBoth(to, it.metric, it.pool, pool, it.owner, owner)
	}
	return to
}

// appendBoth adds a charge for each scope whose flags are given, or one for both.
func appendBoth(to []limiter.Charge, m limiter.Metric, poolFlags limiter.ChargeFlags, pool int64, ownerFlags limiter.ChargeFlags, owner int64) []limiter.Charge {
	pool, owner = min(pool, maxAmount), min(owner, maxAmount)
	if poolFlags != 0 && ownerFlags != 0 && poolFlags&^scopes == ownerFlags&^scopes && pool == owner {
		return append(to, limiter.Charge{Metric: m, Flags: poolFlags | ownerFlags, Amount: pool})
	}
	if poolFlags > ownerFlags {
		poolFlags, pool, ownerFlags, owner = ownerFlags, owner, poolFlags, pool
	}
	if poolFlags != 0 {
		to = append(to, limiter.Charge{Metric: m, Flags: poolFlags, Amount: pool})
	}
	if ownerFlags != 0 {
		to = append(to, limiter.Charge{Metric: m, Flags: ownerFlags, Amount: owner})
	}
	return to
}
