package provider

import "time"

// A Standing is how a limit stands at an instant.
type Standing struct {
	Limit
	Used int64 // in the metric's unit, rounded up; may exceed what the limit holds
	// ResetAfter is the time until all of it is free again if nothing else happens; 0 for a stock.
	ResetAfter time.Duration
}

// Remaining is what is free, ≥ 0.
func (s *Standing) Remaining() int64 { return max(0, s.bound()-s.Used) }

// Standing tells how limit i of the report stands. It counts nothing.
func (p *Provider) Standing(now time.Duration, i int) Standing {
	p.advance(now)
	n := p.lines[i]
	s := Standing{Limit: n.Limit}
	if wait := n.judge.wait(p.now, n.bound()); wait > 0 {
		s.ResetAfter = time.Duration(wait)
	}
	if b, ok := n.judge.(*bucket); ok {
		used, part := b.drained(p.now)
		if s.Used = int64(used); part > 0 {
			s.Used++
		}
	} else {
		s.Used = n.judge.level()
	}
	return s
}

// Limits counts the limits of the report.
func (p *Provider) Limits() int { return len(p.lines) }

// Asks is what a call asks of limit i when it arrives.
func (p *Provider) Asks(i int, c Call) int64 {
	return p.config.Charge.admission(p.lines[i].Metric, c)
}
