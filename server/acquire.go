package server

import (
	"context"
	"errors"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/policy"
)

// How long a call stays open while it waits.
const (
	defaultBlock  = 10 * time.Second
	maxBlock      = 20 * time.Second
	deadlineSpare = 200 * time.Millisecond // of a call's deadline, for the answer's way back
)

// When a call that does not wait should ask again: not at once, and before its place
// lapses.
const (
	leastRetry = 100 * time.Millisecond
	mostRetry  = 5 * time.Second
)

// Acquire implements LimiterService.
func (s *Server) Acquire(ctx context.Context, req *pb.AcquireRequest) (*pb.AcquireResponse, error) {
	o, err := s.find(req.Organization)
	if err != nil {
		return nil, err
	}
	c := o.calls.get()
	fill(&c.request, req)
	c.request.Arrived = o.now()
	c.request.Lease = o.nextLease()
	if d := o.diversions[c.request.Route]; d != nil {
		c.diversion = d
		c.request.Divert = d.on(c.request.Class)
	}
	if err := o.policy.Acquire(&c.request, &c.acquire); err != nil {
		c.free()
		var large *policy.TooLarge
		if errors.As(err, &large) {
			return o.tooLarge(req, large), nil
		}
		return nil, err
	}
	block := blockOf(ctx, req.Block)
	c.waits = block > 0 && !s.isDraining()
	o.propose(&c.acquire, c)
	out := &c.out
	if out.err == nil && out.event.Kind == limiter.Queued {
		if out, err = s.wait(ctx, o, c, block); err != nil {
			c.free()
			return nil, err
		}
	}
	answer, err := o.answer(ctx, req, c, out)
	c.free()
	return answer, err
}

// answer makes what a caller is told of what was decided.
func (o *organization) answer(ctx context.Context, req *pb.AcquireRequest, c *call, out *outcome) (*pb.AcquireResponse, error) {
	if out.err != nil {
		return nil, out.err
	}
	switch ev := &out.event; ev.Kind {
	case limiter.Granted:
		if ctx.Err() != nil {
			o.giveBack(c, out)
			return nil, ctx.Err()
		}
		return o.granting(req, c, out), nil
	case limiter.Queued, limiter.Lapsed:
		var retry time.Duration
		if req.Block != nil && req.Block.AsDuration() <= 0 {
			retry = min(max(ev.RetryAfter, leastRetry), mostRetry)
		}
		return o.waiting(req, out, retry), nil
	case limiter.Refused:
		switch ev.Reason {
		case limiter.UnknownProject:
			return nil, &policy.NotFound{Kind: "project", Name: req.Project}
		case limiter.UnknownClass:
			return nil, &policy.NotFound{Kind: "priority class", Name: req.PriorityClass}
		case limiter.TooManyProjects:
			return nil, errProjects
		}
		return o.refusing(req, c, out), nil
	}
	return nil, errFault
}

// wait keeps a queued call open until it is decided, its block ends, the caller leaves or
// the server does. The outcome is Queued if the caller should ask again.
func (s *Server) wait(ctx context.Context, o *organization, c *call, block time.Duration) (*outcome, error) {
	if !c.waits {
		return o.depart(ctx, c)
	}
	c.timer.Reset(block)
	defer c.timer.Stop()
	for {
		select {
		case <-c.wake:
			o.state.Lock()
			ended := c.ended
			o.state.Unlock()
			if ended {
				return &c.end, nil
			}
			continue
		case <-c.timer.C:
		case <-ctx.Done():
		case <-s.draining:
		}
		return o.depart(ctx, c)
	}
}

// depart takes a call from its place: away if the caller may ask again, for good if it has
// cancelled. It may have been decided just now: then that is the outcome.
func (o *organization) depart(ctx context.Context, c *call) (*outcome, error) {
	c.cancel = limiter.Cancel{Key: c.acquire.Key, Lease: c.acquire.Lease, Departure: limiter.Away}
	if errors.Is(ctx.Err(), context.Canceled) {
		c.cancel.Departure = limiter.Gone
	}
	o.state.Lock()
	ended, others := c.ended, false
	if p := c.place; p != nil {
		c.cancel.Lease = p.lease
		if others = p.calls != c || c.same != nil; others {
			c.forsake() // they keep the place
		}
	}
	o.state.Unlock()
	if !ended && !others {
		o.leave(c)
		ended = c.ended
	}
	if err := ctx.Err(); err != nil {
		if ended && c.end.event.Kind == limiter.Granted {
			o.giveBack(c, &c.end)
		}
		return nil, err
	}
	if ended {
		return &c.end, nil
	}
	return &c.out, nil
}

// giveBack returns a grant that nobody will be told of: unsent. The engine obeys only if it
// is this call's own; shared ones may have been told to another.
func (o *organization) giveBack(c *call, out *outcome) {
	if out.shared || out.event.Again {
		return
	}
	c.cancel = limiter.Cancel{Key: c.acquire.Key, Lease: out.event.Lease, Departure: limiter.Gone}
	c.left = false
	o.leave(c)
}

// blockOf gives how long a call may wait; 0: not at all.
func blockOf(ctx context.Context, asked *durationpb.Duration) time.Duration {
	block := defaultBlock
	if asked != nil {
		block = min(asked.AsDuration(), maxBlock)
	}
	if deadline, ok := ctx.Deadline(); ok && block > 0 {
		block = min(block, time.Until(deadline)-deadlineSpare)
	}
	return max(0, block)
}

// fill puts a request into the policy's words.
func fill(to *policy.Request, req *pb.AcquireRequest) {
	*to = policy.Request{
		RequestID:         req.RequestId,
		Attempt:           req.Attempt,
		Project:           req.Project,
		Class:             req.PriorityClass,
		InputTokens:       req.InputTokens,
		CachedInputTokens: min(req.GetCachedInputTokens(), req.InputTokens),
		Units:             req.Units,
		AffinityKey:       req.AffinityKey,
	}
	switch d := req.Destination.(type) {
	case *pb.AcquireRequest_Route:
		to.Route = d.Route
	case *pb.AcquireRequest_Model:
		to.Model = d.Model
	}
	if req.MaxOutputTokens != nil {
		to.MaxOutputTokens = policy.Some(*req.MaxOutputTokens)
	}
	if req.MaxWait != nil {
		to.MaxWait = policy.Some(req.MaxWait.AsDuration())
	}
	if req.LeaseTtl != nil {
		to.TTL = policy.Some(req.LeaseTtl.AsDuration())
	}
	if k := req.Constraints; k != nil {
		to.Constraints = policy.Constraints{
			Accounts: k.Accounts, ExcludeAccounts: k.ExcludeAccounts,
			Providers: k.Providers, Capabilities: k.Capabilities,
		}
		if k.MinQuality != nil {
			to.Constraints.MinQuality = policy.Some(int(math.Round(*k.MinQuality * 1000)))
		}
	}
}
