package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/access"
	"github.com/watermaster-project/watermaster/server/policy"
)

// A gateway draws on the budgets of workers: all descriptors of its request describe one call,
// which is granted as a worker's would be, or refused, at once. What becomes of it:
//
//	no hits                   nothing is charged: would a call go now?
//	no request_id, lease_id   it is charged and settled in one entry of the log
//	request_id                it is a lease, which the second request of that id settles
//	lease_id                  a worker's lease has paid for it
//
// With the entry phase there is no doubt which of the two requests about a call one is. The
// first one under a request_id whose lease runs is let through; the second one settles what there
// is to settle, and is never refused: the call was made.

// drawFresh is how old this process's view of a shared log may be for it to say that a call has
// no lease yet. Younger ones are found out by the log itself: a grant is told again for longer.
const drawFresh = 100 * time.Millisecond

// workerAttempts is among how many attempts of a request_id the lease of a worker is looked for.
const workerAttempts = 4

// A drawing is one request of a gateway's on its way.
type drawing struct {
	sketch
	o      *organization
	e      *edition
	caller *access.Credential // nil: it may do all
	call   *call

	// Where the call goes, as far as is known.
	pool, model string
	lease       limiter.LeaseID
	leased      bool // lease is to be told

	over      bool
	event     limiter.Event // over: what the engine said
	standings []limiter.Standing
}

// draw decides on a request of Envoy's by the budgets of an organization, as it does for workers.
func (s *Server) draw(ctx context.Context, o *organization, req *rls.RateLimitRequest) (answer *rls.RateLimitResponse, err error) {
	for try := 0; ; try++ {
		var stale bool
		answer, stale, err = s.drawOnce(ctx, o, req)
		if !stale || try == maxStale {
			return answer, err
		}
		s.awaitReload(ctx)
	}
}

// drawOnce asks an organization. stale says that the answer may only be due to a configuration
// that is being replaced, or to a name that was used.
func (s *Server) drawOnce(ctx context.Context, o *organization, req *rls.RateLimitRequest) (answer *rls.RateLimitResponse, stale bool, err error) {
	d := drawing{o: o, e: o.edition.Load(), caller: callerOf(ctx)}
	if err := d.read(d.e.policy, req); err != nil {
		return nil, false, err
	}
	if err := d.own(d.caller, d.e); err != nil {
		return nil, false, err
	}
	if err := o.drawable(); err != nil {
		return nil, false, err
	}
	d.call = o.calls.get()
	defer d.call.free()
	c := d.call
	k := &d.draw
	k.Arrived, k.Lease = o.now(), o.nextLease()
	if k.Key = (limiter.Key{}); d.requestID != "" {
		k.Key = drawKey(k.Project, d.requestID)
	} else {
		k.Key = keyOfLease(k.Lease)
	}
	if x := d.e.diversions[k.Route]; x != nil {
		c.diversion, k.Divert = x, x.on(k.Class)
	}
	if err := d.e.policy.Draw(k, &c.acquire); err != nil {
		return nil, false, err
	}
	c.acquire.Unpaced = o.countsHits()

	done, err := s.sightLease(&d)
	if !done && err == nil && d.requestID != "" {
		done, err = s.sightRequest(&d)
	}
	if !done && err == nil {
		stale, err = s.sightNew(ctx, &d)
	}
	if s.debug {
		s.logDraw(ctx, &d, err)
	}
	if err != nil {
		return nil, stale, err
	}
	return s.drawn(&d, req), stale, nil
}

// keyOfLease gives a key for a call that nobody will ask for again.
func keyOfLease(l limiter.LeaseID) (key limiter.Key) {
	for i := range 8 {
		key[i], key[8+i] = byte(l.Incarnation>>(8*i)), byte(l.Count>>(8*i))
	}
	return key
}

// drawable says why nothing can be drawn. Nothing is granted alone to a gateway, as it is to a
// worker while the log is away: it has its own policy for that, and would tell nobody.
func (o *organization) drawable() error {
	if _, away := o.isAway(); away {
		return errAway
	}
	return nil
}

