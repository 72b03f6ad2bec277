package server

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/envoy"
	"github.com/watermaster-project/watermaster/server/metrics"
)

// A domain is one of Envoy's whose limits a directory gives. It has counters and nothing else,
// in a log of its own: those of an organization that no configuration has, and nobody sees.
type domain struct {
	limits *envoy.Domain
	counts *metrics.Domain
	home   *organization
}

// domainPrefix is what the names of domains' organizations begin with. Those of a
// configuration have no slash.
const domainPrefix = "envoy/"

// domainRevision numbers what is configured of a domain's engine. Limits are not: each hit
// brings its own along.
const domainRevision = 1

// newDomainEdition makes the edition of a domain's organization, the only one that it ever has.
func (s *Server) newDomainEdition(name string) (*edition, error) {
	h := fnv.New64a()
	h.Write([]byte(domainPrefix))
	cfg := &config.Config{Revision: domainRevision, Hash: h.Sum64(), Organizations: []config.Organization{{
		Name:      domainPrefix + name,
		ColdStart: limiter.Trust, // as envoyproxy/ratelimit: what is not known was not used
	}}}
	e, err := newEdition(cfg, &cfg.Organizations[0])
	if err != nil {
		return nil, err
	}
	e.counts = s.metrics.Edition(cfg, e.settings)
	return e, nil
}

// all lists the organizations of a configuration and those of the domains.
func (d *directory) all() []*organization { return append(slices.Clip(d.list), d.hidden...) }

// ReloadLimits puts other limits of Envoy's domains in force while calls go on. What counts
// the same goes on counting. What cannot be put in force changes nothing.
func (s *Server) ReloadLimits(ctx context.Context, limits *envoy.Limits) error {
	select {
	case s.reloading <- struct{}{}:
		defer func() { <-s.reloading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.isDraining() {
		return errDraining
	}
	old := s.directory.Load()
	if err := s.envoy.Check(old.config, limits); err != nil {
		return err
	}
	next := *old
	next.limits, next.domains, next.hidden = limits, map[string]*domain{}, nil
	var begun []*organization
	for _, name := range limits.Domains() {
		d := &domain{limits: limits.Domain(name), counts: s.metrics.Domain(name)}
		if was := old.domains[name]; was != nil {
			d.home = was.home
		} else {
			o, err := s.openDomain(ctx, name, d.counts)
			if err != nil {
				for _, o := range begun {
					o.retire(ctx)
					o.close()
				}
				return err
			}
			d.home = o
			begun = append(begun, o)
		}
		next.domains[name] = d
		next.hidden = append(next.hidden, d.home)
	}
	s.directory.Store(&next)
	replaceRules(old, &next)
	for name, d := range old.domains {
		if next.domains[name] == nil {
			d.home.retire(ctx)
			d.home.close()
			s.logger.Info("the limits of a domain are no longer there", "domain", name)
		}
	}
	return nil
}

// openDomain begins a domain's organization.
func (s *Server) openDomain(ctx context.Context, name string, counts *metrics.Domain) (*organization, error) {
	e, err := s.newDomainEdition(name)
	if err != nil {
		return nil, fmt.Errorf("domain %s: %w", name, err)
	}
	o := s.newOrganization(e)
	o.domain = counts
	if err := o.open(ctx, false, s.snapshotEvery); err != nil {
		return nil, err
	}
	return o, nil
}

// replaceRules lets the metrics follow to other limits.
func replaceRules(old, next *directory) {
	former, present := pathsOf(old.limits), pathsOf(next.limits)
	for name, d := range next.domains {
		var gone, begun []string
		for path := range former[name] {
			if !present[name][path] {
				gone = append(gone, path)
			}
		}
		for path, plain := range present[name] {
			if plain {
				begun = append(begun, path)
			}
		}
		slices.Sort(begun)
		d.counts.Replace(gone, begun)
	}
}

// pathsOf gives the paths of the rules by domain: whether each is its rule's label whatever is
// asked.
func pathsOf(limits *envoy.Limits) map[string]map[string]bool {
	paths := map[string]map[string]bool{}
	if limits == nil {
		return paths
	}
	for _, r := range limits.Rules {
		if paths[r.Domain] == nil {
			paths[r.Domain] = map[string]bool{}
		}
		paths[r.Domain][r.Path] = !r.Override && !r.Detailed
	}
	return paths
}

// Check says whether domains with limits and organizations can be told apart, and those that
// stand for an organization have one. limits may be nil.
func (o *EnvoyOptions) Check(cfg *config.Config, limits *envoy.Limits) error {
	var all []error
	names := map[string]bool{}
	for i := range cfg.Organizations {
		name := cfg.Organizations[i].Name
		names[name] = true
		if limits != nil && limits.Domain(name) != nil {
			all = append(all, fmt.Errorf("%s is an organization, and a domain with limits of its own: rename one, for a request must mean one of them", name))
		}
	}
	former := map[string]bool{}
	for i := range cfg.Organizations {
		former[cfg.Organizations[i].Was] = true
	}
	for _, name := range slices.Sorted(maps.Keys(o.Domains)) {
		to := o.Domains[name]
		if !names[to] && !former[to] || to == "" {
			all = append(all, fmt.Errorf("the domain %s stands for the organization %s (--envoy-domain), which the configuration does not have", name, to))
		}
		if names[name] && name != to {
			all = append(all, fmt.Errorf("the domain %s stands for the organization %s (--envoy-domain), and is an organization itself: drop the flag, or rename one", name, to))
		}
		if limits != nil && limits.Domain(name) != nil {
			all = append(all, fmt.Errorf("the domain %s stands for the organization %s (--envoy-domain), and has limits of its own: drop one of them", name, to))
		}
	}
	return errors.Join(all...)
}
