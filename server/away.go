package server

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/replica"
	"github.com/watermaster-project/watermaster/store"
)

// A log that is shared may be out of reach. Then nothing gathers for it any more. Who asks is
// answered by what this process may grant alone (solo.go), and one goroutine looks for the log
// until it is there again: it resends what is in doubt, tells the log what has happened
// meanwhile, and only then lets others go on.

const (
	// defaultTimeout is how long a shared log may take for a batch before it is away.
	defaultTimeout = 100 * time.Millisecond
	// spareTime is what a batch may take beyond the log's own timeout where it is tried again.
	spareTime = 20 * time.Millisecond
	// notServingAfter is how long a log is away before clients are sent to other processes.
	notServingAfter = time.Second
	// awayLogEvery is how often it is told that a log is still away.
	awayLogEvery = 30 * time.Second
)

// errAway says that the log cannot be reached, and that nothing is granted without it.
var errAway error = &storeError{errors.New("it is away")}

// attempt commits a batch, again while that fails and the log is not yet away. left says that
// it is, and pause how long to wait before it is looked for.
func (o *organization) attempt(b *batch) (pause time.Duration, left bool, err error) {
	if !o.opened.Load() || o.breaker == nil {
		return 0, false, o.commit(context.Background(), b)
	}
	first := time.Now()
	err = o.commit(context.Background(), b)
	for began := first; o.unreachable(err); {
		if pause, left = o.breaker.Failed(began, time.Now()); left {
			return pause, true, err
		}
		time.Sleep(pause)
		began = time.Now()
		ctx, cancel := context.WithDeadline(context.Background(), first.Add(o.timeout+spareTime))
		err = o.recommit(ctx, b)
		cancel()
	}
	if err == nil {
		o.breaker.Succeeded()
	}
	return 0, false, err
}

// recommit commits a batch again, as it is if it may be in the log already.
func (o *organization) recommit(ctx context.Context, b *batch) error {
	if !o.replica.InDoubt(&b.Batch) {
		return o.commit(ctx, b)
	}
	o.committing, o.applied = b, false
	err := o.replica.Read(ctx)
	o.committing = nil
	switch {
	case o.applied: // its calls have been told; what more there is to read comes with the next
		return nil
	case o.replica.InDoubt(&b.Batch):
		return err
	}
	// The log broke, and another batch tells what must not be lost of this one. Its calls ask
	// again, by the same keys and leases.
	return o.commit(ctx, b)
}

// unreachable says whether an error is one of the log, and not of what it holds.
func (o *organization) unreachable(err error) bool {
	var fault *replica.Fault
	if err == nil || errors.Is(err, errRetired) || errors.Is(err, errFault) || errors.Is(err, store.ErrClosed) || errors.As(err, &fault) {
		return false
	}
	o.replica.Lock()
	defer o.replica.Unlock()
	return !o.replica.Lost()
}

// departLog begins an absence: nothing gathers any more, and whoever waits for a batch asks here
// instead. The caller led, and does not lead any more.
func (o *organization) departLog(b *batch, pause time.Duration, cause error) {
	if o.domain == nil {
		o.logger.Error("the log cannot be reached: this process goes on alone, as when_away says", "error", cause)
	} else {
		o.logger.Error("the log cannot be reached: Envoy's requests to the domain are answered UNAVAILABLE, so that its failure_mode decides", "error", cause)
	}
	o.replica.Lock()
	o.mu.Lock()
	o.absent = true
	gathered := o.gathering
	o.gathering, o.unread = &batch{}, false
	o.release()
	ended := o.ended
	if !ended {
		o.background.Go(func() { o.seek(pause) })
	}
	o.mu.Unlock()
	o.solo.leave(o)
	o.orphan(b)
	o.orphan(gathered)
	o.soloWaiters()
	o.replica.Unlock()
	o.onAway()
}

// orphan sends the calls of a batch away, whose fate is not known. The caller holds the
// replica's lock.
func (o *organization) orphan(b *batch) {
	for i, c := range b.calls {
		switch {
		case c == nil:
			continue
		case c.leaving:
			o.solo.owe(c.cancel)
			o.soloLeave(c.cancel.Key, c, c.cancel.Departure)
			c.forsake()
			c.left = true
		default:
			c.out.err, c.left = errAway, true
		}
		b.calls[i] = nil
		c.signal()
	}
}

