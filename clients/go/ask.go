package watermaster

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

const (
	// longestBlock is how long one Acquire stays open, and answerWithin how much longer an answer
	// may take.
	longestBlock = 10 * time.Second
	answerWithin = 5 * time.Second
	// awayPatience is how long callers that set no patience wait for a service that is away.
	awayPatience = 30 * time.Second
	// openAfter is how long the service is given before Open and Local apply.
	openAfter = time.Second
	// leastPause keeps answers that come at once from being asked for in a loop.
	leastPause = 50 * time.Millisecond
)

// ask asks until the request is granted, refused or out of patience. The request is complete: its
// key, and what contexts and options add. Deadline ends the caller's patience; zero: the
// service's class does. With Open and Local a lease may have no ID.
func (l *Limiter) ask(ctx context.Context, r *Request, deadline time.Time) (*Lease, error) {
	if !l.background.ask() {
		return nil, ErrClosed
	}
	defer l.background.asks.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.background.asking, cancel)()

	rpc := ctx
	if _, has := ctx.Deadline(); has && !r.kept {
		rpc, cancel = context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
	}
	a := asking{limiter: l, rpc: rpc, request: r, deadline: deadline, begun: time.Now(), wait: backoff{least: 100 * time.Millisecond, most: 2 * time.Second}}
	defer a.local.cancel()
	var patience *durationpb.Duration
	if !deadline.IsZero() {
		patience = durationpb.New(max(deadline.Sub(a.begun), 0))
	}
	a.in = r.proto(l, patience)
	for {
		out, err := a.once()
		var pause time.Duration
		switch {
		case err == nil:
			p := pressureOf(out.GetPressure())
			if out.GetPressure() != nil {
				l.press(p)
			}
			if granted := out.GetGranted(); granted != nil {
				lease := l.grant(granted, r, p, a.sent, a.waited)
				if ctx.Err() != nil {
					lease.Release(End{Outcome: OutcomeUnsent})
					return nil, l.failure(ctx, ctx.Err())
				}
				return lease, nil
			}
			wait := out.GetWait()
			if wait == nil {
				return nil, a.refused(rejectedOf(out.GetRejected()), p)
			}
			if !deadline.IsZero() && time.Now().After(deadline) {
				return nil, a.refused(&Rejected{
					Reason: WaitTooLong, RetryAfter: new(wait.GetRetryAfter().AsDuration()), Binding: bindingsOf(wait.GetBinding()),
					Message: "max_wait has passed",
				}, p)
			}
			a.awaySince = time.Time{}
			pause = a.pause(wait.GetRetryAfter().AsDuration())
		case unanswered(err) && ctx.Err() == nil:
			lease, again, err := a.away(err)
			if lease != nil || err != nil {
				return lease, err
			}
			pause = again
		default:
			if ctx.Err() != nil && !r.kept {
				l.releases.takeBack(a.in)
			}
			return nil, l.failure(ctx, err)
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, l.failure(ctx, err)
		}
		a.waited = time.Since(a.begun)
	}
}

// asking is the state of one ask.
type asking struct {
	limiter *Limiter
	// Ends with the caller's context. The service keeps the place of a call whose deadline passes,
	// for the caller may come back; where it will not, this has no deadline and is cancelled.
	rpc       context.Context
	request   *Request
	in        *watermasterv1.AcquireRequest
	deadline  time.Time
	begun     time.Time
	sent      time.Time // when the last Acquire left
	queued    bool      // the service has answered, and holds the place
	awaySince time.Time
	waited    time.Duration // before the last Acquire left
	wait      backoff
	local     reservation
}

// once makes one Acquire, at any address. Before Open and Local apply the service has a second:
// the first call of an ask is short, so that a long one is known to wait in the queue.
func (a *asking) once() (*watermasterv1.AcquireResponse, error) {
	l := a.limiter
	block := longestBlock
	if !a.deadline.IsZero() {
		block = max(min(block, time.Until(a.deadline)), 0)
	}
	timeout, quick := block+answerWithin, false
	if l.options.WhenAway != Closed && !a.queued {
		timeout = openAfter / time.Duration(len(l.service.addresses))
		block, quick = min(block, timeout/2), l.away.Load()
	}
	a.in.Block = durationpb.New(block)
	var out *watermasterv1.AcquireResponse
	err := l.service.callWithin(a.rpc, timeout, quick, func(ctx context.Context, at *address) (err error) {
		a.sent = time.Now()
		out, err = at.limiter.Acquire(ctx, a.in, grpc.WaitForReady(false))
		return err
	})
	a.queued = err == nil
	return out, err
}

// pause is how long to wait before asking again.
func (a *asking) pause(retryAfter time.Duration) time.Duration {
	if took := time.Since(a.sent); took < leastPause {
		retryAfter = max(retryAfter, leastPause)
	}
	if !a.deadline.IsZero() { // the service then says no, and why
		retryAfter = min(retryAfter, max(time.Until(a.deadline), leastPause))
	}
	return retryAfter
}

func (a *asking) refused(r *Rejected, p Pressure) *Rejected {
	r.RequestID, r.Pressure = a.request.RequestID, p
	return r
}

// away decides what no address has answered: a lease, an error, or when to try again.
func (a *asking) away(cause error) (*Lease, time.Duration, error) {
	l, now := a.limiter, time.Now()
	if a.awaySince.IsZero() {
		a.awaySince = now
		if !a.queued && l.options.WhenAway != Closed {
			a.awaySince = a.begun
		}
	}
	if l.options.WhenAway == Closed {
		end := first(a.deadline, a.awaySince.Add(awayPatience))
		if left := end.Sub(now); left > 0 {
			return nil, min(a.wait.next(), left), nil
		}
		return nil, 0, l.failure(context.Background(), cause)
	}
	if left := a.awaySince.Add(openAfter).Sub(now); left > 0 && !l.away.Load() {
		return nil, min(a.wait.next(), left), nil
	}
	l.away.Store(true)
	if l.local == nil {
		return a.unleased(), 0, nil
	}
	end := first(a.deadline, a.begun.Add(awayPatience))
	if !a.local.made() {
		var refused *Rejected
		if a.local, refused = l.local.reserve(now, end, a.request); refused != nil {
			return nil, 0, a.refused(refused, Pressure{})
		}
	}
	if left := a.local.at.Sub(now); left > 0 {
		return nil, min(a.wait.next(), left), nil
	}
	a.local.keep()
	return a.unleased(), 0, nil
}

// unleased lets a call go on this process's own account.
func (a *asking) unleased() *Lease {
	return &Lease{
		Target: Target{Model: a.request.Model}, RequestID: a.request.RequestID, Attempt: a.request.Attempt,
		Waited: time.Since(a.begun), askedAt: a.begun,
	}
}
