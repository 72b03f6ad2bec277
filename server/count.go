package server

import (
	"net/http"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/metrics"
	"github.com/watermaster-project/watermaster/server/policy"
)

// What is counted for those who watch. No decision reads it.

// countAnswer counts the answer to an Acquire.
func (o *organization) countAnswer(req *pb.AcquireRequest, answer *pb.AcquireResponse, a *asked) {
	name := req.PriorityClass
	if name == "" {
		name = standardClass
	}
	class := o.edition.Load().counts.Class(name)
	if class == nil {
		return // the configuration has just lost it
	}
	switch d := answer.Decision.(type) {
	case *pb.AcquireResponse_Granted:
		if a.again {
			class.GrantedAgain()
		} else {
			class.Granted(a.waited)
		}
	case *pb.AcquireResponse_Wait:
		class.Waiting()
	case *pb.AcquireResponse_Rejected:
		class.Rejected(d.Rejected.Reason)
	}
}

// told is what a worker tells of a call that nothing depends on.
type told struct {
	started   time.Duration // after its Acquire; 0: unknown
	throttled bool          // by 429
}

func toldOf(started *durationpb.Duration, in *policy.Settlement) told {
	return told{
		started:   started.AsDuration(),
		throttled: in.Observation.HTTPStatus == http.StatusTooManyRequests || in.Outcome == policy.Throttled,
	}
}

// countSettled counts the end of a lease. One that was settled before is counted already.
// The caller holds the replica's lock.
func (o *organization) countSettled(cmd *limiter.Release, ev *limiter.Event, g *limiter.Grant, t *told) {
	if g.Settled {
		return
	}
	counts := o.edition.Load().counts
	if t.throttled {
		countThrottled(counts, ev.Pool)
	}
	known := len(o.lateStarts) > 0 && o.lateStarts[ev.Lease]
	if known {
		delete(o.lateStarts, ev.Lease)
	}
	actual, estimated := estimate(cmd, o.before, o.charges)
	sent := cmd.Outcome != limiter.Unsent
	if !sent {
		o.retries.unsent()
	}
	late := sent && !known && t.late(g) || !sent && o.engine().Now() > g.StartBy
	if estimated == 0 && !late {
		return
	}
	project := counts.Project(g.Project)
	if late {
		project.LateStart(sent)
	}
	if estimated > 0 {
		project.Used(actual, estimated)
	}
}

// late says whether a call was sent when its start_within was over.
func (t *told) late(g *limiter.Grant) bool {
	return t.started > 0 && g.StartBy != limiter.Never && t.started > g.StartBy.Sub(g.Arrived)
}

// countReported counts what a Report tells of a call. The caller holds the replica's lock.
func (o *organization) countReported(ev *limiter.Event, c *call) {
	if c.told.throttled {
		countThrottled(o.edition.Load().counts, c.out.pool)
	}
	if c.told.started <= 0 || ev.Lease == (limiter.LeaseID{}) || o.lateStarts[ev.Lease] {
		return
	}
	if g, ok := o.engine().Grant(ev.Lease); ok && !g.Settled && c.told.late(&g) {
		if len(o.lateStarts) >= maxLateStarts {
			clear(o.lateStarts)
		}
		o.lateStarts[ev.Lease] = true
		o.edition.Load().counts.Project(g.Project).LateStart(true)
	}
}

// maxLateStarts bounds the leases of which a late start is known. With more of them, some of
// those that tell it again are counted again.
const maxLateStarts = 4096

// countExpired counts a lease that its worker has not released. The caller holds the replica's lock.
func (o *organization) countExpired(project string) {
	o.edition.Load().counts.Project(project).Expired()
}

func countThrottled(counts *metrics.Edition, pool string) {
	if p := counts.Pool(pool); p != nil {
		p.Throttled()
	}
}

// estimate gives the tokens that a call has used and those that it was charged for at its
// grant, in the measure of the limits that counted them: the owner's, or else the pool's. 0, 0:
// one of them is not known.
func estimate(cmd *limiter.Release, before, after []limiter.LeaseCharge) (actual, estimated int64) {
	if cmd.Outcome != limiter.Used || len(cmd.Actual) == 0 || len(before) != len(after) {
		return 0, 0
	}
	for _, flag := range [2]limiter.ChargeFlags{limiter.ToOwner, limiter.ToPool} {
		if actual, estimated = tokens(limiter.Tokens, cmd, flag, before, after); estimated > 0 {
			break
		}
		input, estimatedInput := tokens(limiter.InputTokens, cmd, flag, before, after)
		output, estimatedOutput := tokens(limiter.OutputTokens, cmd, flag, before, after)
		if estimatedInput > 0 && estimatedOutput > 0 {
			actual, estimated = input+output, estimatedInput+estimatedOutput
			break
		}
	}
	if actual == 0 { // it failed
		return 0, 0
	}
	return actual, estimated
}

// tokens gives what one metric has to say.
func tokens(m limiter.Metric, cmd *limiter.Release, flag limiter.ChargeFlags, before, after []limiter.LeaseCharge) (actual, estimated int64) {
	for i := range cmd.Actual {
		if a := &cmd.Actual[i]; a.Metric != m || a.Flags&flag == 0 {
			continue
		}
		for k := range before {
			if b := &before[k]; b.Metric == m && (b.Scope == limiter.ScopePool) == (flag == limiter.ToPool) {
				return after[k].Amount, b.Amount
			}
		}
	}
	return 0, 0
}
