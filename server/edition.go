package server

import (
	"fmt"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/metrics"
	"github.com/watermaster-project/watermaster/server/policy"
)

// An edition is one organization's part of a configuration, with what follows from it. It
// never changes, but for the diversions' switches: another configuration is another edition.
type edition struct {
	settings   *config.Organization
	policy     *policy.Policy
	revision   int64
	generation int64 // under which the engine has it
	hash       uint64
	diversions map[string]*diversion     // by route
	metrics    map[limiter.Metric]string // names of units
	poolScopes map[string]string
	maxWait    map[string]time.Duration     // by class
	away       map[string]config.AwayPolicy // by pool
	counts     *metrics.Edition
}

// newEdition compiles an organization's part. Errors are those of policy.Compile.
func newEdition(cfg *config.Config, o *config.Organization) (*edition, error) {
	p, err := policy.Compile(cfg, o.Name)
	if err != nil {
		return nil, fmt.Errorf("organization %s: %w", o.Name, err)
	}
	e := &edition{
		settings:   o,
		policy:     p,
		revision:   cfg.Revision,
		generation: cfg.Revision,
		hash:       p.Configure().Hash,
		diversions: newDiversions(o, cfg.Classes),
		metrics:    map[limiter.Metric]string{},
		poolScopes: map[string]string{},
		maxWait:    map[string]time.Duration{},
		away:       map[string]config.AwayPolicy{},
	}
	for _, u := range o.Units {
		e.metrics[limiter.Unit(u)] = u
	}
	for _, a := range o.Accounts {
		for _, p := range a.Pools {
			name := a.Name + "/" + p.Name
			e.poolScopes[name] = scopeName(limiter.ScopePool, name)
			e.away[name] = a.Away.Policy
		}
	}
	for _, c := range cfg.Classes {
		e.maxWait[c.Name] = c.MaxWait
	}
	return e, nil
}

// metric gives the name of a metric.
func (e *edition) metric(m limiter.Metric) string {
	if name, ok := e.metrics[m]; ok {
		return name
	}
	return m.String()
}

// poolScope gives the name of a pool's scope.
func (e *edition) poolScope(pool string) string {
	if name, ok := e.poolScopes[pool]; ok {
		return name
	}
	return scopeName(limiter.ScopePool, pool)
}
