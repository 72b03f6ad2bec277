package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Rule counts the hits on one limit of a domain. Each is over or within; what is shadowed was
// over, and what is near was within, but above four fifths of the quota.
type Rule struct {
	hits, over, near, within, shadow atomic.Uint64
	fullest                          peak
}

// A Hit is what one request has come to at one counter.
type Hit struct {
	Amount   int64 // that it asked for; what is given back (< 0) is not counted
	Quota    int64
	Used     int64 // of it, afterwards
	Over     bool
	Shadowed bool // over, and let through nevertheless
}

// Hit counts one, at a time.
func (r *Rule) Hit(now Time, h Hit) {
	if h.Quota > 0 {
		r.fullest.raise(now, min(h.Used, h.Quota*10)*1000/h.Quota)
	}
	if h.Amount <= 0 {
		return
	}
	n := uint64(h.Amount)
	r.hits.Add(n)
	if h.Over {
		r.over.Add(n)
		if h.Shadowed {
			r.shadow.Add(n)
		}
		return
	}
	r.within.Add(n)
	if above := h.Used - h.Quota*4/5; above > 0 {
		r.near.Add(uint64(min(above, h.Amount)))
	}
}

func (r *Rule) collect(to chan<- prometheus.Metric, now Time, domain, rule string) {
	to <- counter(rateLimitHits, r.hits.Load(), domain, rule)
	to <- counter(rateLimitOver, r.over.Load(), domain, rule)
	to <- counter(rateLimitNear, r.near.Load(), domain, rule)
	to <- counter(rateLimitWithin, r.within.Load(), domain, rule)
	to <- counter(rateLimitShadow, r.shadow.Load(), domain, rule)
	to <- gauge(rateLimitFullest, float64(r.fullest.value(now))/1000, domain, rule)
}

// A peak is the highest of the values of the present minute and of the one before. Of two that
// begin a minute at once one may be lost, which the next value makes good.
type peak struct {
	minute        atomic.Int64 // that present is of
	present, last atomic.Int64
}

func (p *peak) raise(now Time, v int64) {
	minute := int64(now) / int64(time.Minute)
	if was := p.minute.Load(); was != minute && p.minute.CompareAndSwap(was, minute) {
		former := p.present.Swap(0)
		if was != minute-1 {
			former = 0
		}
		p.last.Store(former)
	}
	for {
		was := p.present.Load()
		if was >= v || p.present.CompareAndSwap(was, v) {
			return
		}
	}
}

func (p *peak) value(now Time) int64 {
	switch int64(now)/int64(time.Minute) - p.minute.Load() {
	case 0:
		return max(p.present.Load(), p.last.Load())
	case 1:
		return p.present.Load()
	}
	return 0
}
