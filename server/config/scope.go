package config

import (
	"iter"
	"strings"

	"github.com/watermaster-project/watermaster/limiter"
)

// A scope is whose limits some are: the organization's, a project's or a pool's.
type scope struct {
	organization *Organization
	kind         string // organization, project, pool
	name         string // of the project (* is the template) or pool; "" of the organization
	was          string
	limits       []limiter.LimitSpec
}

// String is how a scope is shown.
func (s scope) String() string {
	if s.name == "" {
		return s.kind
	}
	return s.kind + " " + s.name
}

// pool gives the pool whose limits these are, and its account; nil of other scopes.
func (s scope) pool() (*Account, *Pool) {
	account, name, _ := strings.Cut(s.name, "/") // neither has a slash
	for i := range s.organization.Accounts {
		a := &s.organization.Accounts[i]
		if s.kind != "pool" || a.Name != account {
			continue
		}
		for j := range a.Pools {
			if a.Pools[j].Name == name {
				return a, &a.Pools[j]
			}
		}
	}
	return nil, nil
}

// scopes goes through all scopes, in the order in which they are shown.
func (c *Config) scopes() iter.Seq[scope] {
	return func(yield func(scope) bool) {
		for i := range c.Organizations {
			o := &c.Organizations[i]
			list := []scope{{o, "organization", "", "", o.Limits}}
			for _, p := range o.Projects {
				list = append(list, scope{o, "project", p.Name, p.Was, p.Limits})
			}
			if o.Template != nil {
				list = append(list, scope{o, "project", template, "", o.Template.Limits})
			}
			for _, p := range o.poolSpecs() {
				list = append(list, scope{o, "pool", p.Name, p.Was, p.Limits})
			}
			for _, s := range list {
				if !yield(s) {
					return
				}
			}
		}
	}
}
