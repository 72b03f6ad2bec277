package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// A Draw is one call as a gateway describes it: by amounts, without a prompt. What it may use is
// told as hits, of all tokens together or by metric.
type Draw struct {
	Project string // required; see DefaultProject
	Class   string // priority class; "": standard

	// Where the call goes. All "": to no provider's pool, so that only the limits of the project
	// and of the organization count.
	Route   string // not with Model
	Model   string // under any of its names; without Account: wherever it is offered
	Account string // narrows the others; alone: its only pool

	// Call: it counts as one request, and as one in flight if it is Held.
	Call bool
	// Tokens are the hits for every limit of tokens, of either kind or both. The cost of so many
	// tokens is taken at the dearer price.
	Tokens Optional[int64]
	// Metrics are hits of one metric each, no metric twice. Of an amount that is told here and
	// above the larger counts.
	Metrics []MetricHits

	// Held: the call's end will be told. Without it nothing is held that only an end frees:
	// neither concurrency nor enqueued_tokens.
	Held bool
	// Check: nothing is drawn; what was told as 0 is judged as 1, the least that a call uses.
	Check bool
	// Divert: as in Request.
	Divert bool

	// Key and Lease are the engine's names; TTL is of the lease, 0: 10 min.
	Key     limiter.Key
	Lease   limiter.LeaseID
	Arrived limiter.Time // log time of the RPC
	TTL     time.Duration
}

// MetricHits are hits of one metric.
type MetricHits struct {
	Metric limiter.Metric
	Hits   int64 // −2⁴⁰ … 2⁴⁰; negative: so much is given back
}

// MaxHits bounds the hits of one metric, either way.
const MaxHits = maxTokens

// OwnerPool is where calls go that touch no provider's pool, as the engine names it. Pools of
// accounts have a slash in their names.
const OwnerPool = "owner"

// ownerStartWithin is for how long a grant without a pool is told again to who repeats himself:
// no provider counts it, so nothing has to be sent in time.
const ownerStartWithin = defaultTTL

// compileOwner lets draws touch the limits of owners alone: with a target in a pool that has no
// limits. The hash of the configuration tells those that know the pool from those that do not;
// it is the larger one, so that where both run theirs does not come back.
func (p *Policy) compileOwner() error {
	t := &target{pool: OwnerPool, quality: maxQuality, profile: &Profile{}, id: TargetOf(OwnerPool, "")}
	if err := p.newPlan(t, nil); err != nil {
		return err
	}
	p.ownerOnly = t
	p.configure.Pools = append(slices.Clip(p.configure.Pools), limiter.PoolSpec{
		Name: OwnerPool, Models: []string{""}, StartWithin: ownerStartWithin,
	})
	p.configure.Hash++
	return nil
}

// DefaultProject gives the project of a draw that names none: "envoy" if there is one or the
// template allows it, or else the only one. "": none.
func (p *Policy) DefaultProject() string {
	const gateway = "envoy"
	if _, named := p.projects[gateway]; named || p.template {
		return gateway
	}
	if len(p.names.project) == 1 {
		return p.names.project[0]
	}
	return ""
}

// Projects lists the projects that have a name in the configuration, ascending.
func (p *Policy) Projects() []string { return p.names.project }

// Metric finds a metric by its name, a unit that the configuration names included. Errors:
// NotFound.
func (p *Policy) Metric(name string) (limiter.Metric, error) {
	if m, ok := limiter.BuiltinMetric(name); ok {
		return m, nil
	}
	if m := limiter.Unit(name); p.units[m] == name {
		return m, nil
	}
	known := limiter.BuiltinMetrics()
	for _, unit := range p.units {
		known = append(known, unit)
	}
	slices.Sort(known)
	return 0, NewNotFound("metric", name, known)
}

