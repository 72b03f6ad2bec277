package server

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/policy"
)

const organizationScope = "organization"

// scopeName is how callers know a scope.
func scopeName(s limiter.Scope, owner string) string {
	switch s {
	case limiter.ScopePool:
		return "pool/" + owner
	case limiter.ScopeProject:
		return "project/" + owner
	}
	return organizationScope
}

// usualCharges is how many charges fit into a grant without another allocation: three
// scopes by two metrics.
const usualCharges = 6

// A grantAnswer is all of an answer that grants, made at once.
type grantAnswer struct {
	response    pb.AcquireResponse
	decision    pb.AcquireResponse_Granted
	granted     pb.Granted
	target      pb.Target
	startWithin durationpb.Duration
	ttl         durationpb.Duration
	renewEvery  durationpb.Duration
	waited      durationpb.Duration
	pressure    pressureAnswer
	charges     [usualCharges]pb.Charge
	list        [usualCharges]*pb.Charge
}

// granting answers with a grant.
func (o *organization) granting(req *pb.AcquireRequest, c *call, out *outcome) *pb.AcquireResponse {
	ev := &out.event
	a := &grantAnswer{}
	a.response.RequestId = req.RequestId
	a.response.Decision = &a.decision
	a.response.Pressure = a.pressure.fill(&out.load.reading)
	a.decision.Granted = &a.granted

	e := o.edition.Load()
	id := policy.TargetOf(ev.Pool, ev.Model)
	target, _ := e.policy.Target(id)
	a.target.Account, a.target.Provider = target.Account, target.Provider
	a.target.Model, a.target.Attributes = ev.Model, target.Attributes

	g := &a.granted
	g.LeaseId = lease{o.fingerprint, id, ev.Lease}.String()
	g.Target = &a.target
	g.StartWithin = setDuration(&a.startWithin, ev.StartWithin)
	g.Ttl = setDuration(&a.ttl, ev.Left)
	g.Waited = setDuration(&a.waited, ev.Waited)
	var keeps bool
	g.Charges, keeps = e.charged(a, c, out)
	if keeps {
		g.RenewEvery = setDuration(&a.renewEvery, max(c.acquire.TTL/3, time.Millisecond))
	}
	return &a.response
}

// charged lists what a grant charges, one for each scope and metric, and says whether
// anything of it is held for as long as the lease is renewed.
func (e *edition) charged(a *grantAnswer, c *call, out *outcome) (list []*pb.Charge, keeps bool) {
	list = a.list[:0]
	asked := chargesAt(&c.acquire, out.event.Pool, out.event.Model)
	names := scopeNames{e: e, pool: out.event.Pool, project: c.acquire.Project}
	for i := range out.charges {
		h := &out.charges[i]
		if otherWindow(out.charges, i) {
			continue
		}
		var x *pb.Charge
		if n := len(list); n < usualCharges {
			x = &a.charges[n]
		} else {
			x = &pb.Charge{}
		}
		x.Scope, x.Metric, x.Amount = names.of(h.Scope), e.metric(h.Metric), h.Amount
		x.OnCompletion = onCompletion(asked, h)
		keeps = keeps || isStock(h.Metric) || x.OnCompletion
		list = append(list, x)
	}
	return list, keeps
}

// isStock says whether what a lease has of a metric is given back when it ends.
func isStock(m limiter.Metric) bool { return m == limiter.Concurrency || m == limiter.EnqueuedTokens }

// otherWindow says whether a charge is that before it once more, in another window of the
// same metric.
func otherWindow(charges []limiter.LeaseCharge, i int) bool {
	return i > 0 && charges[i-1].Scope == charges[i].Scope && charges[i-1].Metric == charges[i].Metric
}

// scopeNames names the scopes of a lease's charges.
type scopeNames struct {
	e             *edition
	pool, project string
	made          string // the name of the project's scope, once it was needed
}

func (n *scopeNames) of(s limiter.Scope) string {
	switch s {
	case limiter.ScopePool:
		return n.e.poolScope(n.pool)
	case limiter.ScopeProject:
		if n.made == "" {
			n.made = scopeName(s, n.project)
		}
		return n.made
	}
	return organizationScope
}

// chargesAt gives what a request asked for at a target.
func chargesAt(cmd *limiter.Acquire, pool, model string) []limiter.Charge {
	for i := range cmd.Targets {
		if t := &cmd.Targets[i]; t.Pool == pool && t.Model == model {
			return t.Charges
		}
	}
	return nil
}

// onCompletion says whether a charge is only reserved.
func onCompletion(asked []limiter.Charge, h *limiter.LeaseCharge) bool {
	flag := limiter.ToOwner
	if h.Scope == limiter.ScopePool {
		flag = limiter.ToPool
	}
	for i := range asked {
		if asked[i].Metric == h.Metric && asked[i].Flags&flag != 0 {
			return asked[i].Flags&limiter.OnCompletion != 0
		}
	}
	return false
}

// waiting answers that the caller should ask again.
func (o *organization) waiting(req *pb.AcquireRequest, out *outcome, retry time.Duration) *pb.AcquireResponse {
	return &pb.AcquireResponse{
		RequestId: req.RequestId,
		Decision: &pb.AcquireResponse_Wait{Wait: &pb.Wait{
			RetryAfter: durationpb.New(retry),
			Binding:    o.bindings(out),
		}},
		Pressure: newPressure(&out.load.reading),
	}
}

