package server

import (
	"cmp"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/access"
)

const (
	maxShownProjects  = 100
	maxShownConsumers = 10
	// With more limits than these a trend is told by the minute, so that the answer stays small.
	fineTrends   = 32
	coarseStride = int(time.Minute / sampleEvery)
)

// A selection narrows what is shown of an organization; "" is all.
type selection struct {
	account, pool, project string
	caller                 *access.Credential // nil: sees all
}

// shows says whether the caller may see a project.
func (s *selection) shows(project string) bool {
	if s.caller == nil || s.caller.AnyProject() {
		return true
	}
	_, err := s.caller.Project(project)
	return err == nil
}

// A view is the state of an organization at one instant, taken while nothing changes.
type view struct {
	now       limiter.Time
	limits    []limiter.Limit
	classes   []limiter.ClassView
	pools     map[string]*limiter.PoolView
	queues    map[queue]*waiting
	consumers map[limitKey][]share
}

// A queue is where a class waits: of a pool, a project or the organization.
type queue struct {
	scope limiter.Scope
	owner string
	class string
}

type waiting struct {
	count  int64
	oldest limiter.Time // when the one that has waited longest was queued
}

// look takes a view.
func (o *organization) look(sel selection) (*view, error) {
	o.refresh()
	o.replica.Lock()
	defer o.replica.Unlock()
	if o.replica.Lost() {
		return nil, errFault
	}
	v := &view{now: max(o.now(), o.engine().Now()), classes: o.engine().Classes()}
	v.limits = o.engine().Limits(v.now)
	v.pools = map[string]*limiter.PoolView{}
	pools := o.engine().Pools(v.now)
	for i := range pools {
		v.pools[pools[i].Name] = &pools[i]
	}
	v.limits = slices.DeleteFunc(v.limits, func(l limiter.Limit) bool { return !sel.has(&l) })
	v.limits = slices.DeleteFunc(v.limits, leaveOut(v.limits))
	slices.SortStableFunc(v.limits, compareLimits)
	v.queues = o.queues()
	v.consumers = map[limitKey][]share{}
	for i := range v.limits {
		l := &v.limits[i]
		top := o.consumers.top(l.ID, v.now, l.Held+l.Reserved, maxShownConsumers)
		v.consumers[keyOf(l)] = slices.DeleteFunc(top, func(p share) bool { return !sel.shows(p.project) })
	}
	return v, nil
}

// has says whether a limit is of a scope that was selected.
func (s selection) has(l *limiter.Limit) bool {
	switch l.Scope {
	case limiter.ScopePool:
		account, pool, _ := cutPool(l.Owner)
		return (s.account == "" || s.account == account) && (s.pool == "" || s.pool == pool)
	case limiter.ScopeProject:
		return (s.project == "" || s.project == l.Owner) && s.shows(l.Owner)
	}
	return true
}

// leaveOut says which projects are too many to show: those that are used least.
func leaveOut(limits []limiter.Limit) func(limiter.Limit) bool {
	most := map[string]float64{}
	for i := range limits {
		if l := &limits[i]; l.Scope == limiter.ScopeProject {
			most[l.Owner] = max(most[l.Owner], utilization(l))
		}
	}
	if len(most) <= maxShownProjects {
		return func(limiter.Limit) bool { return false }
	}
	names := make([]string, 0, len(most))
	for name := range most {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(most[b], most[a]), cmp.Compare(a, b))
	})
	shown := map[string]bool{}
	for _, name := range names[:maxShownProjects] {
		shown[name] = true
	}
	return func(l limiter.Limit) bool { return l.Scope == limiter.ScopeProject && !shown[l.Owner] }
}

func compareLimits(a, b limiter.Limit) int {
	return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Owner, b.Owner),
		cmp.Compare(a.Spec.Name, b.Spec.Name), cmp.Compare(a.Spec.Metric, b.Spec.Metric))
}

// queues counts who waits where. The caller holds the replica's lock.
func (o *organization) queues() map[queue]*waiting {
	all := map[queue]*waiting{}
	count := func(q queue, since limiter.Time) {
		w := all[q]
		if w == nil {
			w = &waiting{oldest: since}
			all[q] = w
		}
		w.count++
		w.oldest = min(w.oldest, since)
	}
	for _, p := range o.places {
		count(queue{limiter.ScopeOrganization, "", p.class}, p.since)
		count(queue{limiter.ScopeProject, p.project, p.class}, p.since)
		for i, pool := range p.pools {
			if !slices.Contains(p.pools[:i], pool) {
				count(queue{limiter.ScopePool, pool, p.class}, p.since)
			}
		}
	}
	return all
}

