package server

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/replica"
	"github.com/watermaster-project/watermaster/store"
)

// Group commit. Commands gather in a batch. Whoever finds nobody leading leads: takes the
// batch, appends it, applies all that comes back, and tells the callers. What has gathered
// meanwhile is the next batch, which one of its own callers leads. So a call that is alone
// is decided on its own goroutine, nobody leads for longer than its own batch takes, and
// no time is spent waiting for a batch to fill.

// propose puts a command into the log and returns when it has been applied; what became
// of it stands in c.out.
func (o *organization) propose(cmd limiter.Command, c *call) {
	lead, ok := o.submit(cmd, c)
	o.proposed(c, lead, ok)
}

// proposeBoth puts two commands into the log, in one entry. What became of the first stands in
// c.out.
func (o *organization) proposeBoth(first, second limiter.Command, c *call) {
	o.mu.Lock()
	lead, ok := o.gather(first, c)
	if ok {
		o.gathering.add(second, nil)
	}
	o.mu.Unlock()
	o.proposed(c, lead, ok)
}

// proposed returns when what a call has submitted has been applied.
func (o *organization) proposed(c *call, lead, ok bool) {
	if !ok {
		c.out.err, c.left = errAway, true
		return
	}
	for {
		if lead {
			o.lead()
		}
		<-c.wake // at once for who has led: the own command was in that batch
		if lead = c.lead; !lead {
			return
		}
		c.lead = false
	}
}

// leave puts a call's Cancel into the log and returns when it has been applied. A grant
// may come until then; it stands in c.end.
func (o *organization) leave(c *call) {
	c.leaving = true
	defer func() { c.leaving = false }()
	lead, ok := o.submit(&c.cancel, c)
	for !ok {
		if o.leaveAlone(c) {
			return
		}
		lead, ok = o.submit(&c.cancel, c)
	}
	for {
		if lead {
			o.lead()
		}
		o.mu.Lock()
		lead, c.lead = c.lead, false
		o.mu.Unlock()
		if lead {
			continue
		}
		o.replica.Lock()
		left := c.left
		if left {
			c.forsake()
		}
		o.replica.Unlock()
		if left {
			return
		}
		<-c.wake
	}
}

// leaveAlone takes a call away while the log is, which is told later; false if it is back.
func (o *organization) leaveAlone(c *call) bool {
	o.replica.Lock()
	defer o.replica.Unlock()
	if !o.solo.away {
		return false
	}
	o.solo.owe(c.cancel)
	o.soloLeave(c.cancel.Key, c, c.cancel.Departure)
	c.forsake()
	c.left = true
	return true
}

// submit adds a command to the batch that gathers, and says whether the caller has to
// lead. ok is false if nothing gathers, for the log is away.
func (o *organization) submit(cmd limiter.Command, c *call) (lead, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.gather(cmd, c)
}

// gather is submit, of a caller that holds mu.
func (o *organization) gather(cmd limiter.Command, c *call) (lead, ok bool) {
	if o.absent {
		return false, false
	}
	if c != nil {
		c.sent = true
	}
	o.gathering.add(cmd, c)
	lead = !o.leading
	o.leading = true
	return lead, true
}

// read lets what others have appended be applied, by whoever leads next or by a goroutine of
// its own. It does not wait for that.
func (o *organization) read() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return
	}
	o.unread = true
	if !o.leading {
		o.leading = true
		o.background.Go(o.lead)
	}
}

// refresh reads what others have appended, if that was not done for a while, so that what is
// shown is not only what concerned this process. It waits for it, but not for a log that is
// away.
func (o *organization) refresh() {
	if o.replica.Age() >= freshFor {
		o.catchUp()
	}
}

// catchUp reads what others have appended until now. It waits for it, but not for a log that
// is away.
func (o *organization) catchUp() {
	if !o.replica.Shared() {
		return
	}
	done := make(chan struct{})
	o.mu.Lock()
	if o.absent {
		o.mu.Unlock()
		return
	}
	o.readers = append(o.readers, done)
	o.mu.Unlock()
	o.read()
	timeout := time.NewTimer(mendEvery)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
	}
}

