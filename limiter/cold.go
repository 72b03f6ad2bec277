package limiter

import "time"

// ColdStart says what is assumed of the use before an engine that begins with nothing,
// where nobody knows what it was: by another process whose state was lost, say.
type ColdStart uint8

const (
	// Trust: nothing was used.
	Trust ColdStart = iota
	// Pace: the quota was used evenly, to all but 2 %; to less where lighter classes could
	// not go for what is kept from them, as far as the margin covers it. So calls go at the
	// rate of the limit from the first moment on. If it was used so, no window at the
	// provider exceeds the quota, or without a margin by those 2 % at most; had all of it been
	// used in the last instant, one could hold twice the quota.
	Pace
	// Wait: all of the quota was used in the last instant. Nothing goes for one hold, and no
	// window is ever exceeded.
	Wait
)

var coldStarts = []string{"trust", "pace", "wait"}

// String gives its word in a configuration.
func (c ColdStart) String() string {
	if int(c) >= len(coldStarts) {
		return "unknown"
	}
	return coldStarts[c]
}

const (
	// longestCold bounds the windows to which a cold start matters. A longer one would keep
	// all away for too long; there what is configured is trusted.
	longestCold = 10 * time.Minute
	// coldShare is how much of the capacity Pace takes to be used at most, in parts per million.
	coldShare = 980_000
	// coldParts is how finely a window's earlier use is spread.
	coldParts = 120
)

// ColdHold is for how long a cold start makes a difference: the longest hold of the limits
// to which it matters.
func ColdHold(c *Configure) (hold time.Duration) {
	look := func(limits []LimitSpec) {
		for i := range limits {
			if l := &limits[i]; l.Shape <= TokenBucket && l.Window <= longestCold {
				hold = max(hold, l.Window+l.Jitter)
			}
		}
	}
	look(c.Limits)
	for i := range c.Pools {
		look(c.Pools[i].Limits)
	}
	return hold
}

// beginCold charges every limit that a provider or the organization enforces with what may
// have been used before. kept is for how long it is known that nothing was.
func (e *Engine) beginCold(how ColdStart, kept time.Duration) {
	if how == Trust {
		return
	}
	for _, l := range e.limits {
		l.beginCold(e.now, how, max(0, kept))
	}
	for _, p := range e.pools {
		for _, l := range p.limits {
			l.beginCold(e.now, how, max(0, kept))
		}
	}
}

// evenly is what of the capacity Pace takes to be used.
func (r *rule) evenly() int64 {
	kept := int64(0)
	for _, c := range r.caps {
		kept = max(kept, r.capacity-c)
	}
	free := r.capacity - perMillion(r.capacity, coldShare)
	return r.capacity - min(r.capacity, max(free, min(free+kept, r.cost(r.Quota-r.effective))))
}

func (l *limit) beginCold(now Time, how ColdStart, kept time.Duration) {
	if l.Window > longestCold || kept >= l.hold {
		return
	}
	full := l.capacity
	if how == Pace {
		full = l.evenly()
	}
	switch {
	case l.Shape == TokenBucket: // it refills at the rate by itself
		l.bucket.charge(now, max(0, full-int64(kept)))
	case l.Shape == SlidingWindow && how == Wait:
		l.window.add(now.Add(-kept), full, 0)
	case l.Shape == SlidingWindow:
		var entered int64
		for k := int64(1); k <= coldParts; k++ {
			part := mulDiv(full, k, coldParts) - entered
			entered += part
			if ago := time.Duration(mulDiv(int64(l.hold), coldParts-k, coldParts)); ago >= kept && part > 0 {
				l.window.add(now.Add(-ago), part, 0)
			}
		}
	}
}
