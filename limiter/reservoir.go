package limiter

// A reservoir is what the calls in flight will produce together, where nobody knows what
// each of them will. To reserve every call's cap would leave most of the quota unused;
// to reserve the mean of fresh calls would overshoot, for the long ones are in flight
// longest. So it takes the moments of calls in flight (Moments), summed, and one standard
// deviation of the sum.
//
// One is enough, for these moments err on the safe side twice: of calls granted together
// the sum is that of fresh ones, far below; and in the steady state about half of what is
// reserved has been produced already while as much leaves the window. Over the traces of
// the proof no window was over with one deviation, the worst at .96 of the quota; three
// left 5 to 8 points more of it unused.
type reservoir struct {
	mean     int64 // Σ means, less what was produced already
	variance int64 // Σ variances
	reserve  int64 // mean + √variance, rounded up
}

// sigmas is how many standard deviations are kept free.
const sigmas = 1

func (r *reservoir) add(mean, variance int64) {
	r.mean = max(0, r.mean+mean)
	r.variance = min(max(0, r.variance+variance), maxSpan)
	r.reserve = r.sum(0, 0)
}

// sum gives the reserve with another call.
func (r *reservoir) sum(mean, variance int64) int64 {
	return r.mean + mean + sigmas*root(min(r.variance+variance, maxSpan))
}

// extra is by how much another call raises the reserve.
func (r *reservoir) extra(mean, variance int64) int64 { return r.sum(mean, variance) - r.reserve }

// moments gives those of one of the pool's models.
func (p *pool) moments(model string) Moments {
	if p == nil {
		return Moments{}
	}
	for i := range min(len(p.Outputs), len(p.Models)) {
		if p.Models[i] == model {
			return p.Outputs[i]
		}
	}
	return Moments{}
}

// expect replaces the caps of pooled charges by what the model's output is expected to
// be; where nothing is known the cap stands.
func (p *pool) expect(charges []Charge, model string) (variance int64) {
	m := p.moments(model)
	for i := range charges {
		c := &charges[i]
		if c.Flags&Pooled == 0 {
			continue
		}
		if m.Mean <= 0 || c.Flags&OnCompletion == 0 {
			c.Flags &^= Pooled
			continue
		}
		c.Amount = min(c.Amount, m.Mean)
		variance = m.Variance
	}
	return variance
}

// pooled says whether a place has charges that are pooled.
func (pl *place) pooled() bool {
	for i := range pl.charges {
		if pl.charges[i].Flags&Pooled != 0 {
			return true
		}
	}
	return false
}

// refill sums what a running call may still produce into the reservoirs.
func (p *pool) refill(t *ticket) {
	if t.state != ticketOpen {
		return
	}
	variance := p.moments(t.model).Variance
	for i := range t.holds {
		if h := &t.holds[i]; h.flags&Pooled != 0 && !h.limit.dead {
			h.limit.pool.add(h.amount-min(h.seen, h.amount), variance)
		}
	}
}
