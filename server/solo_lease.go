package server

import (
	"github.com/watermaster-project/watermaster/limiter"
)

// Leases that were granted alone. While the log is away, they are settled, renewed and
// reported on here, and the log is told when it is back; whatever concerns another lease is
// UNAVAILABLE, to be told again. Once the log is back, all goes there, and what was granted
// here follows it, so that what was really used counts in the next absence.

// soloHas says whether a lease is one that can be settled without the log. The caller holds the
// replica's lock.
func (o *organization) soloHas(id limiter.LeaseID) bool {
	return o.solo.away && o.solo.engine.Granted(id)
}

// soloRelease settles a lease without the log, if it may.
func (o *organization) soloRelease(c *call) {
	o.replica.Lock()
	defer o.replica.Unlock()
	if !o.soloHas(c.release.Lease) {
		return
	}
	engine := o.solo.engine.Engine()
	before, _ := engine.Lease(c.release.Lease, c.out.before[:0])
	project, _, _, _ := engine.Holder(c.release.Lease)
	for _, ev := range o.soloApply(&c.release) {
		if ev.Kind == limiter.Settled && ev.Lease == c.release.Lease {
			c.out.event, c.out.err = ev, nil
		}
	}
	c.out.project, c.out.before = project, before
	c.out.charges, _ = engine.Lease(c.release.Lease, c.out.charges[:0])
	o.solo.arm(o)
}

// soloGiveBack returns a grant that was made alone and that nobody will be told of: unsent.
func (o *organization) soloGiveBack(c *call, out *outcome) {
	if out.shared || out.event.Again {
		return
	}
	c.release = limiter.Release{Lease: out.event.Lease, Outcome: limiter.Unsent}
	o.replica.Lock()
	away := o.solo.away
	if away {
		o.soloApply(&c.release)
	}
	o.replica.Unlock()
	if !away {
		o.propose(&c.release, c)
	}
}

// soloReport books what a call has used so far without the log, if it may.
func (o *organization) soloReport(c *call) {
	o.replica.Lock()
	defer o.replica.Unlock()
	if c.report.Lease == (limiter.LeaseID{}) || !o.soloHas(c.report.Lease) {
		return
	}
	for _, ev := range o.soloApply(&c.report) {
		if ev.Kind == limiter.Reported {
			c.out.event, c.out.err = ev, nil
		}
	}
	o.solo.arm(o)
}

// soloRenew renews leases without the log, if all are such that it may.
func (o *organization) soloRenew(c *call) {
	o.replica.Lock()
	defer o.replica.Unlock()
	for _, id := range c.renew.Leases {
		if !o.soloHas(id) {
			return
		}
	}
	c.out.err = nil
	c.out.renewed = append(c.out.renewed[:0], o.soloApply(&c.renew)...)
	o.solo.arm(o)
}

// soloFollow lets what was granted alone follow what becomes of it in the log. The caller holds
// the replica's lock.
func (o *organization) soloFollow(cmd limiter.Command) {
	e := o.solo.engine
	switch cmd := cmd.(type) {
	case *limiter.Release:
		if e.Granted(cmd.Lease) {
			o.soloApply(cmd)
		}
	case *limiter.Report:
		if cmd.Lease != (limiter.LeaseID{}) && e.Granted(cmd.Lease) {
			o.soloApply(&limiter.Report{Lease: cmd.Lease, Actual: cmd.Actual})
		}
	case *limiter.Renew:
		var own limiter.Renew
		for _, id := range cmd.Leases {
			if e.Granted(id) {
				own.Leases = append(own.Leases, id)
			}
		}
		if len(own.Leases) > 0 {
			o.soloApply(&own)
		}
	}
}
