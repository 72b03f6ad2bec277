package limiter

import (
	"cmp"
	"slices"
	"time"
)

// project finds a project, or makes it from the template; the one that was used longest
// ago gives way, once nothing of it is held any more.
func (m *model) project(name string) (*mProject, Reason) {
	i := slices.IndexFunc(m.projects, func(p *mProject) bool { return p.name == name })
	if i < 0 {
		if m.config.Template == nil || name == "" {
			return nil, UnknownProject
		}
		for len(m.projects) >= m.config.MaxProjects {
			o := slices.IndexFunc(m.projects, func(p *mProject) bool { return p.dynamic })
			if o < 0 || m.projects[o].lastUsed.Add(m.longestHold()) >= m.now {
				return nil, TooManyProjects
			}
			if p := m.projects[o]; slices.ContainsFunc(m.tickets, func(t *mTicket) bool { return t.project == p }) {
				p.lastUsed = m.now // it is in use
				m.projects = append(slices.Delete(m.projects, o, o+1), p)
				continue
			}
			m.forgetProject(m.projects[o])
		}
		m.newProject(name, *m.config.Template, true)
		i = len(m.projects) - 1
	}
	pr := m.projects[i]
	if pr.dynamic && m.config.Template == nil {
		return nil, UnknownProject
	}
	pr.lastUsed = m.now
	m.projects = append(slices.Delete(m.projects, i, i+1), pr)
	return pr, NoReason
}

func (m *model) longestHold() (longest time.Duration) {
	for _, s := range m.config.Template.Limits {
		hold := max(1, s.Window) + s.Jitter
		if s.Shape == Calendar {
			hold = 32 * 24 * time.Hour
		}
		longest = max(longest, hold)
	}
	return longest
}

func (m *model) newProject(name string, s ProjectSpec, dynamic bool) *mProject {
	m.projectIDs++
	pr := &mProject{id: m.projectIDs, name: name, weight: int64(s.Weight), dynamic: dynamic}
	pr.limits = m.carry(nil, s.Limits, ScopeProject, name)
	m.projects = append(m.projects, pr)
	return pr
}

func (m *model) forgetProject(pr *mProject) {
	for _, p := range m.pools {
		p.flows = slices.DeleteFunc(p.flows, func(f *mFlow) bool { return f.project == pr })
	}
	for _, l := range pr.limits {
		l.dead = true
	}
	m.projects = slices.DeleteFunc(m.projects, func(o *mProject) bool { return o == pr })
}

// carry makes the limits of one scope; those that were there under the same or the former
// name keep what is charged to them.
func (m *model) carry(old []*mLimit, specs []LimitSpec, scope Scope, owner string) []*mLimit {
	specs = slices.Clone(specs)
	slices.SortStableFunc(specs, func(a, b LimitSpec) int { return cmp.Compare(a.Metric, b.Metric) })
	var limits []*mLimit
	left := slices.Clone(old)
	for _, s := range specs {
		i := -1
		for _, name := range []string{s.Name, s.Was} {
			if i < 0 && name != "" {
				i = slices.IndexFunc(left, func(l *mLimit) bool { return l.Name == name && l.Metric == s.Metric && l.Shape == s.Shape })
			}
		}
		if i < 0 {
			limits = append(limits, m.newLimit(s, scope, owner))
			continue
		}
		l := left[i]
		left = slices.Delete(left, i, i+1)
		l.owner = owner
		if l.Shape == Calendar && (l.Period != s.Period || !slices.Equal(l.Zone, s.Zone)) {
			m.rebase(l)
		}
		m.setSpec(l, s)
		limits = append(limits, l)
	}
	for _, l := range left {
		l.dead = true
	}
	return limits
}

// rebase makes one charge of now of all that is held in a period that is no more.
func (m *model) rebase(l *mLimit) {
	var next int64
	begins, _ := l.period(m.now)
	for _, c := range l.charges {
		if c.at >= begins {
			next += c.edge
		}
	}
	jitter := l.Jitter
	l.Jitter = -1 // what counts in this period alone
	l.charges, l.periods = []*mCharge{{at: m.now, amount: l.held(m.now), edge: next, sum: true}}, nil
	l.Jitter = jitter
}

