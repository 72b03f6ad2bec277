package config

import (
	"iter"

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
