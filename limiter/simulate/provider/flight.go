package provider

import "math/bits"

// A flight is an admitted call until its completion.
type flight struct {
	call     Call
	start    int64
	charges  []charge // by line
	produced int64    // tokens counted so far, where output is counted as it is produced

	steps int64 // counted so far
	next  int64 // when the next is due
	order uint64
	index int // in flights.steps, -1 when no step is due
}

// flights are the calls in flight, and which of them produces next.
type flights struct {
	calls map[uint64]*flight
	steps []*flight // a heap by (next, order)
	begun uint64
	spare []*flight // ended ones, for reuse
}

func (s *flights) begin(c Call, now int64) *flight {
	var f *flight
	if n := len(s.spare); n > 0 {
		f, s.spare = s.spare[n-1], s.spare[:n-1]
	} else {
		f = new(flight)
	}
	*f = flight{call: c, start: now, charges: f.charges[:0], order: s.begun, index: -1}
	s.begun++
	s.calls[c.ID] = f
	return f
}

func (s *flights) end(f *flight) {
	if f.index >= 0 {
		s.remove(f)
	}
	delete(s.calls, f.call.ID)
	s.spare = append(s.spare, f)
}

// schedule sets the next of a call's steps 1 … Steps−1; step k is due at
// start + Life·k/Steps, and the last one is the completion itself.
func (p *Provider) schedule(f *flight) {
	steps := int64(p.config.Charge.Steps)
	if f.steps+1 >= steps {
		if f.index >= 0 {
			p.flights.remove(f)
		}
		return
	}
	f.next = f.start + part(int64(f.call.Life), f.steps+1, steps)
	if f.index < 0 {
		p.flights.insert(f)
	} else {
		p.flights.down(f.index) // next has only grown
	}
}

// step counts what the call has produced when a step is due: Output·k/Steps.
func (p *Provider) step(f *flight) {
	f.steps++
	p.produce(f, part(f.call.Output, f.steps, int64(p.config.Charge.Steps)))
	p.schedule(f)
}

// produce counts output up to so many tokens in all.
func (p *Provider) produce(f *flight, output int64) {
	more := output - f.produced
	if more <= 0 {
		return
	}
	f.produced = output
	for _, n := range p.lines {
		if n.Metric.countsOutput() {
			n.charge(p.now, p.config.Charge.burned(more))
		}
	}
}

// part is n·k/of, rounded down, for k ≤ of.
func part(n, k, of int64) int64 {
	hi, lo := bits.Mul64(uint64(n), uint64(k))
	q, _ := bits.Div64(hi, lo, uint64(of))
	return int64(q)
}

// due is a call that has a step to count at now or before, the earliest first.
func (s *flights) due(now int64) *flight {
	if len(s.steps) == 0 || s.steps[0].next > now {
		return nil
	}
	return s.steps[0]
}

func (s *flights) less(i, j int) bool {
	a, b := s.steps[i], s.steps[j]
	return a.next < b.next || a.next == b.next && a.order < b.order
}

func (s *flights) swap(i, j int) {
	s.steps[i], s.steps[j] = s.steps[j], s.steps[i]
	s.steps[i].index, s.steps[j].index = i, j
}

func (s *flights) insert(f *flight) {
	f.index = len(s.steps)
	s.steps = append(s.steps, f)
	s.up(f.index)
}

func (s *flights) remove(f *flight) {
	i, last := f.index, len(s.steps)-1
	s.swap(i, last)
	s.steps = s.steps[:last]
	f.index = -1
	if i < last {
		s.down(i)
		s.up(i)
	}
}

func (s *flights) up(i int) {
	for i > 0 && s.less(i, (i-1)/2) {
		s.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (s *flights) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(s.steps) {
			return
		}
		if c+1 < len(s.steps) && s.less(c+1, c) {
			c++
		}
		if !s.less(c, i) {
			return
		}
		s.swap(i, c)
		i = c
	}
}