// countsHits says whether all processes know commands for gateways.
func (o *organization) countsHits() bool {
	o.replica.Lock()
	defer o.replica.Unlock()
	return o.engine().Behaviour() >= limiter.BehaviourHits
}

// sightNew draws for a call that nothing is known of, or only looks whether it could.
func (s *Server) sightNew(ctx context.Context, d *drawing) (stale bool, err error) {
	switch {
	case d.phase == endPhase && d.leaseID == "" && !d.check && !d.returns:
		return false, d.force()
	case d.phase == endPhase:
		return false, nil // there is nothing that was reserved
	case d.check:
		return false, d.look()
	case d.returns && d.requestID == "" && d.leaseID == "":
		return false, d.giveBack()
	case d.returns:
		return false, nil // what it had is settled
	}
	if err := ctx.Err(); err != nil {
		return false, err // nobody would be told
	}
	c := d.call
	if d.requestID == "" {
		c.release = limiter.Release{Lease: c.acquire.Lease, Actual: c.release.Actual[:0], Gates: c.release.Gates[:0]}
		d.o.proposeBoth(&c.acquire, &c.release, c)
	} else {
		d.o.propose(&c.acquire, c)
	}
	switch ev := &c.out.event; {
	case c.out.err != nil:
		return errors.Is(c.out.err, errRepeated), c.out.err
	case ev.Kind == limiter.Granted && ev.Again:
		return false, s.again(d)
	case ev.Kind == limiter.Granted:
		return false, s.grantedDraw(d)
	case ev.Kind == limiter.Refused:
		return s.refusedDraw(d)
	}
	return false, errFault
}

// again goes on with a call whose first request was granted just now, which this process had
// not read yet.
func (s *Server) again(d *drawing) error {
	ev := d.call.out.event
	d.pool, d.model, d.lease = ev.Pool, ev.Model, ev.Lease
	if d.phase == requestPhase {
		d.leased = true
		d.count(func(c classCounts) { c.GrantedAgain() })
		return nil
	}
	return d.settle(limiter.Trace{Lease: ev.Lease, Pool: ev.Pool, Model: ev.Model})
}

// grantedDraw tells of a new grant. If a worker's lease turns out to have paid for the call, it
// is given back.
func (s *Server) grantedDraw(d *drawing) error {
	ev := d.call.out.event
	d.pool, d.model, d.lease, d.leased = ev.Pool, ev.Model, ev.Lease, d.requestID != ""
	if t, paid := d.worker(); paid {
		d.pool, d.model, d.leased = t.Pool, t.Model, false
		return d.tell(&limiter.Release{Lease: ev.Lease, Outcome: limiter.Unsent})
	}
	d.count(func(c classCounts) { c.Granted(0) })
	return nil
}

// refusedDraw tells of a refusal, unless a worker's lease has paid for the call.
func (s *Server) refusedDraw(d *drawing) (stale bool, err error) {
	ev := &d.call.out.event
	if t, paid := d.worker(); paid {
		d.pool, d.model = t.Pool, t.Model
		return false, nil
	}
	stale = ofNames(ev.Reason) && d.o.edition.Load() != d.e
	switch ev.Reason {
	case limiter.UnknownProject:
		return stale, &policy.NotFound{Kind: "project", Name: d.draw.Project}
	case limiter.UnknownClass:
		return stale, &policy.NotFound{Kind: "priority class", Name: d.className()}
	case limiter.TooManyProjects:
		return false, errProjects
	case limiter.NoTarget:
		return stale, errConfiguring
	}
	if d.o.inRollCall() {
		return false, errRestoring
	}
	d.over, d.event = true, *ev
	d.count(func(c classCounts) { c.Rejected(reasons[ev.Reason]) })
	return stale, nil
}

func (o *organization) inRollCall() bool {
	o.replica.Lock()
	defer o.replica.Unlock()
	_, _, underWay := o.engine().RollCall()
	return underWay
}

