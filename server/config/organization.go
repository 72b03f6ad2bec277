package config

import (
	"cmp"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// maxPeople bounds the projects and the waiters of an organization.
const maxPeople = 1_000_000

// defaultRetryBudget is in 1/1000 of the first attempts.
const defaultRetryBudget = 200

// maxUnits bounds the units of an organization.
const maxUnits = 256

// readOrganizations reads `organizations:`.
func (r *reader) readOrganizations(top fields) []Organization {
	entries := top.named("organizations", checkName)
	if n := top.value("organizations"); n == nil || n.null || n.kind == mapping && len(n.entries) == 0 {
		r.fail(top.where("organizations"), "", "there are no organizations")
	}
	common := r.readUnits(top, nil)
	former := renames{reader: r, kind: "organization"}
	cold := top.coldStart(limiter.Pace)
	replicas := top.whole("max_replicas", defaultReplicas, 1, mostReplicas)
	var all []Organization
	for _, e := range entries {
		o := organizationReader{reader: r, cold: cold, replicas: replicas}
		all = append(all, o.read(e, common, &former))
	}
	former.check()
	slices.SortFunc(all, func(a, b Organization) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// readUnits reads `units:` and adds those in force already. The result may be common
// itself and is not to be changed.
func (r *reader) readUnits(f fields, common map[string]limiter.Metric) map[string]limiter.Metric {
	if common != nil && f.value("units") == nil {
		return common
	}
	units := make(map[string]limiter.Metric)
	names := make(map[limiter.Metric]string)
	for name, m := range common {
		units[name], names[m] = m, name
	}
	words, at := f.words("units")
	if len(common)+len(words) > maxUnits {
		r.fail(f.where("units"), "", "more than %d units", maxUnits)
		return units
	}
	for i, name := range words {
		if err := checkMetric(name); err != nil {
			r.fail(at[i], "", "the unit %v", err)
			continue
		}
		if _, builtin := limiter.BuiltinMetric(name); builtin {
			r.fail(at[i], "", "%s is built in: it is not a unit", name)
			continue
		}
		m := limiter.Unit(name)
		if other := names[m]; other != "" && other != name {
			r.fail(at[i], "", "the units %s and %s cannot be told apart: their hashes are equal; rename one", other, name)
			continue
		}
		units[name], names[m] = m, name
	}
	return units
}

// An organizationReader reads one organization.
type organizationReader struct {
	*reader
	units map[string]limiter.Metric
	delay time.Duration     // the longest of its accounts
	cold  limiter.ColdStart // what the file says

	replicas int64 // max_replicas, as the file says

	costs      []*node // its limits of cost that count for every pool
	offers     []offer // what its pools offer
	poolModels map[poolModel]string
}

// An offer is a model in a pool.
type offer struct {
	at     *node
	name   string
	priced bool
	costs  *node // the pool's own limit of cost
}

type poolModel struct{ account, model string }

func (r *organizationReader) read(e entry, common map[string]limiter.Metric, former *renames) Organization {
	o := Organization{Name: e.key.text}
	what := "the organization " + o.Name
	f := r.fields(e.value, what, "was", "limits", "units", "accounts", "projects",
		"max_projects", "max_waiting", "max_replicas", "after_loss", "routes", "cold_start", "retry_budget")
	o.Was = former.add(f, o.Name, checkName)
	r.units = r.readUnits(f, common)
	for name := range r.units { // sorted next
		o.Units = append(o.Units, name)
	}
	slices.Sort(o.Units)
	o.Accounts = r.readAccounts(f, e.key)
	for _, a := range o.Accounts {
		r.delay = max(r.delay, a.Delay())
	}
	o.Limits = r.readOwn(f, what)
	o.Projects, o.Template = r.readProjects(f)
	o.MaxProjects = int(f.whole("max_projects", max(1000, int64(len(o.Projects))), 1, maxPeople))
	if o.MaxProjects < len(o.Projects) {
		r.fail(f.where("max_projects"), "", "max_projects is %d, and %d are named", o.MaxProjects, len(o.Projects))
	}
	o.MaxWaiting = int(f.whole("max_waiting", 10_000, 1, maxPeople))
	o.MaxReplicas = int(f.whole("max_replicas", r.replicas, 1, mostReplicas))
	o.ColdStart = f.coldStart(r.cold)
	if f.choice("after_loss", "quick", "exact") == "exact" {
		o.AfterLoss = limiter.ExactRollCall
	}
	o.RetryBudget = int(f.share("retry_budget", 3, defaultRetryBudget, 0, 1000))
	o.Routes = r.readRoutes(f, o.Accounts)
	r.checkPrices()
	return o
}

// readOwn reads limits that this service alone enforces, for the organization or a
// project: nobody else draws on them, so nothing is kept free; their windows slide; and
// a call is counted by the slowest account's clock.
func (r *organizationReader) readOwn(f fields, what string) []limiter.LimitSpec {
	specs, cost := r.readLimits(f, limitScope{
		what: what, units: r.units, shape: limiter.SlidingWindow, delay: r.delay,
	})
	if cost != nil {
		r.costs = append(r.costs, cost)
	}
	return specs
}

// checkPrices tells of limits of cost for calls that cost nothing as far as is known.
func (r *organizationReader) checkPrices() {
	priced := false
	for _, o := range r.offers {
		priced = priced || o.priced
		if !o.priced && (o.costs != nil || len(r.costs) > 0) {
			r.warn(o.at, "the model %s has no price: no limit of cost counts it", quote(o.name))
		}
	}
	if priced || len(r.offers) == 0 {
		return
	}
	for _, at := range r.costs {
		r.fail(at, "", "no call can reach this limit of cost: no model in a pool has a price; give one in `models`")
	}
}
