package watermaster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

const (
	keptReleases  = 10_000
	sendersAtOnce = 16
	flushTimeout  = 5 * time.Second
	// busyTries is how often a release is sent to a service that protects itself.
	busyTries = 5
)

// releases deliver what ended, in the background and about in order, and keep it while the
// service is away. Senders run only while there is something to send; of a service that is away
// one alone asks whether it is back.
type releases struct {
	limiter *Limiter

	mu      sync.Mutex
	kept    []*release
	sending int
	dropped uint64
	wait    backoff
	paused  *time.Timer   // the service is away; nil: it answers
	flushed chan struct{} // closed when nothing is left; nil: nobody asks
	ended   bool
}

type release struct {
	in    *watermasterv1.ReleaseRequest
	key   *watermasterv1.AcquireRequest // of a grant that may have been missed; in is nil until it is known
	seen  time.Time                     // when the observation was made
	tries int
}

func (r *releases) push(in *watermasterv1.ReleaseRequest, seen time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(&release{in: in, seen: seen})
	if r.paused == nil {
		r.start()
	}
}

// takeBack gives back what an Acquire may have been granted just as its caller went: asked once
// more, the key tells. It is not for keys under which the caller may come back.
func (r *releases) takeBack(key *watermasterv1.AcquireRequest) {
	key.Block, key.MaxWait = durationpb.New(0), durationpb.New(0)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paused == nil { // or there is nobody to ask
		r.keep(&release{key: key})
		r.start()
	}
}

// keep puts a release at the end, and drops the oldest where too many wait.
func (r *releases) keep(one *release) {
	if r.ended {
		r.dropped++
		return
	}
	if len(r.kept) >= keptReleases {
		r.kept[0], r.kept = nil, r.kept[1:]
		r.dropped++
	}
	r.kept = append(r.kept, one)
}

// start adds a sender if there is work for one more.
func (r *releases) start() {
	if r.sending >= sendersAtOnce || len(r.kept) == 0 || !r.limiter.background.enter() {
		return
	}
	r.sending++
	go r.send()
}

func (r *releases) send() {
	defer r.limiter.background.leave()
	for one := r.take(); one != nil; one = r.take() {
		_, err := r.once(r.limiter.background.running, one)
		r.sent(one, err)
	}
}

// take is the next to be sent. Nil: the sender ends.
func (r *releases) take() *release {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) == 0 || r.paused != nil {
		r.sending--
		r.tell()
		return nil
	}
	one := r.kept[0]
	r.kept[0], r.kept = nil, r.kept[1:]
	return one
}

// once sends a release, with the age that its observation has by now.
func (r *releases) once(ctx context.Context, one *release) (*watermasterv1.ReleaseResponse, error) {
	if o := one.in.GetObservation(); o != nil {
		if age := time.Since(one.seen); age >= 10*time.Millisecond {
			o.Age = durationpb.New(min(age, 24*time.Hour))
		}
	}
	one.tries++
	if one.in == nil {
		var answer *watermasterv1.AcquireResponse
		err := r.limiter.service.call(ctx, func(ctx context.Context, a *address) (err error) {
			answer, err = a.limiter.Acquire(ctx, one.key)
			return err
		})
		if err != nil || answer.GetGranted() == nil {
			return nil, nil
		}
		one.in = &watermasterv1.ReleaseRequest{LeaseId: answer.GetGranted().GetLeaseId(), Outcome: watermasterv1.Outcome_OUTCOME_UNSENT}
	}
	var out *watermasterv1.ReleaseResponse
	err := r.limiter.service.call(ctx, func(ctx context.Context, a *address) (err error) {
		out, err = a.limiter.Release(ctx, one.in)
		return err
	})
	return out, err
}

// sent goes on after an answer, or puts the release back and pauses. Errors that are no absence
// are final: the lease is unknown, say.
func (r *releases) sent(one *release, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if again(one, err) {
		r.keep(one)
		r.pause()
		return
	}
	if err != nil && status.Code(err) != codes.NotFound {
		r.dropped++
	}
	if r.paused == nil && r.wait.last > 0 { // it is back: all may send
		r.wait = backoff{}
		for range min(len(r.kept), sendersAtOnce) {
			r.start()
		}
	}
}

func again(one *release, err error) bool {
	return err != nil && (unanswered(err) || status.Code(err) == codes.ResourceExhausted && one.tries < busyTries)
}

// pause sends nothing for a while, and then tries with one.
func (r *releases) pause() {
	if r.paused != nil || r.ended {
		return
	}
	r.wait.least, r.wait.most = 100*time.Millisecond, 5*time.Second
	if r.flushed != nil {
		r.wait.most = 500 * time.Millisecond
	}
	r.paused = time.AfterFunc(r.wait.next(), r.resume)
}

func (r *releases) resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paused = nil
	if r.sending == 0 {
		r.start()
	}
}

// deliver sends a release at once and waits for the advice. What is not answered is kept.
func (r *releases) deliver(ctx context.Context, in *watermasterv1.ReleaseRequest, seen time.Time) *Advice {
	ctx, cancel := context.WithTimeout(ctx, adviceTimeout)
	defer cancel()
	one := &release{in: in, seen: seen}
	out, err := r.once(ctx, one)
	if err != nil && (ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || again(one, err)) {
		r.push(in, seen)
		return nil
	}
	return adviceOf(out.GetAdvice())
}

func (r *releases) stats() (waiting int, dropped uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.kept) + r.sending, r.dropped
}

// tell tells close that nothing is left.
func (r *releases) tell() {
	if r.flushed != nil && r.sending == 0 && len(r.kept) == 0 {
		close(r.flushed)
		r.flushed = nil
	}
}

// close delivers what is left, for at most flushTimeout.
func (r *releases) close() error {
	flushed := make(chan struct{})
	r.mu.Lock()
	r.flushed = flushed
	r.tell()
	if r.paused != nil && r.paused.Stop() {
		r.paused, r.wait = nil, backoff{}
		r.start()
	}
	r.mu.Unlock()

	timer := time.NewTimer(flushTimeout)
	defer timer.Stop()
	select {
	case <-flushed:
	case <-timer.C:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended, r.flushed = true, nil
	if r.paused != nil {
		r.paused.Stop()
	}
	if left := len(r.kept) + r.sending; left > 0 {
		return fmt.Errorf("watermaster: %d releases could not be delivered; their leases expire by themselves", left)
	}
	return nil
}
