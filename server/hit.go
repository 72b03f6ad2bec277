package server

import (
	"context"
	"sync"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/envoy"
	"github.com/watermaster-project/watermaster/server/metrics"
)

// A hit is a request to a domain. It is used again for others, with all the memory that it has.
type hit struct {
	match envoy.Match
	label []byte
}

// hits are those that nobody uses at the moment.
type hits struct{ pool sync.Pool }

func (p *hits) get() *hit {
	if h, ok := p.pool.Get().(*hit); ok {
		return h
	}
	return &hit{}
}

// hit decides on a request by the counters of a domain: all descriptors at once.
func (s *Server) hit(ctx context.Context, d *domain, req *rls.RateLimitRequest) (*rls.RateLimitResponse, error) {
	h := s.hits.get()
	defer s.hits.pool.Put(h)
	if err := d.limits.Match(req, &h.match); err != nil {
		return nil, notRequest(err)
	}
	if len(h.match.Hit.Counters) == 0 {
		return h.match.Response(nil, s.envoy.Answering), nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err // nobody would be told
	}
	h.match.Hit.Always = s.envoy.ChargeAlways
	o := d.home
	c := o.calls.get()
	defer c.free()
	o.propose(&h.match.Hit, c)
	switch {
	case c.out.err != nil:
		return nil, c.out.err
	case len(c.out.counted) != len(h.match.Hit.Counters):
		return nil, errRepeated // the batch went in twice
	case c.out.counted[0].Reason == limiter.NotYet:
		return nil, errNotYet
	}
	answer := h.match.Response(c.out.counted, s.envoy.Answering)
	s.countHit(d.counts, h, c.out.counted, answer)
	return answer, nil
}

// countHit counts what a request has come to.
func (s *Server) countHit(to *metrics.Domain, h *hit, events []limiter.Event, answer *rls.RateLimitResponse) {
	m, now := &h.match, metrics.Now()
	passed := answer.OverallCode != rls.RateLimitResponse_OVER_LIMIT
	over := false
	for i := range m.Rules {
		counter := m.Counted(i)
		if counter < 0 {
			continue
		}
		ev, asked := &events[counter], &m.Hit.Counters[counter]
		h.label = m.AppendLabel(h.label[:0], i)
		to.Rule(h.label).Hit(now, metrics.Hit{
			Amount: asked.Amount, Quota: asked.Quota, Used: asked.Quota - ev.Remaining, Over: ev.Over, Shadowed: ev.Over && passed,
		})
		over = over || ev.Over && asked.Mode == limiter.Enforced
	}
	switch {
	case !passed:
		to.Answered(metrics.OverLimit)
	case over:
		to.Answered(metrics.Shadowed)
	default:
		to.Answered(metrics.OK)
	}
}