// force charges a call that was made, and that nothing was reserved for.
func (d *drawing) force() error {
	c := d.call
	var debt limiter.Restore
	if err := d.e.policy.Debt(&d.draw, &c.acquire, &debt); err != nil {
		return err
	}
	if len(debt.Leases) == 0 {
		return errConfiguring
	}
	d.pool = debt.Leases[0].Pool
	d.o.propose(&debt, c)
	return c.out.err
}

// giveBack gives back what was drawn for a call that nothing names. It may have been another
// project's, so who may call for some projects alone has to name the call.
func (d *drawing) giveBack() error {
	if d.caller != nil && !d.caller.AnyProject() {
		return &access.Denied{What: "project", Name: "*"}
	}
	var back limiter.GiveBack
	if err := d.e.policy.GiveBack(&d.draw, &back); err != nil {
		return err
	}
	if !d.o.countsHits() {
		return errConfiguring
	}
	d.pool = back.Pool
	d.o.propose(&back, d.call)
	return d.call.out.err
}

// look says whether a call could be drawn now. Nothing goes to the log.
func (d *drawing) look() error {
	if d.o.replica.Shared() && d.o.replica.Age() >= drawFresh {
		d.o.catchUp()
	}
	if err := d.o.drawable(); err != nil {
		return err
	}
	d.o.replica.Lock()
	defer d.o.replica.Unlock()
	e := d.o.engine()
	if _, _, underWay := e.RollCall(); underWay || d.o.replica.Lost() {
		return errRestoring
	}
	now := max(d.o.now(), e.Now())
	least := time.Duration(-1)
	targets := d.call.acquire.Targets
	for i := range targets {
		wait, never := d.waitAt(e, now, &targets[i])
		switch {
		case wait == 0 && !never:
			d.pool = targets[i].Pool
			return nil
		case least < 0 || !never && wait < least:
			least, d.pool = wait, targets[i].Pool
		}
	}
	d.over, d.event = true, limiter.Event{RetryAfter: least}
	return nil
}

// waitAt gives how long a call has to wait at a target; never: time alone does not help. The
// caller holds the replica's lock.
func (d *drawing) waitAt(e *limiter.Engine, now limiter.Time, t *limiter.Target) (wait time.Duration, never bool) {
	d.standings = e.Standing(now, t.Pool, d.draw.Project, d.call.acquire.Class, t.Charges, d.standings[:0])
	for i := range d.standings {
		wait, never = max(wait, d.standings[i].RetryAfter), never || d.standings[i].RetryAfter < 0
	}
	for _, p := range e.Pools(now) {
		if p.Name != t.Pool {
			continue
		}
		for _, g := range p.Gates {
			if g.Opens > 0 && (g.All || chargesMetric(t.Charges, g.Metric)) {
				wait = max(wait, g.Opens)
			}
		}
	}
	return wait, never
}

func chargesMetric(charges []limiter.Charge, m limiter.Metric) bool {
	for i := range charges {
		if charges[i].Metric == m && charges[i].Amount > 0 {
			return true
		}
	}
	return false
}

// classCounts counts what becomes of a class's calls.
type classCounts interface {
	Granted(waited time.Duration)
	GrantedAgain()
	Rejected(pb.Reason)
}

// count counts a decision among those of workers. Checks and ends are none.
func (d *drawing) count(add func(classCounts)) {
	if class := d.o.edition.Load().counts.Class(d.className()); class != nil {
		add(class)
	}
}

// logDraw tells of one decision, at level debug.
func (s *Server) logDraw(ctx context.Context, d *drawing, err error) {
	attrs := []slog.Attr{
		slog.String("organization", d.o.name), slog.String("project", d.draw.Project),
		slog.String("priority_class", d.className()), slog.String("request_id", d.requestID),
	}
	switch {
	case err != nil:
		attrs = append(attrs, slog.String("decision", "error"), slog.String("error", err.Error()))
	case d.over:
		attrs = append(attrs, slog.String("decision", "over"))
	default:
		attrs = append(attrs, slog.String("decision", "ok"), slog.String("pool", d.pool))
	}
	if c := d.caller; c != nil {
		attrs = append(attrs, slog.String("credential", c.Name()))
	}
	s.logger.LogAttrs(ctx, slog.LevelDebug, "draw", attrs...)
}
