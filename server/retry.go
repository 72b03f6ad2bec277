package server

import (
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// A retryBudget keeps retries a part of the calls: when a provider fails, those who try again
// must not become the load. Each first attempt that is granted earns a part of a retry, each
// retry that is granted spends one; a few are free, so that a small fleet can always try
// again. A call that never left is no attempt. It is this process's own: no other decision
// depends on it.
type retryBudget struct {
	balance atomic.Int64 // in 1/1000 of a retry
	earned  atomic.Int64 // limiter.Time up to which free ones were given
}

const (
	oneRetry     = 1000
	freeRetries  = 10 * oneRetry  // that there are at first, and come back …
	freeEvery    = time.Second    // … one in this time
	savedRetries = 100 * oneRetry // the most that is saved
)

func (r *retryBudget) init(now limiter.Time) {
	r.balance.Store(freeRetries)
	r.earned.Store(int64(now))
}

// first notes that a first attempt was granted.
func (r *retryBudget) first(share int) {
	if r.balance.Load() < savedRetries {
		r.balance.Add(int64(share))
	}
}

// spend notes that a retry was granted.
func (r *retryBudget) spend() { r.balance.Add(-oneRetry) }

// unsent notes that a grant was given back unsent: whoever asks again under the next attempt
// tries no more than before.
func (r *retryBudget) unsent() {
	if r.balance.Load() < savedRetries {
		r.balance.Add(oneRetry)
	}
}

// allows says whether there is a retry left.
func (r *retryBudget) allows(now limiter.Time) bool {
	since := r.earned.Load()
	free := (int64(now) - since) / int64(freeEvery)
	if free > 0 && r.earned.CompareAndSwap(since, since+free*int64(freeEvery)) {
		if b := r.balance.Load(); b < freeRetries {
			r.balance.Add(min(free*oneRetry, freeRetries-b))
		}
	}
	return r.balance.Load() >= oneRetry
}

// overspent says whether a request is a retry beyond the budget. One that waits or was
// granted already goes on.
func (o *organization) overspent(e *edition, req *pb.AcquireRequest, key limiter.Key) bool {
	if req.Attempt == 0 || e.settings.RetryBudget >= 1000 || o.retries.allows(o.now()) {
		return false
	}
	o.replica.Lock()
	defer o.replica.Unlock()
	return !o.engine().Knows(key)
}

// tally counts a grant that nobody has had before.
func (o *organization) tally(e *edition, attempt uint32, ev *limiter.Event) {
	switch {
	case ev.Again:
	case attempt == 0:
		o.retries.first(e.settings.RetryBudget)
	default:
		o.retries.spend()
	}
}

// tooManyRetries refuses a retry.
func tooManyRetries(req *pb.AcquireRequest) *pb.AcquireResponse {
	return &pb.AcquireResponse{
		RequestId: req.RequestId,
		Decision: &pb.AcquireResponse_Rejected{Rejected: &pb.Rejected{
			Reason:     pb.Reason_REASON_RETRY_BUDGET,
			RetryAfter: durationpb.New(freeEvery),
			Message:    "too large a part of the calls are retries (retry_budget)",
		}},
		Pressure: &pb.Pressure{Level: pb.PressureLevel_PRESSURE_LEVEL_NORMAL},
	}
}