var reasons = map[limiter.Reason]pb.Reason{
	limiter.TooLarge:        pb.Reason_REASON_TOO_LARGE,
	limiter.QueueFull:       pb.Reason_REASON_QUEUE_FULL,
	limiter.WaitTooLong:     pb.Reason_REASON_WAIT_TOO_LONG,
	limiter.Gated:           pb.Reason_REASON_GATED,
	limiter.ProviderBlocked: pb.Reason_REASON_PROVIDER_BLOCKED,
	limiter.NoTarget:        pb.Reason_REASON_NO_TARGET,
}

var reasonTexts = map[limiter.Reason]string{
	limiter.TooLarge:        "the request is larger than a limit ever allows",
	limiter.QueueFull:       "too many wait already",
	limiter.WaitTooLong:     "the request cannot be granted within its max_wait",
	limiter.Gated:           "the provider has closed the pool for a time",
	limiter.ProviderBlocked: "the provider refuses for a reason that no window cures",
	limiter.NoTarget:        "no target meets the constraints",
}

// refusing answers that the caller is not queued.
func (o *organization) refusing(req *pb.AcquireRequest, c *call, out *outcome) *pb.AcquireResponse {
	ev := &out.event
	r := &pb.Rejected{Reason: reasons[ev.Reason], Binding: o.bindings(out), Message: reasonTexts[ev.Reason]}
	if ev.RetryAfter >= 0 {
		r.RetryAfter = durationpb.New(ev.RetryAfter)
	}
	if len(r.Binding) > 0 {
		b := r.Binding[0]
		r.Message += fmt.Sprintf(": %s of %s, quota %d, used %.0f %%", b.Name, b.Scope, b.Quota, 100*b.Utilization)
	}
	if ev.Reason == limiter.WaitTooLong && c.acquire.MaxWait <= 0 {
		r.Message = "there is no room at once, and the request does not wait"
	}
	return &pb.AcquireResponse{
		RequestId: req.RequestId,
		Decision:  &pb.AcquireResponse_Rejected{Rejected: r},
		Pressure:  newPressure(&out.load.reading),
	}
}

// tooLarge answers a prompt that no model takes.
func (o *organization) tooLarge(req *pb.AcquireRequest, e *policy.TooLarge) *pb.AcquireResponse {
	return &pb.AcquireResponse{
		RequestId: req.RequestId,
		Decision: &pb.AcquireResponse_Rejected{Rejected: &pb.Rejected{
			Reason: pb.Reason_REASON_TOO_LARGE, Message: e.Error(),
		}},
		Pressure: &pb.Pressure{Level: pb.PressureLevel_PRESSURE_LEVEL_NORMAL},
	}
}

// bindings names the limits in the way, as they stand now.
func (o *organization) bindings(out *outcome) []*pb.Binding {
	ev := &out.event
	if ev.Bindings == 0 {
		return nil
	}
	o.replica.Lock()
	defer o.replica.Unlock()
	if out.epoch != o.loads.epoch {
		return nil // the ids are of another configuration
	}
	e := o.edition.Load()
	var list []*pb.Binding
	for _, id := range ev.Binding[:ev.Bindings] {
		l, ok := o.engine().Limit(id)
		if !ok {
			continue
		}
		b := &pb.Binding{
			Scope:       scopeName(l.Scope, l.Owner),
			Name:        l.Spec.Name,
			Metric:      e.metric(l.Spec.Metric),
			Quota:       l.Spec.Quota,
			Utilization: utilization(&l),
		}
		if w := windowOf(&l.Spec); w > 0 {
			b.Window = durationpb.New(w)
		}
		list = append(list, b)
	}
	return list
}

// utilization is what a limit has held and reserved, as a part of its effective quota.
func utilization(l *limiter.Limit) float64 {
	return float64(l.Held+l.Reserved) / float64(max(1, l.Effective))
}

func setDuration(d *durationpb.Duration, to time.Duration) *durationpb.Duration {
	d.Seconds, d.Nanos = int64(to/time.Second), int32(to%time.Second)
	return d
}

// A pressureAnswer is a Pressure with what it points to.
type pressureAnswer struct {
	pressure     pb.Pressure
	maxToolCalls uint32
	agentProfile string
}

func newPressure(r *policy.PressureReading) *pb.Pressure { return new(pressureAnswer).fill(r) }

func (a *pressureAnswer) fill(r *policy.PressureReading) *pb.Pressure {
	p := &a.pressure
	p.Level = pb.PressureLevel_PRESSURE_LEVEL_NORMAL + pb.PressureLevel(r.Level)
	p.Utilization = float64(r.Utilization) / 1000
	p.TotalUtilization = float64(r.TotalUtilization) / 1000
	p.Waiting = int64(r.Waiting)
	if r.MaxToolCalls > 0 {
		a.maxToolCalls = uint32(min(int64(r.MaxToolCalls), math.MaxUint32))
		p.MaxToolCalls = &a.maxToolCalls
	}
	if r.AgentProfile != "" {
		a.agentProfile = r.AgentProfile
		p.AgentProfile = &a.agentProfile
	}
	return p
}