// headroom tells how the selected limits stand.
func (o *organization) headroom(sel selection) (*pb.Headroom, error) {
	v, err := o.look(sel)
	if err != nil {
		return nil, err
	}
	stride := 1
	if len(v.limits) > fineTrends {
		stride = coarseStride
	}
	e := o.edition.Load()
	h := &pb.Headroom{
		Organization:   o.name,
		Time:           timestamppb.New(time.Unix(0, int64(v.now))),
		ConfigRevision: e.revision,
		Limits:         make([]*pb.LimitHeadroom, len(v.limits)),
	}
	for i := range v.limits {
		h.Limits[i] = o.limitHeadroom(e, v, &v.limits[i], stride)
	}
	return h, nil
}

func (o *organization) limitHeadroom(e *edition, v *view, l *limiter.Limit, stride int) *pb.LimitHeadroom {
	h := &pb.LimitHeadroom{
		Scope:          scopeName(l.Scope, l.Owner),
		Name:           l.Spec.Name,
		Metric:         e.metric(l.Spec.Metric),
		Shape:          pb.LimitShape_LIMIT_SHAPE_SLIDING_WINDOW + pb.LimitShape(l.Spec.Shape),
		Quota:          l.Spec.Quota,
		EffectiveQuota: l.Effective,
		Held:           l.Held,
		Reserved:       l.Reserved,
		Remaining:      max(0, l.Effective-l.Held-l.Reserved),
		Utilization:    utilization(l),
		ByClass:        v.byClass(l),
	}
	if w := windowAt(&l.Spec, v.now); w > 0 {
		h.Window = durationpb.New(w)
	}
	var slope float64
	h.Trend, slope = o.trends.of(keyOf(l), stride)
	if left := (1 - h.Utilization) / slope; slope > 0 && left < maxExhaustion.Hours() {
		h.TimeToExhaustion = durationpb.New(time.Duration(max(0, left) * float64(time.Hour)))
	}
	if p := v.pools[l.Owner]; p != nil && l.Scope == limiter.ScopePool {
		for _, g := range p.Gates {
			if g.Opens > 0 && (g.All || g.Metric == l.Spec.Metric) {
				gate := &pb.PoolGate{Remaining: durationpb.New(g.Opens), Blocked: g.Blocked}
				if !g.All {
					gate.Metric = e.metric(g.Metric)
				}
				h.Gates = append(h.Gates, gate)
			}
		}
	}
	for _, c := range v.consumers[keyOf(l)] {
		h.TopConsumers = append(h.TopConsumers, &pb.Consumer{
			Project: c.project, Held: c.held, Utilization: float64(c.held) / float64(max(1, l.Effective)),
		})
	}
	return h
}

// maxExhaustion is beyond what a trend of an hour can tell.
const maxExhaustion = 365 * 24 * time.Hour

// byClass shares out what a limit holds by what the classes were charged.
func (v *view) byClass(l *limiter.Limit) []*pb.ClassHeadroom {
	list := make([]*pb.ClassHeadroom, len(v.classes))
	var sum float64
	for _, n := range l.ByClass {
		sum += float64(n)
	}
	held := float64(l.Held + l.Reserved)
	for i := range v.classes {
		c := &pb.ClassHeadroom{PriorityClass: v.classes[i].Name}
		if i < len(l.ByClass) && sum > 0 {
			c.Held = int64(math.Round(held * float64(l.ByClass[i]) / sum))
			c.Utilization = float64(c.Held) / float64(max(1, l.Effective))
		}
		if w := v.queues[queue{l.Scope, l.Owner, c.PriorityClass}]; w != nil {
			c.Waiting = w.count
			c.LongestWait = durationpb.New(max(0, v.now.Sub(w.oldest)))
		}
		list[i] = c
	}
	return list
}

// windowAt gives a limit's window; of a calendar limit that of the present day, week or month.
func windowAt(l *limiter.LimitSpec, now limiter.Time) time.Duration {
	if l.Shape != limiter.Calendar || l.Period != limiter.Month {
		return windowOf(l)
	}
	seconds := int32(0)
	for _, z := range l.Zone {
		if z.From <= now {
			seconds = z.Seconds
		}
	}
	local := time.Unix(0, int64(now)).In(time.FixedZone("", int(seconds)))
	days := time.Date(local.Year(), local.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return time.Duration(days) * 24 * time.Hour
}