func (m *model) configure(c *Configure) {
	if m.configured && (c.Generation < m.config.Generation || c.Generation == m.config.Generation && c.Hash <= m.config.Hash) {
		return
	}
	first := !m.configured
	former, oldPools := m.classes, m.pools
	type stand struct {
		ticket *mTicket
		places []*mPlace
	}
	var stands []stand
	for _, t := range m.tickets {
		stands = append(stands, stand{t, t.places})
		t.places = nil
	}
	m.configured, m.config = true, *c
	m.classes = slices.Clone(c.Classes)
	slices.SortStableFunc(m.classes, func(a, b ClassSpec) int { return b.Weight - a.Weight })
	classOf := make([]int, len(former))
	for i, f := range former {
		classOf[i] = slices.IndexFunc(m.classes, func(k ClassSpec) bool { return k.Name == f.Name })
		if classOf[i] < 0 {
			classOf[i] = len(m.classes) - 1
		}
	}
	m.org = m.carry(m.org, c.Limits, ScopeOrganization, "")
	next := map[*mPool]*mPool{}
	m.pools = nil
	for _, s := range c.Pools {
		p := &mPool{PoolSpec: s, nextAt: Never, look: true, virtual: make([]int64, len(m.classes)), begun: make([]int64, len(m.classes))}
		m.pools = append(m.pools, p)
		var limits []*mLimit
		for _, name := range []string{s.Name, s.Was} {
			i := slices.IndexFunc(oldPools, func(o *mPool) bool { return o.Name == name && next[o] == nil })
			if i < 0 {
				continue
			}
			o := oldPools[i]
			next[o] = p
			p.served, p.gates, limits = o.served, o.gates, o.limits
			for k := range former {
				p.virtual[classOf[k]] = max(p.virtual[classOf[k]], o.virtual[k])
				p.begun[classOf[k]] = max(p.begun[classOf[k]], o.begun[k])
			}
			break
		}
		p.limits = m.carry(limits, s.Limits, ScopePool, s.Name)
	}
	for _, o := range oldPools {
		if next[o] == nil {
			for _, l := range o.limits {
				l.dead = true
			}
		}
	}
	m.configureProjects(c)
	m.forgetCharges() // by the new rules
	for _, o := range oldPools {
		p := next[o]
		for _, f := range o.flows {
			if p == nil || f.tag <= p.begun[classOf[f.class]] {
				continue
			}
			g := m.flow(p, f.project, classOf[f.class], true)
			g.tag = max(g.tag, f.tag)
		}
	}
	for _, s := range stands {
		t := s.ticket
		t.class, t.pool, t.overtake = classOf[t.class], next[t.pool], true
		for _, h := range t.holds {
			if h.variance = 0; t.pool != nil {
				h.variance = t.pool.moments(t.model).Variance
			}
		}
		if t.state != ticketWaiting {
			continue
		}
		for _, pl := range s.places {
			p := next[pl.pool]
			if p == nil || !slices.Contains(p.Models, pl.model) || !m.place(t, p, Target{Model: pl.model, Charges: pl.charges}) {
				continue
			}
			if pl.skipped {
				t.places[len(t.places)-1].skipped = true
				if f := m.flow(p, t.project, t.class, false); len(m.line(p, f, false)) == 0 {
					m.rest(p, f)
				}
			}
		}
		if len(t.places) == 0 {
			m.emit(Event{Kind: Refused, Reason: NoTarget, Key: t.key, Lease: t.lease, RetryAfter: -1})
			m.dismiss(t)
		}
	}
	if first && c.ColdStart != Trust {
		m.beginCold(c)
	}
}

// beginCold charges what may have been used before: as many parts as there are, each as
// long after the other; or one of now.
func (m *model) beginCold(c *Configure) {
	limits := slices.Clone(m.org)
	for _, p := range m.pools {
		limits = append(limits, p.limits...)
	}
	for _, l := range limits {
		if l.Window > 10*time.Minute || c.Kept >= l.hold() {
			continue
		}
		full := l.capacity
		if c.ColdStart == Pace {
			free := l.capacity - l.capacity*98/100
			margin := m.cost(l, l.Quota-l.effective)
			full -= min(l.capacity, max(free, min(free+slices.Max(append(l.reserve, 0)), margin)))
		}
		enter := func(at Time, amount int64) {
			if amount > 0 && m.now.Sub(at) >= c.Kept {
				g := &mGroup{first: at, last: at}
				l.groups = append(l.groups, g)
				l.charges = append(l.charges, &mCharge{at: at, amount: amount, group: g})
			}
		}
		switch {
		case l.Shape == TokenBucket:
			l.missing, l.asOf = max(0, full-int64(c.Kept)), m.now
		case l.Shape != SlidingWindow:
		case c.ColdStart == Wait:
			enter(m.now-Time(c.Kept), full)
		default:
			for k := int64(119); k >= 0; k-- {
				enter(m.now-Time(int64(l.hold())*k/120), full*(120-k)/120-full*(119-k)/120)
			}
		}
	}
}

func (m *model) configureProjects(c *Configure) {
	named := map[string]bool{}
	for _, s := range c.Projects {
		named[s.Name] = true
	}
	for _, s := range c.Projects {
		find := func(name string) int {
			return slices.IndexFunc(m.projects, func(p *mProject) bool { return p.name == name })
		}
		i := find(s.Name)
		if i < 0 && !named[s.Was] { // a name that is still in use keeps what it has
			if i = find(s.Was); i >= 0 {
				m.projects[i].name = s.Name
			}
		}
		if i < 0 {
			m.newProject(s.Name, s, false)
			continue
		}
		pr := m.projects[i]
		pr.dynamic, pr.weight = false, int64(s.Weight)
		pr.limits = m.carry(pr.limits, s.Limits, ScopeProject, pr.name)
	}
	others := slices.Clone(m.projects)
	slices.SortFunc(others, func(a, b *mProject) int { return cmp.Compare(a.name, b.name) })
	for _, pr := range others {
		if named[pr.name] {
			continue
		}
		rules := ProjectSpec{Weight: 1}
		if c.Template != nil {
			rules = *c.Template
		}
		pr.weight = int64(rules.Weight)
		pr.limits = m.carry(pr.limits, rules.Limits, ScopeProject, pr.name)
		if !pr.dynamic {
			pr.dynamic = true
			m.projects = append(slices.DeleteFunc(m.projects, func(o *mProject) bool { return o == pr }), pr)
		}
	}
}
