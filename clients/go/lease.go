package watermaster

import (
	"context"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

// adviceTimeout is how long a failure waits for the service's advice.
const adviceTimeout = 2 * time.Second

// Lease lets one HTTP attempt go. It is renewed until it is released, which happens once: by
// Release or ReleaseForAdvice, by Close, or, as OutcomeUnknown, when it is garbage. Its methods
// are safe for concurrent use.
type Lease struct {
	// Names the lease. Empty: the service is away, and Open or Local let the call go without one;
	// the target then has no more than the model that was asked for.
	ID     string
	Target Target
	// The request's key.
	RequestID string
	Attempt   uint32
	// How long the request waited: in the service's queue, and for the service.
	Waited   time.Duration
	Pressure Pressure
	// The call must be sent within this time after the ask. 0: whenever.
	StartWithin time.Duration

	askedAt time.Time // when the Acquire that was granted was sent
	hold    *hold     // nil without a lease
	cleanup runtime.Cleanup
}

// End is how a call ended. Unset fields are what SetUsage, Observe and Start have noted.
type End struct {
	Outcome     Outcome
	Usage       *Usage
	Observation *Observation
	// How long after the ask the call was sent.
	StartedAfter time.Duration
}

// hold is the part of a lease that outlives the caller's handle.
type hold struct {
	limiter *Limiter
	id      string
	every   time.Duration // 0: not renewed
	due     time.Time     // of the next renewal; renewals.mu
	ended   atomic.Bool

	mu      sync.Mutex
	noted   End
	reports uint32 // observations that were reported
}

// InTime says whether the call may still be sent.
func (l *Lease) InTime() bool {
	return l.hold == nil || time.Since(l.askedAt) < l.StartWithin
}

// Start notes that the call is sent now. ErrTooLate: it must not be.
func (l *Lease) Start() error {
	if l.hold == nil {
		return nil
	}
	after := time.Since(l.askedAt)
	if after >= l.StartWithin {
		return ErrTooLate
	}
	l.hold.mu.Lock()
	l.hold.noted.StartedAfter = after
	l.hold.mu.Unlock()
	return nil
}

// SetUsage notes what the call has used in all, for the release.
func (l *Lease) SetUsage(u Usage) {
	if l.hold != nil {
		l.hold.mu.Lock()
		l.hold.noted.Usage = u.clone()
		l.hold.mu.Unlock()
	}
}

// Observe notes what the provider answered, for the release.
func (l *Lease) Observe(o Observation) {
	if l.hold != nil {
		o.At, o.Headers = first(o.At, time.Now()), maps.Clone(o.Headers)
		l.hold.mu.Lock()
		l.hold.noted.Observation = &o
		l.hold.mu.Unlock()
	}
}

// Report tells at once what a running call has used so far, cumulative, and what was seen of an
// answer; either may be nil.
func (l *Lease) Report(ctx context.Context, usage *Usage, observation *Observation) (*Advice, error) {
	if l.hold == nil {
		return nil, nil
	}
	in := &watermasterv1.ReportRequest{LeaseId: l.ID}
	if usage != nil {
		in.Consumption = &watermasterv1.ReportRequest_Usage{Usage: usage.proto()}
	}
	l.hold.mu.Lock()
	if observation != nil {
		l.hold.reports++
		in.Observation = observation.proto(l.hold.reports, time.Now())
	}
	if after := l.hold.noted.StartedAfter; after > 0 {
		in.StartedAfter = durationpb.New(after)
	}
	l.hold.mu.Unlock()
	return l.hold.limiter.report(ctx, in)
}

// Release ends the lease. It is delivered in the background, again and again while the service is
// away. A second one changes nothing.
func (l *Lease) Release(end End) {
	if in, seen := l.end(end); in != nil {
		l.hold.limiter.releases.push(in, seen)
	}
}

// ReleaseForAdvice ends the lease of a call that failed and waits, at most 2 s, for what the
// service advises. Nil: it has none, or did not answer; the release is then delivered as Release
// would.
func (l *Lease) ReleaseForAdvice(ctx context.Context, end End) *Advice {
	in, seen := l.end(end)
	if in == nil {
		return nil
	}
	return l.hold.limiter.releases.deliver(ctx, in, seen)
}

// end is the release of a lease that ends now; nil where it has ended before.
func (l *Lease) end(end End) (*watermasterv1.ReleaseRequest, time.Time) {
	if l.hold == nil {
		return nil, time.Time{}
	}
	l.cleanup.Stop()
	in, seen := l.hold.end(end)
	runtime.KeepAlive(l)
	return in, seen
}

// run calls fn and releases.
func (l *Lease) run(ctx context.Context, fn func(ctx context.Context, lease *Lease) error) error {
	outcome := OutcomeUnknown
	defer func() { l.Release(End{Outcome: outcome}) }() // after a panic, too
	err := fn(ctx, l)
	if l.observed() {
		outcome = OutcomeUnspecified
	} else if err == nil {
		outcome = OutcomeSucceeded
	}
	return err
}

func (l *Lease) observed() bool {
	if l.hold == nil {
		return false
	}
	l.hold.mu.Lock()
	defer l.hold.mu.Unlock()
	return l.hold.noted.Observation != nil
}

// end takes the lease out of the renewals. The time is when the observation was made.
func (h *hold) end(end End) (*watermasterv1.ReleaseRequest, time.Time) {
	if h.ended.Swap(true) {
		return nil, time.Time{}
	}
	h.limiter.renewals.remove(h)
	h.mu.Lock()
	defer h.mu.Unlock()
	in := &watermasterv1.ReleaseRequest{LeaseId: h.id, Outcome: watermasterv1.Outcome(end.Outcome)}
	if end.Usage != nil {
		h.noted.Usage = end.Usage.clone()
	}
	if usage := h.noted.Usage; usage != nil {
		in.Consumption = &watermasterv1.ReleaseRequest_Usage{Usage: usage.proto()}
	}
	if after := first(end.StartedAfter, h.noted.StartedAfter); after > 0 && end.Outcome != OutcomeUnsent {
		in.StartedAfter = durationpb.New(min(after, 24*time.Hour))
	}
	now, seen := time.Now(), time.Time{}
	if observation := first(end.Observation, h.noted.Observation); observation != nil {
		number := uint32(0)
		if h.reports > 0 {
			number = h.reports + 1
		}
		in.Observation = observation.proto(number, now)
		in.Observation.Headers = maps.Clone(in.Observation.Headers)
		seen = first(observation.At, now)
	}
	return in, seen
}

// drop releases a lease that nobody holds any more.
func (h *hold) drop() {
	if in, seen := h.end(End{Outcome: OutcomeUnknown}); in != nil {
		h.limiter.releases.push(in, seen)
	}
}

// grant makes the lease of an answer to the Acquire that was sent at a time, after others or not.
func (l *Limiter) grant(g *watermasterv1.Granted, r *Request, p Pressure, sent time.Time, before time.Duration) *Lease {
	t := g.GetTarget()
	lease := &Lease{
		ID:     g.GetLeaseId(),
		Target: Target{Account: t.GetAccount(), Provider: t.GetProvider(), Model: t.GetModel(), Attributes: t.GetAttributes()},
		Waited: before + g.GetWaited().AsDuration(), Pressure: p, StartWithin: g.GetStartWithin().AsDuration(),
		RequestID: r.RequestID, Attempt: r.Attempt, askedAt: sent,
	}
	lease.hold = &hold{limiter: l, id: lease.ID}
	lease.cleanup = runtime.AddCleanup(lease, (*hold).drop, lease.hold)
	if g.RenewEvery != nil {
		lease.hold.every = max(g.GetRenewEvery().AsDuration(), 100*time.Millisecond)
	}
	l.renewals.add(lease.hold)
	return lease
}