// Draw fills the command that asks the engine, reusing its lists. It never waits, and the pacer
// does not hold it back. Targets are chosen and ranked as by Acquire. Amounts are charged as they
// are told, whatever the provider weighs, at the moments at which it counts; where input and
// output are both told by metric, and the sum of both is not, that is what the provider would
// count of them.
//
// Errors: NotFound, Invalid. The command is undefined then.
func (p *Policy) Draw(d *Draw, cmd *limiter.Acquire) error {
	class, _, err := p.checkOwner(d.Project, d.Class)
	if err != nil {
		return err
	}
	for _, m := range d.Metrics {
		if !d.Held && (m.Metric == limiter.Concurrency || m.Metric == limiter.EnqueuedTokens) && m.Hits > 0 {
			return &Invalid{"descriptors", fmt.Sprintf("%s is held until a call ends, and nothing says which call this is: add an entry request_id", m.Metric)}
		}
	}
	choices, minQuality, err := p.drawn(d)
	if err != nil {
		return err
	}
	cmd.Key, cmd.Lease, cmd.Project, cmd.Class = d.Key, d.Lease, d.Project, class
	cmd.Arrived, cmd.MaxWait, cmd.TTL = d.Arrived, 0, d.TTL
	cmd.Unpaced = true
	if cmd.TTL == 0 {
		cmd.TTL = defaultTTL
	}
	if choices == nil {
		s := selection{req: &Request{}, cmd: cmd}
		cmd.Targets = cmd.Targets[:0]
		s.add(&choice{target: p.ownerOnly}, 0)
		cmd.Targets[0].Charges = p.ownerOnly.appendDrawn(cmd.Targets[0].Charges[:0], d)
		return nil
	}
	req := Request{MaxOutputTokens: Some[int64](0)}
	if d.Account != "" {
		req.Constraints.Accounts, minQuality = []string{d.Account}, 0 // whoever names it wants it
	}
	if err := selectTargets(&req, choices, minQuality, cmd); err != nil {
		return err
	}
	for i := range cmd.Targets {
		out := &cmd.Targets[i]
		out.Charges = p.byID[TargetOf(out.Pool, out.Model)].appendDrawn(out.Charges[:0], d)
	}
	return nil
}

// drawn gives what a draw chooses from; nil: the owner's limits alone.
func (p *Policy) drawn(d *Draw) (choices []choice, minQuality int, err error) {
	if d.Account != "" && !slices.ContainsFunc(p.targets, func(t *target) bool { return t.account == d.Account }) {
		return nil, 0, NewNotFound("account", d.Account, p.accounts())
	}
	switch {
	case d.Route != "" && d.Model != "":
		return nil, 0, &Invalid{"descriptors", "they name a route and a model: a call goes by one of them"}
	case d.Route != "":
		r := p.routes[d.Route]
		if r == nil {
			return nil, 0, NewNotFound("route", d.Route, p.names.route)
		}
		choices, minQuality = r.choices, r.minQuality
		if d.Divert && r.diverted != nil {
			choices = r.diverted
		}
	case d.Model != "":
		if choices = p.choices(d.Model); choices == nil {
			return nil, 0, NewNotFound("model", d.Model, p.names.model)
		}
	case d.Account != "":
		return p.onlyPool(d.Account)
	default:
		return nil, 0, nil
	}
	if d.Account != "" && !slices.ContainsFunc(choices, func(c choice) bool { return c.target.account == d.Account }) {
		name := d.Route + d.Model // of which one is empty
		return nil, 0, NewNotFound("target", d.Account+"/"+name, p.offers())
	}
	return choices, minQuality, nil
}

// onlyPool gives what an account offers that has one pool: its first model stands for all.
func (p *Policy) onlyPool(account string) ([]choice, int, error) {
	var only *target
	var models []string
	several := false
	for _, t := range p.targets {
		if t.account != account {
			continue
		}
		models = append(models, t.model)
		several = several || only != nil && only.pool != t.pool
		if only == nil {
			only = t
		}
	}
	if several {
		return nil, 0, &Invalid{"descriptors", fmt.Sprintf("account %q has several pools: add an entry model, one of %s", account, strings.Join(models, ", "))}
	}
	return []choice{{target: only, quality: maxQuality}}, 0, nil
}

