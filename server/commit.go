package server

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/metrics"
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
		o.state.Lock()
		left := c.left
		if left {
			c.forsake()
		}
		o.state.Unlock()
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

// lead commits what has gathered, and hands over to one who came meanwhile, if any.
func (o *organization) lead() {
	var done *batch
	for {
		o.mu.Lock()
		b := o.gathering
		if done != nil {
			o.spare = done
			if len(b.calls) == 0 {
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
		o.mu.Unlock()

		if err := o.commit(b); err != nil {
			o.fail(b, err)
		}
		if o.doubt == b {
			b = &batch{}
		}
		b.clear()
		done = b
	}
}

// commit appends a batch, applies what comes back, and tells the batch's calls. A fault
// of ours must not leave the organization without a leader: it is an error.
func (o *organization) commit(b *batch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &faultError{r, debug.Stack()}
		}
	}()
	if o.retired.Load() {
		return errRetired
	}
	ctx := context.Background()
	if o.broken {
		if err := o.reload(ctx, nil); err != nil {
			return err
		}
		o.broken, o.doubt = false, nil
	}
	if d := o.doubt; d != nil {
		if err := o.append(ctx, d); err != nil {
			return err
		}
		o.doubt = nil
	}
	claim, joined := o.log.Now(o.name)
	if !joined && !b.Join {
		join := &batch{}
		join.Join = true
		join.add(&limiter.Join{Incarnation: o.incarnation, Behaviour: limiter.Behaviour}, nil)
		o.seal(join, claim)
		if err := o.append(ctx, join); err != nil {
			return err
		}
		claim, _ = o.log.Now(o.name)
	}
	o.seal(b, claim)
	if err := o.append(ctx, b); err != nil {
		return err
	}
	o.snapshot()
	return nil
}

// seal closes a batch: from here on it is never changed.
func (o *organization) seal(b *batch, claim store.Claim) {
	o.number++
	b.Incarnation, b.Number, b.Claim = o.incarnation, o.number, claim
}

// How often an append is repeated, and after how long for the first time.
const (
	appendTries = 4
	appendPause = 10 * time.Millisecond
)

// append sends a batch until it is seen in the log, for a while: then its fate is in doubt
// and it is kept.
func (o *organization) append(ctx context.Context, b *batch) error {
	pause := appendPause
	for try := 1; ; try++ {
		counts := o.edition.Load().counts.Log
		start := metrics.Now()
		entries, err := o.log.Append(ctx, o.name, o.position, b.Batch, o.entries[:0])
		if err == nil {
			appended := metrics.Now()
			o.take(entries, b)
			counts.Committed(len(b.calls), start, appended)
			clear(entries)
			o.entries = entries[:0]
			return nil
		}
		counts.Failed()
		switch {
		case errors.Is(err, store.ErrBroken):
			o.broken = true
			return err
		case errors.Is(err, store.ErrClosed):
			return err
		case try == appendTries:
			o.doubt = b
			return err
		}
		time.Sleep(pause)
		pause *= 2
	}
}

// take applies entries and tells the calls of the batch among them.
func (o *organization) take(entries []store.Entry, b *batch) {
	o.state.Lock()
	defer o.state.Unlock()
	for i := range entries {
		e := &entries[i]
		if e.Incarnation == b.Incarnation && e.Number == b.Number {
			o.apply(e, b)
		} else {
			o.apply(e, nil)
		}
	}
	if !o.lost {
		o.arm()
		_, waiting := o.engine.Counts()
		o.count(waiting)
	}
	for _, c := range b.calls {
		if c != nil {
			c.signal()
		}
	}
}

// count tells the server how many wait here. The caller holds state.
func (o *organization) count(waiting int) {
	if o.closed {
		waiting = 0
	}
	if d := int64(waiting) - o.counted; d != 0 && o.waitingInAll != nil {
		o.counted += d
		o.waitingInAll.Add(d)
	}
}

// fail tells the calls of a batch that it did not get into the log, as far as is known.
func (o *organization) fail(b *batch, err error) {
	var fault *faultError
	if errors.As(err, &fault) {
		o.logger.Error("a fault while committing", "fault", fault, "stack", string(fault.stack))
	} else if !errors.Is(err, errRetired) {
		o.logger.Error("the log cannot be used", "error", err, "commands", len(b.calls))
		err = &storeError{err}
	}
	o.state.Lock()
	for i, c := range b.calls {
		if c != nil {
			c.out.err = err
			c.left = true
			c.signal()
		}
		b.calls[i] = nil
	}
	o.state.Unlock()
}
