package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
)

// A Policy is one organization's part of a configuration, compiled. It never changes and
// may be used concurrently.
type Policy struct {
	organization string
	configure    limiter.Configure
	classes      map[string]time.Duration // the longest wait
	projects     map[string]struct{}
	template     bool
	routes       map[string]*route
	models       map[string][]choice // by name and by exact alias
	aliases      []alias             // longest prefix first
	targets      []*target           // by account, pool and position
	byID         map[TargetID]*target
	ownerOnly    *target          // of draws that touch no pool
	owner        []limiter.Metric // limits of the organization and of any project; ascending
	units        map[limiter.Metric]string
	pressure     [3]config.PressureStep
	names        struct{ class, project, route, model []string } // ascending
}

// An alias stands for the models whose names begin with a prefix.
type alias struct {
	prefix  string
	choices []choice
}

// Compile makes the policy of an organization. It keeps parts of the configuration, which
// must not change afterwards. Errors: NotFound for an organization, provider, account or model
// that isn't there, Invalid for a value that can't be, and for two names that have the same
// digest.
func Compile(cfg *config.Config, organization string) (*Policy, error) {
	i := slices.IndexFunc(cfg.Organizations, func(o config.Organization) bool { return o.Name == organization })
	if i < 0 {
		names := make([]string, len(cfg.Organizations))
		for k := range cfg.Organizations {
			names[k] = cfg.Organizations[k].Name
		}
		return nil, NewNotFound("organization", organization, names)
	}
	org := &cfg.Organizations[i]
	p := &Policy{
		organization: organization,
		classes:      map[string]time.Duration{},
		projects:     map[string]struct{}{},
		template:     org.Template != nil,
		routes:       map[string]*route{},
		models:       map[string][]choice{},
		byID:         map[TargetID]*target{},
		units:        map[limiter.Metric]string{},
		pressure:     cfg.Pressure,
	}
	p.configure = *cfg.Configure(org)
	for i := range cfg.Classes {
		c := &cfg.Classes[i]
		p.classes[c.Name] = c.MaxWait
		p.names.class = append(p.names.class, c.Name)
	}
	slices.Sort(p.names.class)
	for i := range org.Projects {
		p.projects[org.Projects[i].Name] = struct{}{}
		p.names.project = append(p.names.project, org.Projects[i].Name)
	}
	slices.Sort(p.names.project)
	if err := p.compileMetrics(org); err != nil {
		return nil, err
	}
	for i := range org.Accounts {
		if err := p.compileAccount(cfg, &org.Accounts[i]); err != nil {
			return nil, fmt.Errorf("account %s: %w", org.Accounts[i].Name, err)
		}
	}
	if err := p.compileOwner(); err != nil {
		return nil, err
	}
	p.compileFormer(org)
	p.compileModels(cfg)
	for i := range org.Routes {
		if err := p.compileRoute(&org.Routes[i]); err != nil {
			return nil, fmt.Errorf("route %s: %w", org.Routes[i].Name, err)
		}
	}
	slices.Sort(p.names.route)
	return p, nil
}

// compileMetrics gathers what the organization and its projects limit.
func (p *Policy) compileMetrics(org *config.Organization) error {
	for _, name := range org.Units {
		m := limiter.Unit(name)
		if other, taken := p.units[m]; taken && other != name {
			return &Invalid{Field: "units", Message: fmt.Sprintf("%q and %q have the same digest; rename one", other, name)}
		}
		p.units[m] = name
	}
	for i := range org.Limits {
		p.owner = append(p.owner, org.Limits[i].Metric)
	}
	for i := range org.Projects {
		for j := range org.Projects[i].Limits {
			p.owner = append(p.owner, org.Projects[i].Limits[j].Metric)
		}
	}
	if org.Template != nil {
		for j := range org.Template.Limits {
			p.owner = append(p.owner, org.Template.Limits[j].Metric)
		}
	}
	p.owner = ascending(p.owner)
	return nil
}

func ascending(metrics []limiter.Metric) []limiter.Metric {
	slices.Sort(metrics)
	return slices.Compact(metrics)
}

func (p *Policy) compileAccount(cfg *config.Config, a *config.Account) error {
	profile, ok := Preset(a.Provider)
	if !ok {
		return NewNotFound("provider", a.Provider, Presets())
	}
	if err := profile.override(&a.Charge); err != nil {
		return err
	}
	for i := range a.Pools {
		pool := &a.Pools[i]
		for j := range pool.Models {
			t, err := p.newTarget(cfg, a, &profile, pool, &pool.Models[j])
			if err != nil {
				return err
			}
			if other := p.byID[t.id]; other != nil {
				return &Invalid{Field: "pools", Message: fmt.Sprintf("%s of %s and %s of %s have the same digest; rename one",
					t.model, t.pool, other.model, other.pool)}
			}
			p.byID[t.id] = t
			p.targets = append(p.targets, t)
		}
	}
	return nil
}

