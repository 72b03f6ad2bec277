package limiter

import "time"

// A project draws on the pools. Named ones live as long as the configuration says so;
// those made from the template are forgotten when they are idle and room is needed.
type project struct {
	id       uint64 // order of creation
	name     string
	weight   int64
	dynamic  bool
	limits   []*limit // by metric
	flows    []*flow  // by pool and class; nil: none
	tickets  int
	lastUsed Time

	older, newer *project // dynamic ones, in the order of use
}

// projectRules is a ProjectSpec with its rules.
type projectRules struct {
	ProjectSpec
	rules []*rule
}

// project finds a project, or makes it from the template.
func (e *Engine) project(name string) (*project, Reason) {
	pr := e.projects[name]
	if pr == nil {
		if e.template == nil || name == "" {
			return nil, UnknownProject
		}
		for o := e.oldest; len(e.projects) >= e.maxProjects; o = e.oldest {
			if o == nil || o.lastUsed.Add(time.Duration(e.longestHold)) >= e.now {
				return nil, TooManyProjects
			}
			if o.tickets > 0 { // in use, though it has asked for nothing of late
				o.lastUsed = e.now
				e.listRemove(o)
				e.listAppend(o)
				continue
			}
			e.forgetProject(o)
		}
		pr = e.newProject(name, e.template, true)
	}
	if pr.dynamic && e.template == nil {
		return nil, UnknownProject // a former one, whose leases still run
	}
	pr.lastUsed = e.now
	e.listRemove(pr)
	e.listAppend(pr)
	return pr, NoReason
}

func (e *Engine) newProject(name string, rules *projectRules, dynamic bool) *project {
	e.projectSeq++
	pr := &project{id: e.projectSeq, name: name, weight: int64(rules.Weight), dynamic: dynamic}
	for _, r := range rules.rules {
		pr.limits = append(pr.limits, e.newLimit(r, ScopeProject, name))
	}
	pr.flows = make([]*flow, len(e.pools)*len(e.classes))
	e.projects[name] = pr
	e.listAppend(pr)
	return pr
}

// forgetProject ends a project of which nothing is held any more.
func (e *Engine) forgetProject(pr *project) {
	for _, f := range pr.flows {
		if f != nil { // idle: it has no tickets
			f.pool.lanes[f.class].idle.remove(f)
			f.state = flowNone
			f.pool.drop(f)
		}
	}
	for _, l := range pr.limits {
		e.freeLimit(l)
	}
	e.listRemove(pr)
	delete(e.projects, pr.name)
}

func (e *Engine) listAppend(pr *project) {
	if !pr.dynamic { // never forgotten: it stands outside the list
		return
	}
	pr.older, pr.newer = e.newest, nil
	if e.newest != nil {
		e.newest.newer = pr
	} else {
		e.oldest = pr
	}
	e.newest = pr
}

func (e *Engine) listRemove(pr *project) {
	if !pr.dynamic || pr.older == nil && pr.newer == nil && e.oldest != pr {
		return
	}
	if pr.older != nil {
		pr.older.newer = pr.newer
	} else {
		e.oldest = pr.newer
	}
	if pr.newer != nil {
		pr.newer.older = pr.older
	} else {
		e.newest = pr.older
	}
	pr.older, pr.newer = nil, nil
}

// newLimit makes a limit and gives it an id.
func (e *Engine) newLimit(r *rule, s Scope, owner string) *limit {
	l := &limit{rule: r, scope: s, owner: owner}
	if s != ScopeProject {
		l.meter = newMeter(len(e.classes))
	}
	if n := len(e.freeIDs); n > 0 {
		l.id = e.freeIDs[n-1]
		e.freeIDs = e.freeIDs[:n-1]
		e.table[l.id] = l
		return l
	}
	l.id = LimitID(len(e.table))
	e.table = append(e.table, l)
	return l
}

// dropLimit ends a limit; leases that name it settle without it. Its id is free once none
// does (sweepLimits).
func (e *Engine) dropLimit(l *limit) { l.dead = true }

// freeLimit ends a limit that no lease names.
func (e *Engine) freeLimit(l *limit) {
	l.dead = true
	e.table[l.id] = nil
	e.freeIDs = append(e.freeIDs, l.id)
}

// sweepLimits frees the ended limits that none of the tickets names.
func (e *Engine) sweepLimits(tickets []*ticket) {
	named := make([]bool, len(e.table))
	for _, t := range tickets {
		for i := range t.holds {
			named[t.holds[i].limit] = true
		}
	}
	for id, l := range e.table {
		if l != nil && l.dead && !named[id] {
			e.freeLimit(l)
		}
	}
}
