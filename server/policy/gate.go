package policy

import (
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// How long gates stay closed.
const (
	// maxGate bounds what a provider may ask for: beyond it, one call an hour finds out
	// whether it still means it.
	maxGate = time.Hour
	// blockedGate is for what waiting doesn't cure, and for quotas of a day that don't say
	// when they open: one call a minute finds out.
	blockedGate = time.Minute
	// maxGates bounds the pools that a refusal for money closes.
	maxGates = 64
)

// appendGates adds what a failure closes. A throttle closes the pool for the calls that charge
// what was exceeded, for as long as the provider asks, less what has passed since; if it doesn't
// ask, until what its header says is used up comes back; else nothing. An exhausted quota
// closes it as blocked, a refusal for money all pools of the account. Overload and faults close
// nothing: they are no matter of limits (algorithms.md §5).
func (p *Policy) appendGates(to []limiter.Gate, t *target, f *failure, o *Observation) []limiter.Gate {
	switch f.class {
	case FailureThrottled:
		if f.wait > 0 {
			return t.appendGate(to, f.metric, f.metered, f.wait-o.age(), false)
		}
		for _, r := range ReadHeaders(t.profile.Headers, o.Headers, o.sent()) {
			if r.Remaining == 0 && r.Reset > 0 && (r.Kind == "" || r.Kind == "project") {
				to = t.appendGate(to, r.Metric, true, r.Reset-o.age(), false)
			}
		}
	case FailureQuotaExhausted:
		wait := max(f.wait, blockedGate)
		return t.appendGate(to, f.metric, f.metered, wait-o.age(), true)
	case FailureBilling:
		for _, pool := range p.poolsOf(t.account) {
			if len(to) == maxGates {
				break
			}
			if left := blockedGate - o.age(); left > 0 {
				to = append(to, limiter.Gate{Pool: pool, All: true, For: left, Blocked: true})
			}
		}
	}
	return to
}

// appendGate closes the target's pool for a metric; for all calls if the metric isn't known
// or isn't what calls there are charged by.
func (t *target) appendGate(to []limiter.Gate, m limiter.Metric, metered bool, left time.Duration, blocked bool) []limiter.Gate {
	if left <= 0 {
		return to
	}
	g := limiter.Gate{Pool: t.pool, For: min(left, maxGate), Blocked: blocked}
	if g.All = !metered; metered {
		if g.Metric, metered = t.charged(m); !metered {
			g.All = true
		}
	}
	return append(to, g)
}

// charged finds the metric by which calls to the pool are charged for what a provider calls
// m: the input of a limit that counts it may stand below tokens.
func (t *target) charged(m limiter.Metric) (limiter.Metric, bool) {
	has := func(m limiter.Metric) bool {
		for i := range t.plan {
			if t.plan[i].metric == m && t.plan[i].pool != 0 {
				return true
			}
		}
		return false
	}
	if has(m) {
		return m, true
	}
	if (m == limiter.InputTokens || m == limiter.OutputTokens) && has(limiter.Tokens) {
		return limiter.Tokens, true
	}
	return 0, false
}

// poolsOf gives the pools of an account, as the engine names them.
func (p *Policy) poolsOf(account string) []string {
	var pools []string
	for _, t := range p.targets {
		if t.account == account && (len(pools) == 0 || pools[len(pools)-1] != t.pool) {
			pools = append(pools, t.pool)
		}
	}
	return pools
}