// compileFormer lets targets be found by the ids that they had under former names of their
// account or pool, for leases that were given out then.
func (p *Policy) compileFormer(org *config.Organization) {
	for i := range org.Accounts {
		a := &org.Accounts[i]
		for j := range a.Pools {
			pool := &a.Pools[j]
			for _, m := range pool.Models {
				id := TargetOf(pool.Was, m.Name)
				if pool.Was != "" && p.byID[id] == nil {
					p.byID[id] = p.byID[TargetOf(a.Name+"/"+pool.Name, m.Name)]
				}
			}
		}
	}
}

// compileModels indexes targets by every name that a request may use for their model: as
// the account offers it, as `models:` calls it, and its aliases. Where an account offers a
// model under a name that is an alias elsewhere, the name means just that offer.
func (p *Policy) compileModels(cfg *config.Config) {
	offered := map[string]bool{}
	add := func(name string, t *target) {
		if slices.ContainsFunc(p.models[name], func(c choice) bool { return c.target == t }) {
			return
		}
		p.models[name] = append(p.models[name], choice{target: t, quality: maxQuality})
	}
	for _, t := range p.targets {
		offered[t.model] = true
		add(t.model, t)
		if t.known != nil {
			add(t.known.Name, t)
		}
	}
	for i := range cfg.Models {
		m := &cfg.Models[i]
		choices := p.models[m.Name]
		if len(choices) == 0 {
			continue // nobody offers it here
		}
		for _, name := range m.Aliases {
			if prefix, pattern := strings.CutSuffix(name, "*"); pattern {
				p.aliases = append(p.aliases, alias{prefix, choices})
			} else if !offered[name] {
				p.models[name] = choices
			}
		}
	}
	slices.SortStableFunc(p.aliases, func(a, b alias) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	for name := range p.models {
		p.names.model = append(p.names.model, name)
	}
	slices.Sort(p.names.model)
}

func (p *Policy) compileRoute(r *config.Route) error {
	out := &route{minQuality: r.MinQuality}
	for i := range r.Targets {
		rt := &r.Targets[i]
		t := p.offer(rt.Account, rt.Pool, rt.Model)
		if t == nil {
			name := rt.Account + "/" + rt.Model
			return NewNotFound("target", name, p.offers())
		}
		if rt.Quality < 0 || rt.Quality > maxQuality || rt.Above < 0 || rt.Above > 1000 {
			return &Invalid{Field: "targets", Message: "quality and when_above go from 0 to 1"}
		}
		t.quality = max(t.quality, rt.Quality)
		out.choices = append(out.choices, choice{target: t, quality: rt.Quality, above: uint16(rt.Above)})
	}
	out.compile()
	p.routes[r.Name] = out
	p.names.route = append(p.names.route, r.Name)
	return nil
}

// offer finds what an account offers; an empty pool means the first that has the model.
func (p *Policy) offer(account, pool, model string) *target {
	for _, c := range p.choices(model) {
		t := c.target
		if t.account == account && (pool == "" || t.pool == pool || t.pool == account+"/"+pool) {
			return t
		}
	}
	return nil
}

func (p *Policy) offers() []string {
	names := make([]string, len(p.targets))
	for i, t := range p.targets {
		names[i] = t.account + "/" + t.model
	}
	return names
}

// choices gives the targets that offer a model under any of its names.
func (p *Policy) choices(model string) []choice {
	if cs, ok := p.models[model]; ok {
		return cs
	}
	for i := range p.aliases {
		if strings.HasPrefix(model, p.aliases[i].prefix) {
			return p.aliases[i].choices
		}
	}
	return nil
}

// Organization gives the name of the organization.
func (p *Policy) Organization() string { return p.organization }

// Configure gives the command that puts the organization's configuration in force. The
// caller may keep it and change its lists, but not what the specs in them point to.
func (p *Policy) Configure() *limiter.Configure {
	c := p.configure
	c.Limits = slices.Clone(c.Limits)
	c.Pools = slices.Clone(c.Pools)
	c.Projects = slices.Clone(c.Projects)
	c.Classes = slices.Clone(c.Classes)
	if c.Template != nil {
		template := *c.Template
		c.Template = &template
	}
	return &c
}
