package limiter

import "time"

// After a gate opens, admission starts at a tenth of the pool's rate and rises to all of
// it: the rate of all classes, for a cut of the quota would stop everything while the
// window is still full.
const (
	rampLength = 10 * time.Second
	rampFrom   = 100 // 1/1000
)

// A gate closes a pool for calls that charge a metric, for the whole fleet at once.
type gate struct {
	Metric  Metric
	All     bool
	Blocked bool
	opens   Time
	clear   Time // during the ramp: when the work let through so far has been paced out
}

// close shuts a gate of the pool; the later of two ends wins.
func (p *pool) close(now Time, g *Gate) {
	opens := now.Add(min(max(g.For, 0), 400*24*time.Hour))
	for i := range p.gates {
		o := &p.gates[i]
		if o.All == g.All && (g.All || o.Metric == g.Metric) {
			if opens > o.opens {
				o.opens, o.Blocked, o.clear = opens, g.Blocked, 0
			}
			return
		}
	}
	p.gates = append(p.gates, gate{Metric: g.Metric, All: g.All, Blocked: g.Blocked, opens: opens})
}

// forgetGates drops the gates whose ramp is over.
func (p *pool) forgetGates(now Time) {
	kept := p.gates[:0]
	for _, g := range p.gates {
		if now < g.opens.Add(rampLength) {
			kept = append(kept, g)
		}
	}
	p.gates = kept
}

// concerns says whether a call with these charges must pass the gate.
func (g *gate) concerns(charges []Charge) bool {
	if g.All {
		return true
	}
	for i := range charges {
		if charges[i].Metric == g.Metric && charges[i].Flags&ToPool != 0 {
			return true
		}
	}
	return false
}

// fitsAt gives the time from which the gate lets a call through: once what went before has
// been let through at the ramp's rate, and after the ramp in any case.
func (g *gate) fitsAt() Time { return min(max(g.opens, g.clear), g.opens.Add(rampLength)) }

// pass books work that was let through during the ramp.
func (g *gate) pass(now Time, work int64) {
	risen := min(int64(now-g.opens), int64(rampLength))
	rate := rampFrom + mulDiv(1000-rampFrom, risen, int64(rampLength))
	g.clear = max(g.clear, now).Add(time.Duration(mulDiv(work, 1000, rate)))
}
