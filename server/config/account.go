package config

import (
	"cmp"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// Defaults of an account.
const (
	defaultMargin      = 100_000 // parts per million; learning starts at 10 to 15 %
	defaultStartWithin = 700 * time.Millisecond
	defaultTransit     = 300 * time.Millisecond
)

// readAccounts reads `accounts:` of an organization.
func (r *organizationReader) readAccounts(f fields, name *node) []Account {
	entries := f.named("accounts", checkName)
	if n := f.value("accounts"); n == nil || n.null || n.kind == mapping && len(n.entries) == 0 {
		at := name
		if n != nil {
			at = f.where("accounts")
		}
		r.fail(at, "", "%s has no accounts, so nothing to divide", f.what)
	}
	r.poolModels = make(map[poolModel]string)
	former := renames{reader: r.reader, kind: "account"}
	var accounts []Account
	for _, e := range entries {
		accounts = append(accounts, r.readAccount(e, &former))
	}
	former.check()
	slices.SortFunc(accounts, func(a, b Account) int { return cmp.Compare(a.Name, b.Name) })
	return accounts
}

func (r *organizationReader) readAccount(e entry, former *renames) Account {
	a := Account{Name: e.key.text}
	f := r.fields(e.value, "the account "+a.Name, "was", "provider", "margin", "start_within", "transit",
		"when_away", "attributes", "charge", "pools")
	a.Was = former.add(f, a.Name, checkName)
	a.Provider = cmp.Or(f.choice("provider", Providers()...), generic)
	a.Margin = uint32(f.share("margin", 6, defaultMargin, 0, million-1))
	a.StartWithin = f.duration("start_within", defaultStartWithin, time.Millisecond, time.Minute)
	a.Transit = f.duration("transit", defaultTransit, 0, time.Minute)
	a.Away = f.away("when_away")
	a.Attributes = f.texts("attributes")
	if charge := f.value("charge"); charge != nil {
		a.Charge = r.readCharge(charge, a.Name)
	}
	if n := f.value("pools"); n == nil || n.null || n.kind == mapping && len(n.entries) == 0 {
		at := e.key
		if n != nil {
			at = f.where("pools")
		}
		r.fail(at, "", "the account %s has no pools, so no models", a.Name)
	}
	pools := renames{reader: r.reader, kind: "pool"}
	for _, p := range f.named("pools", checkName) {
		a.Pools = append(a.Pools, r.readPool(p, &a, &pools))
	}
	pools.check()
	slices.SortFunc(a.Pools, func(a, b Pool) int { return cmp.Compare(a.Name, b.Name) })
	return a
}

// readCharge reads `charge:`, what is to differ from the preset.
func (r *reader) readCharge(at *node, account string) ChargeOverrides {
	f := r.fields(at, "the charge of "+account,
		"admission", "refund", "cached_weight", "burndown", "output_on", "failed_count")
	c := ChargeOverrides{Refund: f.flag("refund"), FailedCount: f.flag("failed_count")}
	if s := f.choice("admission", "sum", "max", "input", "input_and_cap"); s != "" {
		c.Admission = &s
	}
	if s := f.choice("output_on", "admission", "completion"); s != "" {
		c.OutputOn = &s
	}
	if f.value("cached_weight") != nil {
		v := f.share("cached_weight", 3, 0, 0, 1000)
		c.CachedWeight = &v
	}
	if f.value("burndown") != nil {
		thousandths := func(s string) (int64, error) { return decimal(s, 3) }
		v := parsed(f, "burndown", 0, 0, 1_000_000, thousandths, func(v int64) string { return fraction(v, 3) })
		c.Burndown = &v
	}
	return c
}

func (r *organizationReader) readPool(e entry, a *Account, former *renames) Pool {
	p := Pool{Name: e.key.text}
	what := "the pool " + a.Name + "/" + p.Name
	f := r.fields(e.value, what, "was", "models", "limits")
	was := former.add(f, p.Name, checkName)
	if was != "" || a.Was != "" { // the engine knows it by both names, so either may have changed
		p.Was = cmp.Or(a.Was, a.Name) + "/" + cmp.Or(was, p.Name)
	}
	limits, cost := r.readLimits(f, limitScope{
		what: what, units: r.units, shape: shapeOf(a.Provider), margin: a.Margin, delay: a.Delay(),
	})
	p.Limits = limits
	items := f.list("models")
	if len(items) == 0 {
		r.fail(e.key, "", "no model can reach %s: list its `models`", what)
	}
	priced := false
	for _, n := range items {
		if m, ok := r.readPoolModel(n, a.Name, p.Name); ok {
			known, _ := r.models.find(m.Name)
			r.offers = append(r.offers, offer{n, m.Name, r.models.priced[known], cost})
			priced = priced || r.models.priced[known]
			p.Models = append(p.Models, m)
		}
	}
	if cost != nil && !priced && len(p.Models) > 0 {
		r.fail(cost, "", "no call can reach this limit of cost: no model of the pool has a price; give one in `models`")
	}
	if len(limits) == 0 {
		r.warn(e.key, "%s has no limits: all calls to it go ahead", what)
	}
	return p
}

// readPoolModel reads a model that a pool offers: a name, or {name, attributes}.
func (r *organizationReader) readPoolModel(n *node, account, pool string) (m PoolModel, ok bool) {
	at := n
	if n.broken {
		return m, false
	}
	if n.kind == scalar {
		m.Name = n.text
	} else {
		f := r.fields(n, "a model of the pool "+account+"/"+pool, "name", "attributes", "output")
		if n.kind != mapping {
			return m, false
		}
		if m.Name = f.text("name", ""); m.Name == "" {
			if f.value("name") == nil {
				r.fail(n, "", "a model of the pool %s/%s has no name", account, pool)
			}
			return m, false
		}
		at = f.value("name")
		m.Attributes = f.texts("attributes")
		if n := f.value("output"); n != nil {
			m.Output = r.readOutput(n, account+"/"+pool)
		}
	}
	if err := checkPath(m.Name); err != nil {
		r.fail(at, "", "models: %v", err)
		return m, false
	}
	key := poolModel{account, m.Name}
	switch other, taken := r.poolModels[key]; {
	case taken && other == pool:
		r.fail(at, "", "the model %s is listed twice in the pool %s/%s", quote(m.Name), account, pool)
		return m, false
	case taken:
		r.fail(at, "", "the model %s is in the pool %s/%s already: a call must know its pool", quote(m.Name), account, other)
		return m, false
	}
	r.poolModels[key] = pool
	r.checkModel(at, m.Name)
	return m, true
}

// readOutput reads what calls in flight produce: {expected, deviation} in tokens.
func (r *organizationReader) readOutput(n *node, pool string) limiter.Moments {
	f := r.fields(n, "the output of a model of the pool "+pool, "expected", "deviation")
	expected := f.whole("expected", 0, 1, maxTokens)
	deviation := f.whole("deviation", 0, 0, maxTokens)
	if n.kind == mapping && f.value("expected") == nil {
		r.fail(n, "", "output: expected is missing: the mean output of calls in flight, E[o²]/E[o] over all calls, in tokens")
	}
	return limiter.Moments{Mean: expected, Variance: deviation * deviation}
}

// poolSpecs gives the pools of an organization as the engine wants them, by name.
func (o *Organization) poolSpecs() []limiter.PoolSpec {
	var specs []limiter.PoolSpec
	for _, a := range o.Accounts {
		for _, p := range a.Pools {
			s := limiter.PoolSpec{
				Name: a.Name + "/" + p.Name, Was: p.Was, StartWithin: a.StartWithin, Limits: p.Limits,
			}
			for _, m := range p.Models {
				s.Models = append(s.Models, m.Name)
				s.Outputs = append(s.Outputs, m.Output)
			}
			specs = append(specs, s)
		}
	}
	slices.SortFunc(specs, func(a, b limiter.PoolSpec) int { return cmp.Compare(a.Name, b.Name) })
	return specs
}
