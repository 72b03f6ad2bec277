package metrics

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
)

// An organization is what is counted under one name, whatever the configuration.
type organization struct {
	name     string
	projects projects
	replica  Replica

	mu      sync.Mutex
	classes map[string]*Class
	pools   map[string]*Pool // by account/pool
}

// A Pool counts the 429s of a provider.
type Pool struct {
	full          string // account/name
	account, name string
	throttled     atomic.Uint64
}

// Throttled counts a 429.
func (p *Pool) Throttled() { p.throttled.Add(1) }

// An Edition finds the counters of an organization under one configuration.
type Edition struct {
	Replica *Replica

	of       *organization
	classes  []*Class // the heaviest first
	pools    []*Pool
	named    []string // projects
	template bool
	units    map[limiter.Metric]string
}

// Edition makes that of an organization of a configuration. Nothing is shown of it before it
// is part of a State.
func (s *Set) Edition(cfg *config.Config, c *config.Organization) *Edition {
	o := s.organization(c.Name)
	e := &Edition{Replica: &o.replica, of: o, template: c.Template != nil, units: map[limiter.Metric]string{}}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, k := range cfg.Classes {
		if o.classes[k.Name] == nil {
			o.classes[k.Name] = newClass(k.Name)
		}
		e.classes = append(e.classes, o.classes[k.Name])
	}
	for _, a := range c.Accounts {
		for _, p := range a.Pools {
			name := a.Name + "/" + p.Name
			if o.pools[name] == nil {
				o.pools[name] = &Pool{full: name, account: a.Name, name: p.Name}
			}
			e.pools = append(e.pools, o.pools[name])
		}
	}
	for _, p := range c.Projects {
		e.named = append(e.named, p.Name)
	}
	for _, u := range c.Units {
		e.units[limiter.Unit(u)] = u
	}
	return e
}

// InForce gives the projects that the configuration names their series.
func (e *Edition) InForce() { e.of.projects.name(e.named, e.template) }

// Class finds a class; nil if the configuration has none of the name. There are at most 16.
func (e *Edition) Class(name string) *Class {
	for _, c := range e.classes {
		if c.name == name {
			return c
		}
	}
	return nil
}

// Pool finds a pool by the engine's name of it; nil if the configuration has none.
func (e *Edition) Pool(name string) *Pool {
	for _, p := range e.pools {
		if p.full == name {
			return p
		}
	}
	return nil
}

// Project finds the counters of a project, or of all that have none of their own.
func (e *Edition) Project(name string) *Project { return e.of.projects.get(name) }

// Projects lists those that are told apart, when they were used so much of late.
func (e *Edition) Projects(uses []Use) []string {
	names := e.of.projects.rank(uses)
	if e.template || slices.Contains(e.named, other) {
		names = append(names, other)
	}
	return names
}

func (e *Edition) collect(to chan<- prometheus.Metric) {
	for _, c := range e.classes {
		c.collect(to, e.of.name)
	}
	for _, p := range e.pools {
		to <- counter(providerThrottled, p.throttled.Load(), e.of.name, p.account, p.name)
	}
	e.of.projects.collect(to, e.of.name)
}

// metric gives the name of a metric.
func (e *Edition) metric(m limiter.Metric) string {
	if name, ok := e.units[m]; ok {
		return name
	}
	return m.String()
}
