package limiter

import "time"

// A bucket is a provider's token bucket as GCRA sees it: full is the time at which it
// will be full again if nothing more is charged.
//
// The provider counts a call up to D after its grant, so calls may come in a lump that
// was granted evenly. With the burst B − rD its bucket never overdraws, and the rate
// in the long run is all of r (algorithms.md, theorem 2). Costs are times here: what
// c tokens take to flow in, c·W/L.
type bucket struct {
	full Time
	// credits are refunds that the provider has made, given on D after the release.
	credits window
}

// backlog is how long it takes until the bucket is full.
func (b *bucket) backlog(now Time) int64 { return max(0, int64(b.full-now)) }

func (b *bucket) charge(now Time, cost int64) { b.full = max(b.full, now).Add(time.Duration(cost)) }

// credit gives back cost; a full bucket stays full.
func (b *bucket) credit(cost int64) { b.full -= Time(cost) }

// undo gives back a charge as if it had never been. What has flowed in since then may
// have been flowing because of it, so that much is not given back.
func (b *bucket) undo(granted, now Time, cost int64) {
	b.credit(max(0, cost-int64(now-granted)))
}

// settle gives on the credits that are due.
func (b *bucket) settle(now Time, delay time.Duration) (credited bool) {
	c := &b.credits
	for c.count > 0 {
		e := c.at(c.head)
		if e.last.Add(delay) >= now {
			break
		}
		b.credit(e.amount)
		c.total -= e.amount
		c.head++
		c.count--
		credited = true
	}
	return credited
}

// nextCredit gives the time at which the next credit is due.
func (b *bucket) nextCredit(delay time.Duration) Time {
	if b.credits.count == 0 {
		return Never
	}
	return b.credits.at(b.credits.head).last.Add(delay) + 1
}

// rescale keeps what is missing, in the metric's unit, where another rule takes another time
// to refill it. Roundings are to the side that is safe.
func (b *bucket) rescale(now Time, from, to *rule) {
	if from.Window == to.Window && from.effective == to.effective {
		return
	}
	missing := mulDivUp(b.backlog(now), from.effective, int64(from.Window))
	b.full = now.Add(time.Duration(to.cost(missing)))
	c := &b.credits
	c.total = 0
	for i := uint32(0); i < c.count; i++ {
		en := c.at(c.head + i)
		en.amount = mulDiv(mulDiv(en.amount, from.effective, int64(from.Window)), int64(to.Window), to.effective)
		c.total += en.amount
	}
}
