package watermaster

import (
	"context"
	"sync"
	"time"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

const (
	// renewedAtOnce is the most leases that one Renew may name.
	renewedAtOnce = 256
	// renewAgain is after how long a Renew that was not answered is tried again.
	renewAgain = time.Second
)

// renewals keep open leases in force. Those that are due soon go along with the one that is due,
// so that many leases take few calls; between the calls only a timer is there.
type renewals struct {
	limiter *Limiter

	mu    sync.Mutex
	open  map[*hold]struct{}
	timer *time.Timer
	next  time.Time // when the timer fires; zero: it is not set
	ended bool
}

func (r *renewals) add(h *hold) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = map[*hold]struct{}{}
	}
	r.open[h] = struct{}{}
	if h.every > 0 {
		h.due = time.Now().Add(h.every)
		r.set(h.due)
	}
}

func (r *renewals) remove(h *hold) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, h)
}

func (r *renewals) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

// set makes the timer fire no later than due.
func (r *renewals) set(due time.Time) {
	if r.ended || !r.next.IsZero() && !due.Before(r.next) {
		return
	}
	r.next = due
	if r.timer == nil {
		r.timer = time.AfterFunc(time.Until(due), r.renew)
	} else {
		r.timer.Reset(time.Until(due))
	}
}

// renew renews what is due, and what will be within a quarter of its time.
func (r *renewals) renew() {
	b := &r.limiter.background
	if !b.enter() {
		return
	}
	defer b.leave()
	var wg sync.WaitGroup
	for _, batch := range r.due(time.Now()) {
		wg.Go(func() { r.send(b.running, batch) })
	}
	wg.Wait()
}

// due takes what is to be renewed now, by calls, and sets the timer for what comes next. When that
// is does not depend on answers.
func (r *renewals) due(now time.Time) (batches [][]*hold) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = time.Time{}
	var batch []*hold
	for h := range r.open {
		if h.every == 0 {
			continue
		}
		if h.due.Sub(now) <= h.every/4 {
			h.due = now.Add(h.every)
			if batch = append(batch, h); len(batch) == renewedAtOnce {
				batches, batch = append(batches, batch), nil
			}
		}
		r.set(h.due)
	}
	if len(batch) > 0 {
		batches = append(batches, batch)
	}
	return batches
}

func (r *renewals) send(ctx context.Context, batch []*hold) {
	in := &watermasterv1.RenewRequest{LeaseIds: make([]string, len(batch))}
	for i, h := range batch {
		in.LeaseIds[i] = h.id
	}
	var out *watermasterv1.RenewResponse
	err := r.limiter.service.call(ctx, func(ctx context.Context, a *address) (err error) {
		out, err = a.limiter.Renew(ctx, in)
		return err
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		soon := time.Now().Add(renewAgain)
		for _, h := range batch {
			if h.due.After(soon) {
				h.due = soon
			}
		}
		r.set(soon)
		return
	}
	for i, renewal := range out.GetRenewals() {
		if renewal.GetGone() && i < len(batch) && batch[i].id == renewal.GetLeaseId() {
			batch[i].every = 0 // it is still released, so that what it used is charged
		}
	}
}

// close releases what is open, since nothing will renew it any more.
func (r *renewals) close() {
	r.mu.Lock()
	r.ended = true
	if r.timer != nil {
		r.timer.Stop()
	}
	open := make([]*hold, 0, len(r.open))
	for h := range r.open {
		open = append(open, h)
	}
	r.mu.Unlock()
	for _, h := range open {
		h.drop()
	}
}