func (p *Policy) accounts() (names []string) {
	for _, t := range p.targets {
		names = append(names, t.account)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// hits gives what was told of one metric by name.
func (d *Draw) hits(m limiter.Metric) (n int64, told bool) {
	for i := range d.Metrics {
		if d.Metrics[i].Metric == m {
			return d.Metrics[i].Hits, true
		}
	}
	return 0, false
}

// parts gives the input and the output, if both were told and the sum was not.
func (d *Draw) parts() (input, output int64, told bool) {
	input, hasInput := d.hits(limiter.InputTokens)
	output, hasOutput := d.hits(limiter.OutputTokens)
	_, hasSum := d.hits(limiter.Tokens)
	return input, output, hasInput && hasOutput && !hasSum && !d.Tokens.Set && input >= 0 && output >= 0
}

// drawn gives what a draw says of a metric, as the pool and as the owner counts it. told is
// false if it says nothing. Only what was told plainly may be negative.
func (t *target) drawn(m limiter.Metric, d *Draw, settled bool) (pool, owner int64, told bool) {
	n, told := d.hits(m)
	switch m {
	case limiter.Requests:
		if d.Call || d.Check && d.Tokens.Set {
			n, told = max(n, 1), true
		}
	case limiter.Concurrency:
		if d.Held && (d.Call || d.Check && d.Tokens.Set) {
			n, told = max(n, 1), true
		}
	case limiter.InputTokens, limiter.OutputTokens, limiter.Tokens, limiter.EnqueuedTokens, limiter.Cost:
		u := use{settled: settled}
		var parts bool
		if u.input, u.output, parts = d.parts(); parts && (!told || m == limiter.InputTokens) {
			return t.poolAmount(m, &u), t.ownerAmount(m, &u), d.Held || m != limiter.EnqueuedTokens
		}
		if !d.Tokens.Set || m == limiter.EnqueuedTokens && !d.Held {
			break
		}
		all := d.Tokens.Value
		if m == limiter.Cost {
			all = t.dearest(all, settled)
		}
		if !told || all > n {
			n, told = all, true
		}
	}
	return n, n, told
}

// dearest is the cost of tokens of which nobody knows whether they are input or output.
func (t *target) dearest(n int64, settled bool) int64 {
	size := max(n, -n)
	c := max(t.cost(&use{input: size, settled: settled}), t.cost(&use{output: size, settled: settled}))
	if n < 0 {
		return -c
	}
	return c
}

// appendDrawn adds what a draw may use: by metric, then by flags, ascending.
func (t *target) appendDrawn(to []limiter.Charge, d *Draw) []limiter.Charge {
	for i := range t.plan {
		it := &t.plan[i]
		pool, owner, told := t.drawn(it.metric, d, false)
		least := int64(0)
		if d.Check {
			least = 1
		}
		if told {
			to = appendBoth(to, it.metric, it.pool, max(least, pool), it.owner, max(least, owner))
		}
	}
	return to
}

// GiveBack fills the command that gives back what a draw tells as negative hits, where nothing says
// of which call. A request is given back only by its name, or where no number is told at all.
// Errors: NotFound, and Invalid if it may have been drawn in one of several pools.
func (p *Policy) GiveBack(d *Draw, cmd *limiter.GiveBack) error {
	choices, _, err := p.drawn(d)
	if err != nil {
		return err
	}
	t := p.ownerOnly
	for i := range choices {
		c := choices[i].target
		switch {
		case d.Account != "" && c.account != d.Account:
		case t != p.ownerOnly && t.pool != c.pool:
			return &Invalid{"descriptors", "what is given back may have been drawn in several pools: name its account and its model"}
		default:
			t = c
		}
	}
	cmd.Project, cmd.Pool, cmd.Charges = d.Project, t.pool, cmd.Charges[:0]
	for i := range t.plan {
		it := &t.plan[i]
		if pool, owner, told := t.drawn(it.metric, d, false); told {
			cmd.Charges = appendBoth(cmd.Charges, it.metric, it.pool, max(0, -pool), it.owner, max(0, -owner))
		}
	}
	return nil
}

// Settle fills the command that ends a draw's lease. What it used is told as hits: 0 and what is
// not told is as estimated, a negative one is so much less than what the lease had. Requests stay
// as they were granted, unless more were told by metric.
func (p *Policy) Settle(d *Draw, id TargetID, had []limiter.LeaseCharge, cmd *limiter.Release) {
	cmd.Lease, cmd.Outcome = d.Lease, limiter.Used
	cmd.Gates = cmd.Gates[:0]
	cmd.Actual = p.appendUsed(cmd.Actual[:0], d, id, had, false)
}

// ReportDraw fills the command that tells what a call has used whose lease is a worker's, and
// SettleWorker the one that ends it. Hits that were told without a metric are the sum of input
// and output: of a limit of one of them they are an upper bound, so it is not charged more by
// them than the lease had.
func (p *Policy) ReportDraw(d *Draw, id TargetID, had []limiter.LeaseCharge, cmd *limiter.Report) {
	cmd.Lease, cmd.Gates = d.Lease, cmd.Gates[:0]
	cmd.Actual = p.appendUsed(cmd.Actual[:0], d, id, had, true)
}

// SettleWorker is as ReportDraw, and ends the lease.
func (p *Policy) SettleWorker(d *Draw, id TargetID, had []limiter.LeaseCharge, cmd *limiter.Release) {
	cmd.Lease, cmd.Outcome = d.Lease, limiter.Used
	cmd.Gates = cmd.Gates[:0]
	cmd.Actual = p.appendUsed(cmd.Actual[:0], d, id, had, true)
}

func (p *Policy) appendUsed(to []limiter.Charge, d *Draw, id TargetID, had []limiter.LeaseCharge, bounded bool) []limiter.Charge {
	t := p.byID[id]
	if id == p.ownerOnly.id {
		t = p.ownerOnly
	}
	if t == nil {
		return to // the configuration has lost it
	}
	for i := range t.plan {
		it := &t.plan[i]
		pool, owner, told := t.drawn(it.metric, d, true)
		if !told || it.metric == limiter.Concurrency || it.metric == limiter.EnqueuedTokens {
			continue
		}
		_, named := d.hits(it.metric)
		_, _, parts := d.parts()
		if it.metric == limiter.Requests && !named {
			continue
		}
		bound := bounded && !named && !parts && it.metric != limiter.Tokens
		poolScope, ownerScope := it.pool&limiter.ToPool, it.owner&limiter.ToOwner
		if pool = usedOf(pool, it.metric, true, had, bound); pool < 0 {
			poolScope = 0
		}
		if owner = usedOf(owner, it.metric, false, had, bound); owner < 0 {
			ownerScope = 0
		}
		to = appendBoth(to, it.metric, poolScope, max(0, pool), ownerScope, max(0, owner))
	}
	return to
}

// usedOf gives what hits say that was used; < 0: nothing.
func usedOf(hits int64, m limiter.Metric, pool bool, had []limiter.LeaseCharge, bound bool) int64 {
	switch {
	case hits == 0:
		return -1
	case hits > 0 && !bound:
		return hits
	}
	for i := range had {
		if h := &had[i]; h.Metric == m && (h.Scope == limiter.ScopePool) == pool {
			if hits < 0 {
				return max(0, h.Amount+hits)
			}
			return min(h.Amount, hits)
		}
	}
	return -1
}

// Debt fills the command that charges a draw by force: a call that has ended, and that nothing
// was reserved for. It goes where Draw would have sent it first, counts from now, and is never
// given back. Errors are those of Draw.
func (p *Policy) Debt(d *Draw, via *limiter.Acquire, cmd *limiter.Restore) error {
	if err := p.Draw(d, via); err != nil {
		return err
	}
	cmd.Leases = cmd.Leases[:0]
	if len(via.Targets) == 0 {
		return nil
	}
	t := &via.Targets[0]
	s := limiter.LeaseState{
		Key: via.Key, Lease: via.Lease, Project: via.Project, Class: via.Class, Pool: t.Pool, Model: t.Model,
		TTL: via.TTL, Settled: true,
	}
	for _, c := range t.Charges {
		s.Charges = append(s.Charges, limiter.HeldCharge{Charge: c, Late: true})
	}
	cmd.Leases = append(cmd.Leases, s)
	return nil
}
