package envoy

import (
	"math"
	"strconv"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/watermaster-project/watermaster/limiter"
)

// never is told as the wait of what will not pass however long one waits: more than the quota
// at once, or a quota of 0.
const never = 366 * day

// Answering says how answers are built.
type Answering struct {
	Shadow          bool     // overall is always OK; the statuses tell the truth
	Headers         *Headers // nil: none
	DynamicMetadata bool     // tell the filters behind what the request was
}

// Headers are the names of those that answers add, empty for one that is left out.
type Headers struct {
	Limit, Remaining, Reset string
}

// DefaultHeaders are the names of the IETF's draft, as envoyproxy/ratelimit has them.
var DefaultHeaders = Headers{"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}

// Response builds the answer to the request that was matched, of the events of its hit: one
// for each counter, in their order.
//
// Durations are whole seconds, rounded up: Envoy drops the rest, and what it tells a client to
// wait must not be too short.
func (m *Match) Response(events []limiter.Event, o Answering) *rls.RateLimitResponse {
	n := len(m.Rules)
	response := &rls.RateLimitResponse{
		OverallCode: rls.RateLimitResponse_OK,
		Statuses:    make([]*rls.RateLimitResponse_DescriptorStatus, n),
	}
	statuses := make([]rls.RateLimitResponse_DescriptorStatus, n)
	durations := make([]durationpb.Duration, len(events))
	for i := range m.Rules {
		s := &statuses[i]
		response.Statuses[i] = s
		s.Code = rls.RateLimitResponse_OK
		if c := m.held[i].counter; c >= 0 {
			durations[c].Seconds = m.tell(s, i, &events[c])
			s.DurationUntilReset = &durations[c]
		} else if rule := m.Rules[i]; rule != nil && rule.Unlimited {
			s.LimitRemaining = math.MaxUint32
		}
	}
	if m.refused(events) && !o.Shadow {
		response.OverallCode = rls.RateLimitResponse_OVER_LIMIT
	}
	if o.Headers != nil {
		response.ResponseHeadersToAdd = o.Headers.Of(response.Statuses)
	}
	if o.DynamicMetadata {
		response.DynamicMetadata = m.metadata(events)
	}
	return response
}

// tell tells of a counter, and gives the seconds until its reset.
func (m *Match) tell(s *rls.RateLimitResponse_DescriptorStatus, i int, e *limiter.Event) (seconds int64) {
	rule := m.Rules[i]
	s.CurrentLimit = rule.current
	if rule.Override {
		o := m.request.GetDescriptors()[i].GetLimit()
		s.CurrentLimit = &rls.RateLimitResponse_RateLimit{RequestsPerUnit: o.GetRequestsPerUnit(), Unit: unitOf(o)}
	}
	s.LimitRemaining = uint32(min(max(e.Remaining, 0), math.MaxUint32))
	if !e.Over {
		return wholeSeconds(e.ResetAfter)
	}
	if !rule.Shadow {
		s.Code = rls.RateLimitResponse_OVER_LIMIT
	}
	return wholeSeconds(e.RetryAfter)
}

// refused says whether a request is over its limits as a whole: if a limit is, or if there are
// some of quota_mode and all of them are.
func (m *Match) refused(events []limiter.Event) bool {
	quotas, over := 0, 0
	for i := range events {
		switch m.Hit.Counters[i].Mode {
		case limiter.Enforced:
			if events[i].Over {
				return true
			}
		case limiter.Quota:
			quotas++
			if events[i].Over {
				over++
			}
		}
	}
	return quotas > 0 && over == quotas
}

// UntilReset gives a wait as answers have it: in whole seconds, rounded up. A negative one has
// no end, which is told as 366 days.
func UntilReset(d time.Duration) *durationpb.Duration {
	return &durationpb.Duration{Seconds: wholeSeconds(d)}
}

func wholeSeconds(d time.Duration) int64 {
	if d < 0 || d > never {
		d = never
	}
	return int64((d + time.Second - 1) / time.Second)
}

// tightest gives the status that is nearest to its limit, or nil if there is no limit: of
// those over it the one with the longest wait, else the one with the least remaining.
func tightest(statuses []*rls.RateLimitResponse_DescriptorStatus) (least *rls.RateLimitResponse_DescriptorStatus) {
	for _, s := range statuses {
		if s.CurrentLimit != nil && (least == nil || tighter(s, least)) {
			least = s
		}
	}
	return least
}

func tighter(a, b *rls.RateLimitResponse_DescriptorStatus) bool {
	over := a.Code == rls.RateLimitResponse_OVER_LIMIT
	if over != (b.Code == rls.RateLimitResponse_OVER_LIMIT) {
		return over
	}
	if over {
		return a.DurationUntilReset.GetSeconds() > b.DurationUntilReset.GetSeconds()
	}
	return a.LimitRemaining < b.LimitRemaining
}

// Of gives the headers that tell of the tightest status, none if no status has a limit.
func (h *Headers) Of(statuses []*rls.RateLimitResponse_DescriptorStatus) (headers []*core.HeaderValue) {
	s := tightest(statuses)
	if s == nil {
		return nil
	}
	for _, header := range []struct {
		name  string
		value int64
	}{
		{h.Limit, int64(s.CurrentLimit.RequestsPerUnit)},
		{h.Remaining, int64(s.LimitRemaining)},
		{h.Reset, s.DurationUntilReset.GetSeconds()},
	} {
		if header.name != "" {
			headers = append(headers, &core.HeaderValue{Key: header.name, Value: strconv.FormatInt(header.value, 10)})
		}
	}
	return headers
}
