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

// A Trace is what is known of a grant, for those who look for it.
type Trace struct {
	Lease       LeaseID
	Project     string
	Class       string
	Pool, Model string // as it was granted; "" when the configuration no longer has it
	Settled     bool   // it was released
	Expired     bool   // its TTL has passed, and it was not released
}

// Trace finds a lease; false if it is unknown.
func (e *Engine) Trace(id LeaseID) (Trace, bool) { return trace(e, e.leases[id]) }

// TraceKey finds the latest lease that was granted under a key; false if none is known, or a
// request waits under it.
func (e *Engine) TraceKey(k Key) (Trace, bool) { return trace(e, e.keys[k]) }

func trace(e *Engine, t *ticket) (Trace, bool) {
	if t == nil || t.state == ticketWaiting {
		return Trace{}, false
	}
	return Trace{
		Lease: t.lease, Project: t.project.name, Class: e.classes[t.class].Name, Pool: t.poolName(), Model: t.modelName(),
		Settled: t.state == ticketSettled, Expired: t.state == ticketExpired,
	}, true
}
