package limiter

import "time"

// A Limit is how a limit stands, for those who watch.
type Limit struct {
	ID         LimitID
	Scope      Scope
	Owner      string // the pool or project; "" for the organization
	Spec       LimitSpec
	Effective  int64         // quota less margin
	Held       int64         // charged and still counted; a bucket's missing tokens
	Reserved   int64         // what running calls may still produce
	Remaining  int64         // ≥ 0: what the heaviest class could still be granted
	ByClass    []int64       // charged over about the last window, by class as in Classes
	ResetAfter time.Duration // until all is free again, if nothing more is charged
}

// Limits tells how every limit of the organization, the pools and the projects in use
// stands at the engine's time.
func (e *Engine) Limits(now Time) []Limit {
	var all []Limit
	for _, l := range e.table {
		if l != nil && !l.dead {
			all = append(all, e.view(l, max(now, e.now)))
		}
	}
	return all
}

// LimitsOf tells the same of the organization, the pools and just these projects. It costs
// nothing for others, however many there are.
func (e *Engine) LimitsOf(now Time, projects []string) []Limit {
	now = max(now, e.now)
	var all []Limit
	add := func(limits []*limit) {
		for _, l := range limits {
			all = append(all, e.view(l, now))
		}
	}
	add(e.limits)
	for _, p := range e.pools {
		add(p.limits)
	}
	for _, name := range projects {
		if pr := e.projects[name]; pr != nil {
			add(pr.limits)
		}
	}
	return all
}

// Limit tells of one limit; false if there is none by that id any more.
func (e *Engine) Limit(id LimitID) (Limit, bool) {
	if int(id) >= len(e.table) || e.table[id] == nil || e.table[id].dead {
		return Limit{}, false
	}
	return e.view(e.table[id], e.now), true
}

// view reads without changing anything: a look must not depend on who looks.
func (e *Engine) view(l *limit, now Time) Limit {
	v := Limit{ID: l.id, Scope: l.scope, Owner: l.owner, Spec: l.LimitSpec, Effective: l.effective, Reserved: l.outstanding()}
	full := l.effective
	switch l.Shape {
	case SlidingWindow:
		for i := uint32(0); i < l.window.count; i++ {
			if en := l.window.at(l.window.head + i); en.last.Add(l.hold) >= now {
				v.Held += en.amount
				v.ResetAfter = en.last.Add(l.hold).Sub(now)
			}
		}
	case TokenBucket:
		full = mulDiv(l.capacity, l.effective, int64(l.Window))
		// Times are rounded up by some nanoseconds, which must not show as another token.
		v.Held = mulDivUp(max(0, l.bucket.backlog(now)-int64(time.Microsecond)), l.effective, int64(l.Window))
		v.ResetAfter = time.Duration(l.bucket.backlog(now))
	case Calendar:
		if now < l.calendar.ends {
			v.Held = l.calendar.used(now, l.Jitter)
			v.ResetAfter = l.calendar.ends.Sub(now)
		}
	case Stock:
		v.Held = l.stock
	}
	v.Remaining = max(0, full-v.Held-v.Reserved)
	v.ByClass = append(v.ByClass, l.meter.sums...)
	for i := range v.ByClass {
		v.ByClass[i] = max(0, v.ByClass[i])
	}
	return v
}

// A ClassView is a priority class as it stands.
type ClassView struct {
	Name    string
	Weight  int
	Waiting int
}

// Classes lists the classes, the heaviest first.
func (e *Engine) Classes() []ClassView {
	v := make([]ClassView, len(e.classes))
	for i := range e.classes {
		v[i] = ClassView{e.classes[i].Name, e.classes[i].Weight, e.classes[i].waiting}
	}
	return v
}

// A PoolView is a pool as it stands.
type PoolView struct {
	Name    string
	Waiting []int           // places, by class as in Classes
	Wait    []time.Duration // what waits in a class and in heavier ones would take at the full rate
	Gates   []GateView
}

// A GateView is a gate that is closed, or whose ramp is not over.
type GateView struct {
	Metric  Metric
	All     bool
	Blocked bool
	Opens   time.Duration // from now; < 0: it has opened
}

// Pools tells how the pools stand at a time, but for the one that is nobody's.
func (e *Engine) Pools(now Time) []PoolView {
	now = max(now, e.now)
	views := make([]PoolView, 0, len(e.pools))
	for _, p := range e.pools {
		if p.Name == "" {
			continue
		}
		v := PoolView{Name: p.Name}
		var work int64
		for i := range p.lanes {
			work += p.lanes[i].work
			v.Waiting = append(v.Waiting, p.lanes[i].waiting)
			v.Wait = append(v.Wait, time.Duration(work))
		}
		for _, g := range p.gates {
			v.Gates = append(v.Gates, GateView{g.Metric, g.All, g.Blocked, g.opens.Sub(now)})
		}
		views = append(views, v)
	}
	return views
}

// Use tells, in 1/1000, how far the fullest rate limit of a pool would be used if all
// classes lighter than class stood aside, and how far it is used by all; and the work
// that waits in class and heavier ones. It allocates nothing.
func (e *Engine) Use(poolName string, class string) (own, total int, wait time.Duration, waiting int) {
	p := e.poolNames[poolName]
	c, ok := e.classNames[class]
	if p == nil || !ok {
		return 0, 0, 0, 0
	}
	for i := 0; i <= int(c); i++ {
		wait += time.Duration(p.lanes[i].work)
		waiting += p.lanes[i].waiting
	}
	for _, scope := range [2][]*limit{p.limits, e.limits} {
		for _, l := range scope {
			l.advance(e.now)
			l.meter.turn(e.now, l.meterSpan())
			used := mulDiv(max(0, l.used(e.now)), 1000, l.capacity)
			if l.Shape == TokenBucket { // full in the long run means that nothing flows by
				used = max(used, mulDiv(max(0, l.meter.sum(len(e.classes))), 1000, l.effective))
			}
			mine := int64(0)
			if all := l.meter.sum(len(e.classes)); all > 0 {
				mine = mulDiv(used, min(max(0, l.meter.sum(int(c)+1)), all), all)
			}
			own, total = max(own, int(mine)), max(total, int(used))
		}
	}
	return own, total, wait, waiting
}

// sum is what the n heaviest classes were charged.
func (m *meter) sum(n int) (sum int64) {
	for _, s := range m.sums[:min(n, len(m.sums))] {
		sum += s
	}
	return sum
}

// Counts tells how many leases are in force and how many callers wait.
func (e *Engine) Counts() (leases, waiters int) {
	return e.open, e.waiting
}

// Lease lists what a lease has been charged, and says whether it is known. The slice is
// appended to charges, which may be nil.
func (e *Engine) Lease(id LeaseID, charges []LeaseCharge) ([]LeaseCharge, bool) {
	t := e.leases[id]
	if t == nil {
		return charges, false
	}
	for i := range t.holds {
		h := e.unpack(t, i)
		charges = append(charges, LeaseCharge{h.limit.id, h.limit.Name, h.limit.Metric, h.limit.scope, h.amount, h.seen})
	}
	return charges, true
}

// A LeaseCharge is what a lease has in one limit.
type LeaseCharge struct {
	Limit  LimitID
	Name   string
	Metric Metric
	Scope  Scope
	Amount int64 // as it stands: the estimate, or what was settled
	Seen   int64 // reported so far
}
