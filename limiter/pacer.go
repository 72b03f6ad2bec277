package limiter

import "time"

// longestPaced bounds the windows that are paced. A longer one is a budget: to spread a
// day's quota evenly over the day would forbid using it in eight hours of work.
const longestPaced = time.Hour

// A pacer spreads what a window admits over the window. Unpaced, batch work takes an
// exact window whole and in one lump; a call that comes then waits for that lump to
// expire, and the lump comes back every hold.
//
// Its rate is the one that can be sustained, L/(W + D + half a span); at L/W the lump
// would return. All classes charge it; only the paced ones are stopped by it, and they only
// until they are overdue (pump.go).
type pacer struct {
	clear Time // when all that was charged has been paced out
}

// paceSpan is the time in which a quota is paced out; 0: the limit is not paced.
func paceSpan(s *LimitSpec) time.Duration {
	if s.Shape != SlidingWindow || s.Window > longestPaced {
		return 0
	}
	return s.Window + s.Jitter + joinSpan(s.Window)/2
}

// paceBurst is what passes the pacer at once, as the time that it takes to pace out: a
// thirtieth of the window. Less wastes quota, for a pacer that stands idle while a large
// call waits for room cannot make up for it later; more lets lumps through that other
// classes wait for. In a short window calls are large beside the quota: there it is as
// long as in a minute's, up to a fifth.
func paceBurst(pace int64) int64 {
	return max(pace/30, min(pace/5, int64(2*time.Second)))
}

// joinSpan is how far apart charges may be that a window joins into one entry.
func joinSpan(window time.Duration) time.Duration { return max(1, window/240) }

func (p *pacer) charge(now Time, cost int64) { p.clear = max(p.clear, now).Add(time.Duration(cost)) }

// refund lets others have what was charged and not used.
func (p *pacer) refund(cost int64) { p.clear -= Time(cost) }

// fitsAt gives the time from which a cost passes. kept is what is kept for others,
// burst what may pass at once; a larger cost passes when all before it is paced out.
func (p *pacer) fitsAt(cost, kept, burst int64) Time {
	if kept > 0 {
		cost += kept
	} else {
		burst = max(burst, cost)
	}
	return p.clear.Add(time.Duration(cost - burst))
}