// freshFor is how old may be what is shown.
const freshFor = 500 * time.Millisecond

// lead commits what has gathered, and hands over to one who came meanwhile, if any.
func (o *organization) lead() {
	if o.replica.Shared() {
		runtime.Gosched() // whoever is about to ask joins this batch; nobody is waited for
	}
	var done *batch
	for {
		if done != nil && o.pass(done) {
			return
		}
		o.mu.Lock()
		b := o.gathering
		o.gathering = o.spare
		o.spare = nil
		o.unread = false
		readers := o.readers
		o.readers = nil
		o.mu.Unlock()

		pause, left, err := o.attempt(b)
		if err != nil && !left {
			o.fail(b, err)
		}
		for _, done := range readers {
			close(done)
		}
		if left {
			o.departLog(b, pause, err)
			return
		}
		if o.replica.InDoubt(&b.Batch) {
			b = &batch{}
		}
		b.clear()
		done = b
	}
}

// pass hands the lead on to one who came meanwhile, or to nobody if nobody has. It says false
// if there is something to do that nobody waits for. done is a batch to be used again.
func (o *organization) pass(done *batch) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.spare = done
	if len(o.gathering.calls) == 0 && !o.unread {
		o.leading = false
		return true
	}
	if next := o.gathering.next(); next != nil {
		next.lead = true
		next.signal()
		return true
	}
	return false
}

// commit puts a batch into the log, and tells its calls what has become of them. One without
// commands only reads. Where the state is lost nothing is appended: others would decide on it,
// and nobody here could tell what came of it.
func (o *organization) commit(ctx context.Context, b *batch) error {
	if o.retired.Load() {
		return errRetired
	}
	o.committing = b
	defer func() { o.committing = nil }()
	if b.Len() == 0 {
		return o.replica.Read(ctx)
	}
	if o.isLost() {
		return errFault
	}
	return o.replica.Commit(ctx, &b.Batch)
}

// isLost says whether the state is lost to a fault.
func (o *organization) isLost() bool {
	o.replica.Lock()
	defer o.replica.Unlock()
	return o.replica.Lost()
}

// Applied implements replica.Machine.
func (o *organization) Applied(own *replica.Batch) {
	if !o.replica.Lost() {
		o.arm()
		_, waiting := o.engine().Counts()
		o.count(waiting)
	}
	if b := o.committing; b != nil && own == &b.Batch {
		o.applied = true
		o.board()
		for _, c := range b.calls {
			if c != nil {
				c.signal()
			}
		}
	}
}

// count tells the server how many wait here. The caller holds the
// replica's lock.
func (o *organization) count(waiting int) {
	if o.closed {
		waiting = 0
	}
	if d := int64(waiting) - o.counted; d != 0 && o.waitingInAll != nil {
		o.counted += d
		o.waitingInAll.Add(d)
	}
}

// mendEvery is how soon a log is asked again that could not be used, so that what is in doubt
// gets there and whoever waits is served when it is back.
const mendEvery = 100 * time.Millisecond

// lostEvery is the same where the log can be reached and not be understood: that takes another
// build, or whoever wrote what is wrong.
const lostEvery = 5 * time.Second

// fail tells the calls of a batch that it did not get into the log, as far as is known.
func (o *organization) fail(b *batch, err error) {
	var fault *replica.Fault
	if errors.As(err, &fault) {
		o.logger.Error("a fault while committing", "fault", fault, "stack", string(fault.Stack))
	} else if !errors.Is(err, errRetired) {
		lost := o.isLost()
		if len(b.calls) > 0 && !lost { // which was told when it was
			o.logger.Error("the log cannot be used", "error", err, "commands", len(b.calls))
		}
		if o.replica.Shared() && !errors.Is(err, store.ErrClosed) {
			pause := mendEvery
			if lost {
				pause = lostEvery
			}
			o.mending.Reset(pause)
		}
		if lost {
			err = errFault
		} else {
			err = &storeError{err}
		}
	}
	o.replica.Lock()
	for i, c := range b.calls {
		if c != nil {
			c.out.err = err
			c.left = true
			c.signal()
		}
		b.calls[i] = nil
	}
	o.replica.Unlock()
}