// seek looks for the log until it is there.
func (o *organization) seek(pause time.Duration) {
	told := time.Now()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-o.stopped:
			return
		}
		if o.retired.Load() { // nothing is appended any more
			return
		}
		began := time.Now()
		err := o.meet()
		if err == nil {
			break
		}
		if time.Since(told) > awayLogEvery {
			told = time.Now()
			o.logger.Error("the log can still not be reached", "error", err)
		}
		pause, _ = o.breaker.Failed(began, time.Now())
		if o.isLost() { // it is there, and all of it was loaded in vain
			pause = lostEvery
		}
		timer.Reset(pause)
	}
	o.breaker.Succeeded()
	o.onAway()
	o.logger.Info("the log is back")
	if !o.pass(&batch{}) {
		o.lead()
	}
}

// meet reads the log and tells it what has happened without it. With that the absence is over.
func (o *organization) meet() error {
	ctx := context.Background() // the log's own timeouts hold, of which whole states have longer ones
	if err := o.replica.Read(ctx); err != nil {
		return err
	}
	for {
		d := o.owed()
		if d == nil {
			return nil
		}
		if err := o.replica.Commit(ctx, &d.batch); err != nil {
			if !o.replica.InDoubt(&d.batch) {
				o.replica.Lock()
				o.solo.owing = append(d.cancels, o.solo.owing...)
				o.replica.Unlock()
			}
			return err
		}
		o.replica.Lock()
		o.solo.engine.Told(d.leases)
		o.solo.configured = o.solo.configured || d.configures
		o.replica.Unlock()
	}
}

// A debt is what the log is told at once of an absence. It counts as told when it is known to be
// in the log: before that the log may break, and a debt in doubt be left out of what goes in anew.
type debt struct {
	batch      replica.Batch
	cancels    []limiter.Cancel
	leases     []limiter.LeaseState
	configures bool
}

// owed gives what the log is to be told: who has left meanwhile, then what was granted, then
// a configuration. Nil: nothing; then the absence is over.
func (o *organization) owed() *debt {
	o.replica.Lock()
	defer o.replica.Unlock()
	if o.replica.Lost() { // it cannot be told, and whoever asks has to hear of it
		o.arrive()
		return nil
	}
	d := &debt{}
	d.cancels, o.solo.owing = o.solo.owing, nil
	for i := range d.cancels {
		d.batch.Add(&d.cancels[i])
	}
	d.leases = o.soloLost(o.engine(), nil)
	for _, cmd := range replica.Restoring(d.leases) {
		d.batch.Add(cmd)
	}
	if n := o.next; n != nil && !o.solo.configured {
		d.configures = true
		d.batch.Add(o.configure(n))
	}
	if d.batch.Len() == 0 {
		o.arrive()
		return nil
	}
	return d
}

// arrive ends an absence: who waited for the log goes on to ask it. The caller holds the
// replica's lock.
func (o *organization) arrive() {
	o.solo.arrive(o)
	o.returned = time.Now()
	o.mu.Lock()
	o.absent = false
	o.mu.Unlock()
	o.arm()
}

// release lets those go on who want to look at what was read last. The caller holds mu.
func (o *organization) release() {
	for _, done := range o.readers {
		close(done)
	}
	o.readers = nil
}

// isAway says since when the log is away, if it is.
func (o *organization) isAway() (since time.Time, away bool) {
	if o.breaker == nil {
		return since, false
	}
	return o.breaker.Away()
}

// partUntil says until when this process has a part of what may be granted without the log;
// 0: it has none. The caller holds the replica's lock.
func (o *organization) partUntil() limiter.Time {
	seat, until, ok := o.engine().Seat(o.incarnation)
	if !ok || seat >= o.edition.Load().settings.MaxReplicas {
		return 0
	}
	return until
}

// leaveSeat gives the process's part to whoever comes after it. Without it, that is kept for a
// day, for all that the others know.
func (o *organization) leaveSeat() {
	if !o.opened.Load() || !o.replica.Shared() {
		return
	}
	o.replica.Lock()
	e := o.solo.engine
	cmd := &limiter.Leave{Incarnation: o.incarnation, Spent: e != nil && !e.Idle(o.now())}
	o.replica.Unlock()
	c := o.calls.get()
	defer c.free()
	o.propose(cmd, c)
}

// byArrival orders the places of those who wait.
func byArrival(a, b *place) int { return cmp.Compare(a.since, b.since) }

// soloWaiters lets those who wait in the log's queue ask here too, in the order in which they
// came. The caller holds the replica's lock.
func (o *organization) soloWaiters() {
	var places []*place
	for _, p := range o.places { // sorted next
		if p.calls != nil {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, byArrival)
	for _, p := range places {
		key := p.calls.acquire.Key
		for c := p.calls; c != nil; c = c.same {
			o.solo.calls[key] = append(o.solo.calls[key], c)
		}
		o.soloAsk(&p.calls.acquire)
	}
}
