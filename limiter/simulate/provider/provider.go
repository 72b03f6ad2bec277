package provider

import (
	"fmt"
	"time"
)

// Config describes a provider.
type Config struct {
	Limits []Limit
	Charge Charge

	// CountRejected: a refused request counts as one request at every Requests limit
	// that has room for it. It is not part of what was accepted.
	CountRejected bool

	// Lenient: everything is accepted and recorded; verdicts say what would have been.
	Lenient bool

	Bin time.Duration // what Use and Amount are exact to; 0 means 1 s; ≥ 1 ms
}

// A Provider judges calls. Its methods take the time since the start, which is ≥ 0 and
// never goes back. A driver that breaks this, that reuses the ID of a call in flight,
// completes one that is not, or hands over amounts out of range has a bug: they panic.
type Provider struct {
	config  Config
	lines   []*line
	now     int64
	flights flights
	totals  Totals
}

// New makes a provider whose limits are all unused.
func New(c Config) (*Provider, error) {
	if err := c.Charge.validate(); err != nil {
		return nil, fmt.Errorf("provider: charge: %w", err)
	}
	if c.Bin == 0 {
		c.Bin = time.Second
	}
	if c.Bin < time.Millisecond {
		return nil, fmt.Errorf("provider: bin %v is below 1 ms", c.Bin)
	}
	p := &Provider{config: c, flights: flights{calls: map[uint64]*flight{}}}
	for i, l := range c.Limits {
		if err := l.validate(); err != nil {
			return nil, fmt.Errorf("provider: limit %d: %w", i, err)
		}
		for _, judged := range l.split() {
			p.lines = append(p.lines, newLine(judged, int64(c.Bin)))
		}
	}
	return p, nil
}

// Arrive judges a call that reaches the provider now, and charges it if it is admitted.
// An admitted call stays in flight until Complete.
func (p *Provider) Arrive(now time.Duration, c Call) Verdict {
	if err := c.validate(); err != nil {
		panic("provider: " + err.Error())
	}
	if p.flights.calls[c.ID] != nil {
		panic(fmt.Sprintf("provider: call %d is in flight already", c.ID))
	}
	p.advance(now)
	v := p.judge(c)
	p.totals.Calls++
	if v.Kind != Fits {
		p.totals.Unfit++
	}
	if v.OK = v.Kind == Fits || p.config.Lenient; !v.OK {
		p.refuse()
		return v
	}
	p.admit(c)
	return v
}

// judge looks at every limit and names the one that stops the call longest.
func (p *Provider) judge(c Call) Verdict {
	v := Verdict{Limit: -1}
	for i, n := range p.lines {
		amount := p.config.Charge.admission(n.Metric, c)
		n.offered += amount
		wait := n.judge.wait(p.now, amount)
		if wait == 0 {
			continue
		}
		n.throttled++
		kind := RateLimited
		switch wait {
		case never:
			kind = TooLarge
		case unknown:
			kind, wait = Concurrent, 0
		}
		if kind > v.Kind || kind == v.Kind && time.Duration(wait) > v.RetryAfter {
			v = Verdict{Kind: kind, Limit: i, RetryAfter: time.Duration(wait)}
		}
	}
	return v
}

func (p *Provider) refuse() {
	if !p.config.CountRejected {
		return
	}
	for _, n := range p.lines {
		if n.Metric == Requests {
			n.refusal(p.now)
		}
	}
}

func (p *Provider) admit(c Call) {
	p.totals.Accepted++
	f := p.flights.begin(c, p.now)
	for _, n := range p.lines {
		f.charges = append(f.charges, n.charge(p.now, p.config.Charge.admission(n.Metric, c)))
	}
	p.totals.MaxInFlight = max(p.totals.MaxInFlight, int64(len(p.flights.calls)))
	if p.config.Charge.Estimate == EstimateInput && p.config.Charge.Steps > 1 && c.Life > 0 && c.Output > 0 {
		p.schedule(f)
	}
}

// Complete ends a call that was admitted, having produced so many tokens. A call runs at
// the provider until then, whatever became of the one who sent it. If fewer tokens are
// named than were counted already, those stay counted.
func (p *Provider) Complete(now time.Duration, id uint64, output int64) {
	p.advance(now)
	f := p.flights.calls[id]
	if f == nil {
		panic(fmt.Sprintf("provider: call %d is not in flight", id))
	}
	if output < 0 || output > mostTokens {
		panic(fmt.Sprintf("provider: call %d: %d tokens are not within 0 … 2³²", id, output))
	}
	charge := p.config.Charge
	if charge.Estimate == EstimateInput {
		p.produce(f, output)
	}
	for i, n := range p.lines {
		switch {
		case n.Metric == Concurrency:
			n.judge.credit(p.now, 0, 1)
			n.record.credit(p.now, f.charges[i], 1)
		case charge.Settle && n.Metric.countsOutput():
			n.settle(p.now, f.charges[i], charge.actual(n.Metric, f.call, output))
		}
	}
	p.flights.end(f)
}

// advance moves to now; what calls in flight produce until then, now included, is counted.
func (p *Provider) advance(now time.Duration) {
	if int64(now) < p.now {
		panic(fmt.Sprintf("provider: time goes back from %v to %v", time.Duration(p.now), now))
	}
	for {
		f := p.flights.due(int64(now))
		if f == nil {
			break
		}
		p.now = f.next
		p.step(f)
	}
	p.now = int64(now)
}
