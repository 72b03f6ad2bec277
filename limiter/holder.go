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
