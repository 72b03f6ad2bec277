package server

import (
	"context"
	"errors"
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
	lead := o.submit(cmd, c)
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
	lead := o.submit(&c.cancel, c)
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

// submit adds a command to the batch that gathers, and says whether the caller has to
// lead.
func (o *organization) submit(cmd limiter.Command, c *call) (lead bool) {
	o.mu.Lock()
	o.gathering.add(cmd, c)
	lead = !o.leading
	o.leading = true
	o.mu.Unlock()
	return lead
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
	if !o.replica.Shared() || o.replica.Age() < freshFor {
		return
	}
	done := make(chan struct{})
	o.mu.Lock()
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
	var done *batch
	for {
		o.mu.Lock()
		b := o.gathering
		if done != nil {
			o.spare = done
			if len(b.calls) == 0 && !o.unread {
				o.leading = false
				o.mu.Unlock()
				return
			}
			if next := b.next(); next != nil {
				next.lead = true
				next.signal()
				o.mu.Unlock()
				return
			}
		}
		o.gathering = o.spare
		o.spare = nil
		o.unread = false
		readers := o.readers
		o.readers = nil
		o.mu.Unlock()

		if err := o.commit(b); err != nil {
			o.fail(b, err)
		}
		for _, done := range readers {
			close(done)
		}
		if o.replica.InDoubt(&b.Batch) {
			b = &batch{}
		}
		b.clear()
		done = b
	}
}

// commit puts a batch into the log, and tells its calls what has become of them. One without
// commands only reads.
func (o *organization) commit(b *batch) error {
	if o.retired.Load() {
		return errRetired
	}
	o.committing = b
	defer func() { o.committing = nil }()
	if b.Len() == 0 {
		return o.replica.Read(context.Background())
	}
	return o.replica.Commit(context.Background(), &b.Batch)
}

// Applied implements replica.Machine.
func (o *organization) Applied(own *replica.Batch) {
	if !o.replica.Lost() {
		o.arm()
		_, waiting := o.engine().Counts()
		o.count(waiting)
	}
	if b := o.committing; b != nil && own == &b.Batch {
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

// fail tells the calls of a batch that it did not get into the log, as far as is known.
func (o *organization) fail(b *batch, err error) {
	var fault *replica.Fault
	if errors.As(err, &fault) {
		o.logger.Error("a fault while committing", "fault", fault, "stack", string(fault.Stack))
	} else if !errors.Is(err, errRetired) {
		if len(b.calls) > 0 {
			o.logger.Error("the log cannot be used", "error", err, "commands", len(b.calls))
		}
		if o.replica.Shared() && !errors.Is(err, store.ErrClosed) {
			o.mending.Reset(mendEvery)
		}
		err = &storeError{err}
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
