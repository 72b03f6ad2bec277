package limiter

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// maxClasses bounds the priority classes.
const maxClasses = 16

// configure replaces the configuration and carries over what has counters: limits,
// queues, projects. Waiters are queued again in their order; one whose pools are all
// gone is refused.
func (e *Engine) configure(c *Configure) {
	if e.config != nil && (c.Generation < e.generation || c.Generation == e.generation && c.Hash <= e.hash) {
		return
	}
	first := e.config == nil
	e.generation, e.hash = c.Generation, c.Hash
	e.afterLoss, e.coldHold = c.AfterLoss, ColdHold(c)
	kept := *c
	kept.ColdStart, kept.Kept = Trust, 0 // they are of this moment
	e.config = AppendCommand(nil, &kept)
	e.maxProjects = c.MaxProjects
	e.maxWaiting = c.MaxWaiting
	if e.maxWaiting <= 0 {
		e.maxWaiting = math.MaxInt
	}

	for _, l := range e.table {
		if l != nil {
			l.advance(e.now) // by the rules that held so far, whether anybody has looked or not
		}
	}
	old := e.takeDown()
	e.sweepLimits(old.tickets)
	classOf := e.configureClasses(c.Classes)
	e.limits = e.carryLimits(e.limits, e.rules(c.Limits), ScopeOrganization, "")
	e.configurePools(c.Pools)
	e.configureProjects(c)
	e.putUp(old, classOf)
	e.rulesHold = e.holdOfRules()
	for _, p := range e.pools {
		e.touch(p)
	}
	if first {
		e.beginCold(c.ColdStart, c.Kept)
	}
}

// InForce gives the Configure in force, for an engine that has none; nil: there is none here
// either. It begins nothing cold: what was used before has to be restored there.
func (e *Engine) InForce() *Configure {
	if e.config == nil {
		return nil
	}
	var d Decoder
	c, _, err := d.Command(e.config)
	if err != nil {
		return nil // it was encoded by this engine: this does not happen
	}
	cfg, _ := c.(*Configure)
	return cfg
}

// Configuration tells which Configure is in force; false: none is.
func (e *Engine) Configuration() (generation int64, hash uint64, ok bool) {
	return e.generation, e.hash, e.config != nil
}

// Configured says whether a Configure is in force.
func (e *Engine) Configured(generation int64, hash uint64) bool {
	return e.config != nil && e.generation == generation && e.hash == hash
}

// rules makes the rules of one scope, ascending by metric.
func (e *Engine) rules(specs []LimitSpec) []*rule {
	rules := make([]*rule, 0, len(specs))
	for _, s := range specs {
		rules = append(rules, newRule(s, e.classes))
	}
	slices.SortStableFunc(rules, func(a, b *rule) int { return cmp.Compare(a.Metric, b.Metric) })
	return rules
}

// carryLimits gives the limits of the new rules, those of old ones where they are the
// same limit: the same metric and shape under the same or the former name.
func (e *Engine) carryLimits(old []*limit, rules []*rule, s Scope, owner string) []*limit {
	limits := make([]*limit, 0, len(rules))
	taken := make([]bool, len(old))
	find := func(r *rule, name string) *limit {
		for i, l := range old {
			if !taken[i] && name != "" && l.Name == name && l.Metric == r.Metric && l.Shape == r.Shape {
				taken[i] = true
				return l
			}
		}
		return nil
	}
	for _, r := range rules {
		l := find(r, r.Name)
		if l == nil {
			l = find(r, r.Was)
		}
		if l == nil {
			l = e.newLimit(r, s, owner)
		}
		span := l.meterSpan()
		if l.Shape == Calendar && l.rule != nil && (l.Period != r.Period || !slices.Equal(l.Zone, r.Zone)) {
			l.calendar.rebase(e.now, r.Period, r.Zone)
		}
		if l.Shape == TokenBucket && l.rule != nil {
			l.bucket.rescale(e.now, l.rule, r)
		}
		l.rule, l.owner = r, owner
		if s != ScopeProject && (len(l.meter.sums) != len(e.classes) || l.meterSpan() != span) {
			l.meter = newMeter(len(e.classes))
		}
		limits = append(limits, l)
	}
	for i, l := range old {
		if !taken[i] {
			e.dropLimit(l)
		}
	}
	return limits
}

