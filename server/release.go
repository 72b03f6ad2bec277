package server

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/policy"
)

// findLease gives a lease's organization.
func (s *Server) findLease(id string) (*organization, lease, error) {
	l, ok := parseLease(id)
	if o := s.directory.Load().byFingerprint[l.organization]; ok && o != nil {
		return o, l, nil
	}
	return nil, lease{}, &leaseError{id}
}

// Release implements LimiterService.
func (s *Server) Release(ctx context.Context, req *pb.ReleaseRequest) (*pb.ReleaseResponse, error) {
	return present(ctx, s, func() (*pb.ReleaseResponse, error) { return s.release(ctx, req) })
}

func (s *Server) release(ctx context.Context, req *pb.ReleaseRequest) (*pb.ReleaseResponse, error) {
	o, l, err := s.ownLease(ctx, req.LeaseId)
	if err != nil {
		return nil, err
	}
	in := policy.Settlement{
		Lease: l.id, Target: l.target, Outcome: policy.Outcome(req.Outcome), Rand: rand.Uint64(),
	}
	learn(&in, req.GetUsage(), req.GetProviderUsage(), req.Observation)

	c := o.calls.get()
	defer c.free()
	e := o.edition.Load()
	advice := e.policy.Release(&in, &c.release)
	c.told = toldOf(req.StartedAfter, &in)
	if o.propose(&c.release, c); errors.Is(c.out.err, errAway) {
		o.soloRelease(c)
	}
	switch {
	case c.out.err != nil:
		return nil, c.out.err
	case c.out.event.Kind != limiter.Settled:
		return nil, o.unknown(req.LeaseId)
	}
	return e.settlement(c, &advice), nil
}

// A releaseAnswer is all of an answer to a release, made at once.
type releaseAnswer struct {
	response    pb.ReleaseResponse
	settlements [usualCharges]pb.Settlement
	list        [usualCharges]*pb.Settlement
}

// settlement tells how a lease was settled.
func (e *edition) settlement(c *call, advice *policy.Advice) *pb.ReleaseResponse {
	ev := &c.out.event
	a := &releaseAnswer{}
	a.response.Late = ev.Late
	a.response.Advice = adviceOf(advice)
	list := a.list[:0]
	names := scopeNames{e: e, pool: ev.Pool, project: c.out.project}
	for i := range c.out.charges {
		h := &c.out.charges[i]
		if otherWindow(c.out.charges, i) {
			continue
		}
		var x *pb.Settlement
		if n := len(list); n < usualCharges {
			x = &a.settlements[n]
		} else {
			x = &pb.Settlement{}
		}
		x.Scope, x.Metric = names.of(h.Scope), e.metric(h.Metric)
		estimate := h.Amount
		if i < len(c.out.before) {
			estimate = max(c.out.before[i].Amount, c.out.before[i].Seen)
		}
		x.Charged = h.Amount
		switch {
		case isStock(h.Metric):
			x.Charged, x.Refunded = 0, h.Amount
		case h.Amount < estimate:
			x.Refunded = estimate - h.Amount
		default:
			x.Owed = h.Amount - estimate
		}
		list = append(list, x)
	}
	a.response.Settlements = list
	return &a.response
}

// Renew implements LimiterService.
func (s *Server) Renew(ctx context.Context, req *pb.RenewRequest) (*pb.RenewResponse, error) {
	return present(ctx, s, func() (*pb.RenewResponse, error) { return s.renew(ctx, req) })
}

func (s *Server) renew(ctx context.Context, req *pb.RenewRequest) (*pb.RenewResponse, error) {
	var o *organization
	ids := make([]limiter.LeaseID, len(req.LeaseIds)) // zero: none of ours
	left := map[limiter.LeaseID]time.Duration{}       // 0: gone
	var leases []limiter.LeaseID
	for i, id := range req.LeaseIds {
		g, l, err := s.ownLease(ctx, id)
		if err != nil {
			continue
		}
		if o == nil {
			o = g
		}
		if g != o {
			return nil, &policy.Invalid{Field: "lease_ids", Message: "must be of one organization"}
		}
		ids[i] = l.id
		if _, twice := left[l.id]; !twice {
			left[l.id] = 0
			leases = append(leases, l.id)
		}
	}
	if o != nil {
		c := o.calls.get()
		defer c.free()
		c.renew.Leases = leases
		if o.propose(&c.renew, c); errors.Is(c.out.err, errAway) {
			o.soloRenew(c)
		}
		if c.out.err != nil {
			return nil, c.out.err
		}
		for i := range c.out.renewed {
			if ev := &c.out.renewed[i]; ev.Kind == limiter.Renewed {
				left[ev.Lease] = ev.Left
			} else if o.restoring() {
				return nil, errRestoring
			}
		}
	}
	answer := &pb.RenewResponse{Renewals: make([]*pb.Renewal, len(ids))}
	for i, id := range ids {
		r := &pb.Renewal{LeaseId: req.LeaseIds[i]}
		if d := left[id]; d > 0 {
			r.Ttl = durationpb.New(d)
		} else {
			r.Gone = true
		}
		answer.Renewals[i] = r
	}
	return answer, nil
}
