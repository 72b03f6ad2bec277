package alone

import (
	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
)

// parts are this process's parts of the limits of an organization.
type parts struct {
	amounts map[limitName]config.Amount // that are not nothing, of this and of earlier absences
	pools   map[string]config.AwayPolicy
	// Whose own limits leave nothing: all of the organization, projects by name, the template's.
	organization bool
	projects     map[string]bool // of the named; true: it has a part
	template     bool
}

// A limitName tells limits apart over configurations.
type limitName struct {
	scope  limiter.Scope
	owner  string // a pool or a project; "" of the template
	metric limiter.Metric
	name   string
}

func nameOf(s limiter.Scope, owner string, l *limiter.LimitSpec) limitName {
	return limitName{s, owner, l.Metric, l.Name}
}

// divide makes the parts of an absence. before are those of the absence before it.
func divide(a *Absence, before *parts, now limiter.Time) *parts {
	p := &parts{amounts: map[limitName]config.Amount{}, pools: map[string]config.AwayPolicy{}, projects: map[string]bool{}}
	free := freeAt(a, now)
	amount := func(name limitName, part config.Amount) (some bool) {
		if part == (config.Amount{}) {
			// What it was before is kept, so that what is charged already expires at that
			// rate; that nothing is granted is seen to without it.
			part, some = before.amounts[name], false
		} else {
			some = true
		}
		if part != (config.Amount{}) {
			p.amounts[name] = part
		}
		return some
	}
	own := func(owner string, limits []limiter.LimitSpec, scope limiter.Scope) bool {
		all := true
		for i := range limits {
			l := &limits[i]
			name := nameOf(scope, owner, l)
			all = amount(name, a.Organization.OwnPart(l, free(name, l))) && all
		}
		return all
	}
	p.organization = own("", a.Configure.Limits, limiter.ScopeOrganization)
	for i := range a.Configure.Projects {
		s := &a.Configure.Projects[i]
		p.projects[s.Name] = own(s.Name, s.Limits, limiter.ScopeProject)
	}
	if t := a.Configure.Template; t != nil {
		p.template = own("", t.Limits, limiter.ScopeProject)
	}
	for i := range a.Organization.Accounts {
		account := &a.Organization.Accounts[i]
		for j := range account.Pools {
			pool := &account.Pools[j]
			full := account.Name + "/" + pool.Name
			grants := account.Away.Policy != config.AwayClosed
			for k := range pool.Limits {
				l := &pool.Limits[k]
				name := nameOf(limiter.ScopePool, full, l)
				grants = amount(name, a.Organization.PoolPart(account, l, free(name, l))) && grants
			}
			if grants {
				p.pools[full] = account.Away.Policy
			}
		}
	}
	return p
}

// freeAt gives what is free of a limit in the log's state.
func freeAt(a *Absence, now limiter.Time) func(limitName, *limiter.LimitSpec) config.Amount {
	held := map[limitName]int64{}
	if a.Log != nil {
		var projects []string
		for i := range a.Configure.Projects {
			projects = append(projects, a.Configure.Projects[i].Name)
		}
		for _, v := range a.Log.LimitsOf(now, projects) {
			held[nameOf(v.Scope, v.Owner, &v.Spec)] = v.Held + v.Reserved
		}
	}
	return func(name limitName, l *limiter.LimitSpec) config.Amount {
		free := config.Free(l)
		if l.Shape == limiter.TokenBucket { // what is held empties the bucket; it goes on to refill
			free.Burst -= held[name]
		} else {
			free.Quota -= held[name]
		}
		return free
	}
}

// owner says whether the own limits that a project draws on leave it anything.
func (p *parts) owner(project string) bool {
	some, named := p.projects[project]
	if !named {
		some = p.template
	}
	return p.organization && some
}

// apply puts the parts into a configuration, of which it is all that differs.
func (p *parts) apply(c *limiter.Configure) {
	limits := func(s limiter.Scope, owner string, specs []limiter.LimitSpec) []limiter.LimitSpec {
		parted := make([]limiter.LimitSpec, len(specs))
		for i, l := range specs {
			part := p.amounts[nameOf(s, owner, &l)]
			// Of nothing an engine makes one; who asks for it is turned away before.
			l.Quota, l.Burst, l.Margin = max(1, part.Quota), part.Burst, 0
			parted[i] = l
		}
		return parted
	}
	c.Limits = limits(limiter.ScopeOrganization, "", c.Limits)
	pools := make([]limiter.PoolSpec, len(c.Pools))
	for i, s := range c.Pools {
		s.Limits = limits(limiter.ScopePool, s.Name, s.Limits)
		pools[i] = s
	}
	c.Pools = pools
	projects := make([]limiter.ProjectSpec, len(c.Projects))
	for i, s := range c.Projects {
		s.Limits = limits(limiter.ScopeProject, s.Name, s.Limits)
		projects[i] = s
	}
	c.Projects = projects
	if c.Template != nil {
		t := *c.Template
		t.Limits = limits(limiter.ScopeProject, "", t.Limits)
		c.Template = &t
	}
}
