package server

import (
	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/policy"
)

// sightLease goes on with a call that names a lease: one that runs has paid for it. done is false
// where the lease is unknown, has ended or is not the caller's: then the call draws for itself,
// and at its end there is nothing to tell, for whoever had the lease has settled it.
func (s *Server) sightLease(d *drawing) (done bool, err error) {
	if d.leaseID == "" {
		return false, nil
	}
	l, ok := parseLease(d.leaseID)
	if !ok || l.organization != d.o.fingerprint {
		d.leaseID = "" // never one of ours
		return false, nil
	}
	t, ok := d.o.trace(l.id)
	if !ok {
		d.o.catchUp() // another process may have granted it just now
		t, ok = d.o.trace(l.id)
	}
	if !ok || t.Settled || t.Expired && d.phase != endPhase || !d.mayUse(t.Project) {
		return false, nil
	}
	own := d.requestID != "" && d.traceKey(drawKey(t.Project, d.requestID)).Lease == l.id
	d.pool, d.model = t.Pool, t.Model
	switch {
	case own && (d.phase == endPhase || d.phase == eitherPhase):
		return true, d.settle(t)
	case d.phase == endPhase:
		return true, d.settleWorker(t)
	}
	return true, nil
}

// mayUse says whether the caller's credential is for a project.
func (d *drawing) mayUse(project string) bool {
	if d.caller == nil || d.caller.AnyProject() {
		return true
	}
	_, err := d.caller.Project(project)
	return err == nil
}

// sightRequest goes on with a call that has a request_id of which something is known.
func (s *Server) sightRequest(d *drawing) (done bool, err error) {
	if d.o.replica.Shared() && d.o.replica.Age() >= drawFresh {
		d.o.catchUp()
	}
	done, err = d.known()
	if !done && err == nil && d.phase == endPhase {
		d.o.catchUp() // its lease may be younger than what was read here
		done, err = d.known()
	}
	return done, err
}

// known goes on with a call whose lease is known here: one of its own, or a worker's.
func (d *drawing) known() (done bool, err error) {
	if t := d.traceKey(d.draw.Key); t.Lease != (limiter.LeaseID{}) {
		d.pool, d.model = t.Pool, t.Model
		switch {
		case t.Settled:
			if d.phase == endPhase {
				return true, nil // told twice
			}
		case d.phase != requestPhase:
			return true, d.settle(t)
		case !t.Expired:
			d.lease, d.leased = t.Lease, true
			d.count(func(c classCounts) { c.GrantedAgain() })
			return true, nil
		}
	}
	t, open := d.worker()
	switch {
	case open && d.phase == endPhase:
		d.pool, d.model = t.Pool, t.Model
		return true, d.reportWorker(t)
	case open:
		d.pool, d.model = t.Pool, t.Model
		return true, nil
	case d.phase == endPhase && t.Lease != (limiter.LeaseID{}):
		return true, nil // the worker has settled it
	}
	return false, nil
}

// worker finds the lease that a worker has for the call under its own request_id: one that runs,
// or else one that has.
func (d *drawing) worker() (latest limiter.Trace, open bool) {
	if d.requestID == "" {
		return limiter.Trace{}, false
	}
	var keys [workerAttempts]limiter.Key
	for i := range keys {
		keys[i] = policy.Key(d.requestID, uint32(i))
	}
	d.o.replica.Lock()
	defer d.o.replica.Unlock()
	for i := range keys {
		t, ok := d.o.engine().TraceKey(keys[i])
		if !ok || t.Project != d.draw.Project && (d.named || !d.mayUse(t.Project)) {
			continue
		}
		if latest = t; !t.Settled && !t.Expired {
			return t, true
		}
	}
	return latest, false
}

func (d *drawing) traceKey(key limiter.Key) limiter.Trace {
	d.o.replica.Lock()
	defer d.o.replica.Unlock()
	t, _ := d.o.engine().TraceKey(key)
	return t
}

func (o *organization) trace(id limiter.LeaseID) (limiter.Trace, bool) {
	o.replica.Lock()
	defer o.replica.Unlock()
	return o.engine().Trace(id)
}

// had gives what a lease is charged.
func (d *drawing) had(id limiter.LeaseID) (charges []limiter.LeaseCharge) {
	d.o.replica.Lock()
	defer d.o.replica.Unlock()
	charges, _ = d.o.engine().Lease(id, nil)
	return charges
}

// settle ends a lease of the call's own with what it has used.
func (d *drawing) settle(t limiter.Trace) error {
	d.draw.Lease = t.Lease
	d.e.policy.Settle(&d.draw, policy.TargetOf(t.Pool, t.Model), d.had(t.Lease), &d.call.release)
	return d.tell(&d.call.release)
}

// settleWorker ends a worker's lease with what the call has used.
func (d *drawing) settleWorker(t limiter.Trace) error {
	d.draw.Lease = t.Lease
	d.e.policy.SettleWorker(&d.draw, policy.TargetOf(t.Pool, t.Model), d.had(t.Lease), &d.call.release)
	return d.tell(&d.call.release)
}

// reportWorker tells what a call has used whose lease its worker will settle.
func (d *drawing) reportWorker(t limiter.Trace) error {
	d.draw.Lease = t.Lease
	d.e.policy.ReportDraw(&d.draw, policy.TargetOf(t.Pool, t.Model), d.had(t.Lease), &d.call.report)
	return d.tell(&d.call.report)
}

// tell tells the log of an end.
func (d *drawing) tell(cmd limiter.Command) error {
	c := d.call
	c.out.reset()
	d.o.propose(cmd, c)
	if c.out.err == nil && c.out.event.Kind == limiter.NotFound && d.o.restoring() {
		return errRestoring
	}
	return c.out.err
}