// configureClasses gives, for each former class, what it is now.
func (e *Engine) configureClasses(specs []ClassSpec) (classOf []uint8) {
	former := e.classes
	e.classes = nil
	for _, s := range specs[:min(len(specs), maxClasses)] {
		s.Weight = min(max(s.Weight, 1), 1_000_000)
		e.classes = append(e.classes, class{ClassSpec: s})
	}
	if len(e.classes) == 0 { // those that wait must be in one
		e.classes = append(e.classes, class{ClassSpec: ClassSpec{Weight: 1}})
	}
	slices.SortStableFunc(e.classes, func(a, b class) int { return cmp.Compare(b.Weight, a.Weight) })
	e.classNames = map[string]uint8{}
	for i := range e.classes {
		e.classNames[e.classes[i].Name] = uint8(i)
	}
	for _, f := range former {
		now, ok := e.classNames[f.Name]
		if !ok {
			now = uint8(len(e.classes) - 1) // the lightest
		}
		classOf = append(classOf, now)
	}
	return classOf
}

func (e *Engine) configurePools(specs []PoolSpec) {
	former := e.poolNames
	e.pools, e.poolNames = nil, map[string]*pool{}
	for i, s := range specs {
		p := &pool{PoolSpec: s, index: i, nextAt: Never, lanes: make([]lane, len(e.classes))}
		o := former[s.Name]
		if o == nil && s.Was != "" { // an empty name is that of the pool that is nobody's
			o = former[s.Was]
		}
		var limits []*limit
		if o != nil {
			p.served, p.gates, limits = o.served, o.gates, o.limits
			delete(former, o.Name)
		}
		p.limits = e.carryLimits(limits, e.rules(s.Limits), ScopePool, s.Name)
		e.pools = append(e.pools, p)
		e.poolNames[s.Name] = p
		if o != nil {
			o.index = -1 - i // where putUp finds its successor
		}
	}
	for _, s := range sortedKeys(former) {
		for _, l := range former[s].limits {
			e.dropLimit(l)
		}
	}
}

func (e *Engine) configureProjects(c *Configure) {
	e.template = nil
	e.longestHold = 0
	if c.Template != nil {
		e.template = e.projectRules(*c.Template)
		for _, r := range e.template.rules {
			h := r.hold
			if r.Shape == Calendar {
				h = 32 * 24 * time.Hour
			}
			e.longestHold = max(e.longestHold, int64(h))
		}
	}
	named := map[string]bool{}
	for _, s := range c.Projects {
		named[s.Name] = true
	}
	for _, s := range c.Projects {
		rules := e.projectRules(s)
		pr := e.projects[s.Name]
		if pr == nil && !named[s.Was] && e.projects[s.Was] != nil {
			pr = e.projects[s.Was]
			delete(e.projects, s.Was)
			pr.name = s.Name
			e.projects[s.Name] = pr
		}
		if pr == nil {
			e.newProject(s.Name, rules, false)
			continue
		}
		e.listRemove(pr)
		pr.dynamic = false
		e.applyRules(pr, rules)
	}
	for _, name := range sortedKeys(e.projects) {
		if named[name] {
			continue
		}
		pr, rules := e.projects[name], e.template
		if rules == nil { // until its leases have ended
			rules = &projectRules{ProjectSpec: ProjectSpec{Weight: 1}}
		}
		e.applyRules(pr, rules)
		if !pr.dynamic {
			pr.dynamic = true
			e.listAppend(pr)
		}
	}
}

func (e *Engine) projectRules(s ProjectSpec) *projectRules {
	s.Weight = min(max(s.Weight, 1), 1_000_000)
	return &projectRules{ProjectSpec: s, rules: e.rules(s.Limits)}
}

