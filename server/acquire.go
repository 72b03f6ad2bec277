package server

import (
	"context"
	"errors"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/access"
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
	a := asked{block: blockOf(ctx, req.Block)}
	for try := 0; ; try++ {
		o, err := s.own(ctx, req.Organization)
		if err != nil {
			return nil, err
		}
		answer, stale, err := s.acquire(ctx, o, req, &a)
		if !stale || try == maxStale {
			if err == nil {
				o.countAnswer(req, answer, &a)
			}
			if s.debug {
				s.logDecision(ctx, o, req, answer, err)
			}
			return answer, err
		}
		start := time.Now()
		s.awaitReload(ctx)
		a.block = max(0, a.block-time.Since(start))
	}
}

// maxStale bounds how often a request is asked anew because the configuration has changed
// meanwhile.
const maxStale = 3

// An asked is what stays of a request that is asked anew.
type asked struct {
	arrived  limiter.Time  // 0: not yet
	received time.Time     // the same, by the process's clock
	block    time.Duration // what is left of it
	waited   time.Duration // granted: over all calls of the request
	again    bool          // granted: it was told before
}

// acquire asks an organization. stale says that the answer may only be due to a
// configuration that is being replaced.
func (s *Server) acquire(ctx context.Context, o *organization, req *pb.AcquireRequest, a *asked) (answer *pb.AcquireResponse, stale bool, err error) {
	c := o.calls.get()
	e := o.edition.Load()
	fill(&c.request, req)
	if err := narrow(&c.request, callerOf(ctx)); err != nil {
		c.free()
		return nil, false, err
	}
	switch {
	case a.arrived == 0:
		a.arrived, a.received = o.now(), time.Now()
	case o.replica.Shared():
		a.arrived = o.now().Add(-time.Since(a.received))
	}
	c.received = a.received
	c.request.Arrived = a.arrived
	c.request.Lease = o.nextLease()
	if d := e.diversions[c.request.Route]; d != nil {
		c.diversion = d
		c.request.Divert = d.on(c.request.Class)
	}
	if err := e.policy.Acquire(&c.request, &c.acquire); err != nil {
		c.free()
		var large *policy.TooLarge
		if errors.As(err, &large) {
			return o.tooLarge(req, large), false, nil
		}
		return nil, false, err
	}
	if o.overspent(e, req, c.acquire.Key) {
		c.free()
		return tooManyRetries(req), false, nil
	}
	crowded := s.isCrowded(o, c.acquire.Key)
	if crowded {
		c.acquire.MaxWait = 0
	}
	c.waits = a.block > 0 && !s.isDraining()
	out, stale, err := s.ask(ctx, o, c, a, !crowded)
	if err != nil {
		c.free()
		return nil, false, err
	}
	if crowded && out.event.Kind == limiter.Refused && out.event.Reason == limiter.WaitTooLong {
		out.event.Reason = limiter.QueueFull
	}
	stale = stale || errors.Is(out.err, errRetired) || errors.Is(out.err, errRepeated) ||
		out.err == nil && out.event.Kind == limiter.Refused && o.edition.Load() != e && ofNames(out.event.Reason)
	if out.err == nil && out.event.Kind == limiter.Granted {
		o.tally(e, req.Attempt, &out.event)
		a.waited, a.again = out.waited, out.event.Again
	}
	answer, err = o.answer(ctx, req, c, out)
	c.free()
	return answer, stale, err
}

// ask asks the log, or while that is away this process alone, until a call is decided or has
// waited for as long as it may. moved: see wait. counted: it is in asking.
func (s *Server) ask(ctx context.Context, o *organization, c *call, a *asked, counted bool) (out *outcome, moved bool, err error) {
	back := true
	c.patience = c.acquire.MaxWait
	for o.propose(&c.acquire, c); errors.Is(c.out.err, errAway); o.propose(&c.acquire, c) {
		if out, back, moved, err = s.alone(ctx, o, c, a); !back {
			break
		}
		c.acquire.Arrived = o.arrived(c)
		c.askAgain(o.nextLease(), o.now())
	}
	if counted {
		s.asking.Add(-1)
	}
	if !back {
		return out, moved, err
	}
	if c.out.err == nil && c.out.event.Kind == limiter.Queued {
		return s.wait(ctx, o, c, a)
	}
	return &c.out, false, nil
}

// arrived gives when a call arrived, in the time of the log as it is now: one that is shared
// may have been begun anew meanwhile, with another time.
func (o *organization) arrived(c *call) limiter.Time {
	if !o.replica.Shared() {
		return c.acquire.Arrived
	}
	return o.now().Add(-time.Since(c.received))
}

// isCrowded says whether as many wait in all as may, so that a request may not join them. One
// that may counts in asking until it is decided: those who come at once all see each other.
func (s *Server) isCrowded(o *organization, key limiter.Key) bool {
	if s.asking.Add(1)+s.waiting.Load() <= s.maxWaiting || o.hasPlace(key) {
		return false
	}
	s.asking.Add(-1)
	return true
}

// narrow holds a request to what its caller's credential is for.
func narrow(r *policy.Request, c *access.Credential) (err error) {
	if c == nil {
		return nil
	}
	if r.Project, err = c.Project(r.Project); err != nil {
		return err
	}
	return c.Class(r.Class)
}

// ofNames says whether a refusal is for a name that the engine does not have.
func ofNames(r limiter.Reason) bool {
	return r == limiter.NoTarget || r == limiter.UnknownProject || r == limiter.UnknownClass
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

// wait keeps a queued call open until it is decided, its block ends, the caller leaves, or
// the server or the organization does. The outcome is Queued if the caller should ask again;
// moved says that it is to be asked for the caller, of whoever has the organization's place.
func (s *Server) wait(ctx context.Context, o *organization, c *call, a *asked) (out *outcome, moved bool, err error) {
	if !c.waits {
		out, err = o.depart(ctx, c)
		return out, false, err
	}
	start := time.Now()
	c.timer.Reset(a.block)
	defer c.timer.Stop()
	for {
		select {
		case <-c.wake:
			o.replica.Lock()
			ended := c.ended
			o.replica.Unlock()
			if ended {
				return &c.end, false, nil
			}
			continue
		case <-c.timer.C:
		case <-ctx.Done():
		case <-s.draining:
		case <-o.gone:
			moved = true
		}
		break
	}
	out, err = o.depart(ctx, c)
	if moved = moved && out != nil && out.event.Kind == limiter.Queued; moved {
		a.block = max(0, a.block-time.Since(start))
	}
	return out, moved, err
}

// depart takes a call from its place: away if the caller may ask again, for good if it has
// cancelled. It may have been decided just now: then that is the outcome.
func (o *organization) depart(ctx context.Context, c *call) (*outcome, error) {
	c.cancel = limiter.Cancel{Key: c.acquire.Key, Lease: c.acquire.Lease, Departure: limiter.Away}
	if errors.Is(ctx.Err(), context.Canceled) {
		c.cancel.Departure = limiter.Gone
	}
	o.replica.Lock()
	ended, others := c.ended, false
	if p := c.place; p != nil {
		c.cancel.Lease = p.lease
		if others = p.calls != c || c.same != nil; others {
			c.forsake() // they keep the place
			o.soloLeave(c.cancel.Key, c, c.cancel.Departure)
		}
	}
	o.replica.Unlock()
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
	if out.alone {
		o.soloGiveBack(c, out)
		return
	}
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
