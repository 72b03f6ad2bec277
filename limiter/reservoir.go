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
// the proof no window was over with one deviation, the worst at .99 of the quota; three
// left 3 to 8 points more of it unused.
type reservoir struct {
	mean     int64 // Σ means, less what was produced already
	variance int64 // Σ variances
	reserve  int64 // mean + √variance, rounded up
}

// sigmas is how many standard deviations are kept free.
const sigmas = 1

// maxVariance is that of a deviation of a million tokens.
const maxVariance = int64(1) << 40

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

// moments gives those of a lease's model.
func (t *ticket) moments() Moments {
	if t.pool == nil {
		return Moments{}
	}
	return t.pool.momentsAt(int(t.model))
}

// moments gives those of one of the pool's models.
func (p *pool) moments(model string) Moments { return p.momentsAt(int(p.modelIndex(model))) }

func (p *pool) momentsAt(model int) Moments {
	if model >= min(len(p.Outputs), len(p.Models)) {
		return Moments{}
	}
	m := p.Outputs[model]
	return Moments{min(max(m.Mean, 0), maxAmount), min(max(m.Variance, 0), maxVariance)}
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
func (e *Engine) refill(t *ticket) {
	if t.state != ticketOpen {
		return
	}
	variance := t.moments().Variance
	for i := range t.holds {
		if h := e.unpack(t, i); h.flags&Pooled != 0 && h.limit.Shape != Stock && !h.limit.dead {
			h.limit.pool.add(h.amount-min(h.seen, h.amount), variance)
		}
	}
}
