package limiter

// Holder tells for whom a lease is in force, or was until it ended, and in which pool;
// false if the lease is unknown. Pool is "" when the configuration no longer has it.
func (e *Engine) Holder(id LeaseID) (project, class, pool string, ok bool) {
	t := e.leases[id]
	if t == nil {
		return "", "", "", false
	}
	return t.project.name, e.classes[t.class].Name, t.poolName(), true
}

// Knows says whether a request waits under a key, or was granted under it and may be told
// again.
func (e *Engine) Knows(k Key) bool { return e.keys[k] != nil }

// A Grant is what is known of how a lease was granted, for those who watch.
type Grant struct {
	Project string
	Arrived Time // when the Acquire arrived that was answered with it
	StartBy Time // until when the call had to leave; Never: the configuration no longer has the pool
	Settled bool // it was released already
}

// Grant tells of a lease that is in force, or was; false if it is unknown.
func (e *Engine) Grant(id LeaseID) (Grant, bool) {
	t := e.leases[id]
	if t == nil {
		return Grant{}, false
	}
	g := Grant{Project: t.project.name, Arrived: t.arrived, StartBy: Never, Settled: t.state == ticketSettled}
	if t.pool != nil {
		g.StartBy = t.granted.Add(t.pool.StartWithin)
	}
	return g, true
}
