package watermaster

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

// DefaultAddress is where a service of this machine listens.
const DefaultAddress = "localhost:8081"

// Limiter asks one Watermaster for leases. It is safe for concurrent use.
type Limiter struct {
	options  Options
	defaults Call
	ttl      *durationpb.Duration
	service  *service
	attempts attempts
	renewals renewals
	releases releases
	local    *local // nil but for Local
	pressure atomic.Pointer[Pressure]
	// Another call has found the service away for a second; it decides without waiting until it
	// answers.
	away atomic.Bool

	background background
}

// New makes a Limiter of the service's addresses, each "host:port", parted by commas. Empty is
// DefaultAddress. It connects when it is first asked; an error tells of what cannot be meant.
func New(addresses string, options Options) (*Limiter, error) {
	var names []string
	for name := range strings.SplitSeq(first(addresses, DefaultAddress), ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	if err := options.validate(names); err != nil {
		return nil, fmt.Errorf("watermaster: %w", err)
	}
	l := &Limiter{options: options, defaults: options.defaults(), ttl: durationpb.New(options.LeaseTTL)}
	l.background.open()
	l.service = newService(l, names)
	l.renewals.limiter, l.releases.limiter = l, l
	if limits, ok := options.WhenAway.(Local); ok {
		l.local = &local{limits: limits}
	}
	return l, nil
}

// Acquire waits until the call may go and returns its lease. Whoever gets one calls Start before
// the call is sent and Release after it, on every path; Do does both. Errors are *Rejected,
// *Unavailable, *CallError, ErrClosed or the context's.
func (l *Limiter) Acquire(ctx context.Context, r Request) (*Lease, error) {
	l.settle(ctx, &r)
	return l.acquire(ctx, &r, r.deadline(time.Now()))
}

// settle completes a request from the context and the options.
func (l *Limiter) settle(ctx context.Context, r *Request) {
	r.lay(callOf(ctx).over(l.defaults))
	r.kept = r.RequestID != ""
}

// acquire numbers the attempt and asks.
func (l *Limiter) acquire(ctx context.Context, r *Request, deadline time.Time) (*Lease, error) {
	if !r.kept {
		r.RequestID = first(r.RequestID, newRequestID())
		return l.ask(ctx, r, deadline)
	}
	r.Attempt = l.attempt(r.RequestID, r.Attempt)
	lease, err := l.ask(ctx, r, deadline)
	if err != nil {
		l.attempts.giveBack(r.RequestID, r.Attempt)
	}
	return lease, err
}

// attempt is the next attempt of a request id that the caller chose, and no less than atLeast.
func (l *Limiter) attempt(requestID string, atLeast uint32) uint32 {
	return l.attempts.take(requestID, atLeast)
}

// Do calls fn with a lease and releases it. A grant that came too late to start is asked for
// anew. fn tells by SetUsage what was used, and by Observe what the provider answered; when it
// fails, or panics, without having observed anything the call may have run (OutcomeUnknown), and
// nothing is given back. Its error is returned as it is; others are those of Acquire.
func (l *Limiter) Do(ctx context.Context, r Request, fn func(ctx context.Context, lease *Lease) error) error {
	l.settle(ctx, &r)
	deadline := r.deadline(time.Now())
	for {
		lease, err := l.acquire(ctx, &r, deadline)
		if err != nil {
			return err
		}
		if lease.Start() == nil {
			return lease.run(ctx, fn)
		}
		lease.Release(End{Outcome: OutcomeUnsent})
		r.Attempt++
	}
}

// Pressure is what the service said last, for whichever class asked.
func (l *Limiter) Pressure() Pressure {
	if p := l.pressure.Load(); p != nil {
		return *p
	}
	return Pressure{}
}

func (l *Limiter) press(p Pressure) {
	was := l.pressure.Swap(&p)
	if l.options.OnPressure != nil && (was == nil || p.differs(was)) {
		l.options.OnPressure(p)
	}
}

// Scope selects limits. Each field narrows its own kind: what is left with an account and a
// project is what a call of the project to the account would touch. Empty: all.
type Scope struct{ Account, Pool, Project string }

// Headroom tells what is held, reserved and left of each limit of the organization.
func (l *Limiter) Headroom(ctx context.Context, scope Scope) (*watermasterv1.Headroom, error) {
	in := &watermasterv1.GetHeadroomRequest{
		Organization: l.options.Organization, Account: scope.Account, Pool: scope.Pool, Project: scope.Project,
	}
	var out *watermasterv1.GetHeadroomResponse
	err := l.service.call(ctx, func(ctx context.Context, a *address) (err error) {
		out, err = watermasterv1.NewMonitorServiceClient(a.conn).GetHeadroom(ctx, in)
		return err
	})
	if err != nil {
		return nil, l.failure(ctx, err)
	}
	return out.GetHeadroom(), nil
}

// Report tells what was seen of a provider by a call that holds no lease. The advice is nil
// unless it was a failure. For a call with a lease see Lease.Report.
func (l *Limiter) Report(ctx context.Context, account, model string, observation Observation) (*Advice, error) {
	return l.report(ctx, &watermasterv1.ReportRequest{
		Organization: l.options.Organization, Account: account, Model: model, Observation: observation.proto(0, time.Now()),
	})
}

func (l *Limiter) report(ctx context.Context, in *watermasterv1.ReportRequest) (*Advice, error) {
	var out *watermasterv1.ReportResponse
	err := l.service.call(ctx, func(ctx context.Context, a *address) (err error) {
		out, err = a.limiter.Report(ctx, in)
		return err
	})
	if err != nil {
		return nil, l.failure(ctx, err)
	}
	if out.GetPressure() != nil {
		l.press(pressureOf(out.GetPressure()))
	}
	return adviceOf(out.GetAdvice()), nil
}

// Stats count what a Limiter has in hand.
type Stats struct {
	Open     int    // leases that are renewed
	Releases int    // releases that are to be delivered
	Dropped  uint64 // releases given up: too many waited, or the service refused them though it knew the lease
}

// Stats are of this moment.
func (l *Limiter) Stats() Stats {
	waiting, dropped := l.releases.stats()
	return Stats{Open: l.renewals.len(), Releases: waiting, Dropped: dropped}
}

// Close releases leases that are still open as OutcomeUnknown, delivers releases for at most 5 s,
// and ends all that the Limiter has started. Calls that wait get ErrClosed. The error tells of
// releases that could not be delivered; their leases expire by themselves.
func (l *Limiter) Close() error {
	if !l.background.shut() {
		return nil
	}
	l.renewals.close()
	err := l.releases.close()
	l.background.end()
	l.service.close()
	return err
}