func (e *Engine) applyRules(pr *project, rules *projectRules) {
	pr.weight = int64(rules.Weight)
	pr.limits = e.carryLimits(pr.limits, rules.rules, ScopeProject, pr.name)
	pr.flows = make([]*flow, len(e.pools)*len(e.classes))
}

// A takenDown queue is what a reconfiguration keeps of the queues.
type takenDown struct {
	pools   []*pool
	lanes   [][]lane // of the pools, as they stood
	flows   []takenFlow
	tickets []*ticket // all, in the order of arrival
	places  map[*ticket][]takenPlace
}

type takenFlow struct {
	pool    *pool
	project *project
	class   uint8
	tag     int64
}

type takenPlace struct {
	pool    *pool
	skipped bool
	Target
}

// takeDown empties the queues.
func (e *Engine) takeDown() *takenDown {
	d := &takenDown{pools: e.pools, places: map[*ticket][]takenPlace{}}
	for _, p := range e.pools {
		d.lanes = append(d.lanes, slices.Clone(p.lanes))
	}
	for _, name := range sortedKeys(e.projects) {
		pr := e.projects[name]
		for _, f := range pr.flows {
			if f != nil {
				d.flows = append(d.flows, takenFlow{f.pool, pr, f.class, f.tag})
			}
		}
	}
	for _, tm := range e.timers.timers {
		d.tickets = append(d.tickets, tm.ticket)
	}
	slices.SortFunc(d.tickets, func(a, b *ticket) int { return cmp.Compare(a.seq, b.seq) })
	for _, t := range d.tickets {
		for _, pl := range t.places() {
			d.places[t] = append(d.places[t], takenPlace{pl.flow.pool, pl.skipped, Target{
				Model: pl.model, Rank: pl.rank, Charges: slices.Clone(pl.charges),
			}})
		}
		e.leaveQueues(t)
	}
	return d
}

// putUp builds the queues again from what takeDown kept.
func (e *Engine) putUp(d *takenDown, classOf []uint8) {
	successor := func(p *pool) *pool {
		if p == nil || p.index >= 0 {
			return nil
		}
		return e.pools[-1-p.index]
	}
	for i, o := range d.pools {
		if p := successor(o); p != nil {
			for class := range d.lanes[i] {
				l, was := &p.lanes[classOf[class]], &d.lanes[i][class]
				l.virtual = max(l.virtual, was.virtual)
				l.served = max(l.served, was.served)
			}
		}
	}
	for _, f := range d.flows {
		if p := successor(f.pool); p != nil && e.projects[f.project.name] == f.project {
			g := p.flow(f.project, classOf[f.class])
			g.tag = max(g.tag, f.tag)
			p.rest(g)
		}
	}
	for _, l := range e.table {
		if l != nil {
			l.pool = reservoir{} // the moments may be others now: sum anew
		}
	}
	for _, t := range d.tickets {
		t.class = classOf[t.class]
		model := t.modelName()
		if t.pool = successor(t.pool); t.pool != nil {
			t.model = t.pool.modelIndex(model)
		}
		e.refill(t)
		if t.state != ticketWaiting {
			continue
		}
		e.classes[t.class].waiting++
		for _, pl := range d.places[t] {
			p := successor(pl.pool)
			if p == nil {
				continue
			}
			if model, ok := p.model(pl.Model); ok && e.place(t, p, &pl.Target, model) && pl.skipped {
				e.skip(t.places()[len(t.places())-1])
			}
		}
		t.settleDown()
		if len(t.places()) == 0 {
			e.emit(Event{Kind: Refused, Reason: NoTarget, Key: t.key, Lease: t.lease, RetryAfter: -1})
			e.dismiss(t)
		}
	}
}

// skip takes the last place of a flow out of the list; its turn has come before.
func (e *Engine) skip(pl *place) {
	f := pl.flow
	f.unlink(pl)
	pl.skipped = true
	if f.first == nil {
		f.pool.rest(f)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m { // sorted below: the map's order never shows
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
