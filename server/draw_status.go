package server

import (
	"math"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/envoy"
	"github.com/watermaster-project/watermaster/server/policy"
)

// What a gateway is told of where a call goes, to pass it on.
const (
	headerAccount = "x-watermaster-account"
	headerModel   = "x-watermaster-model"
	headerLease   = "x-watermaster-lease-id"
)

// releaseRetry is what a call is told to wait that only the end of another one lets through: when
// that is nobody knows.
const releaseRetry = time.Second

// drawn answers a request. Each descriptor tells of the tightest of the limits that it shows. One
// that is over its limit tells the wait until the whole call passes, others when their limit is
// free again.
func (s *Server) drawn(d *drawing, req *rls.RateLimitRequest) *rls.RateLimitResponse {
	answer := &rls.RateLimitResponse{
		OverallCode: rls.RateLimitResponse_OK,
		Statuses:    make([]*rls.RateLimitResponse_DescriptorStatus, len(req.Descriptors)),
	}
	wait := d.stand()
	over := false
	for i := range d.views {
		answer.Statuses[i] = d.status(&d.views[i], wait)
		over = over || answer.Statuses[i].Code == rls.RateLimitResponse_OVER_LIMIT
	}
	if d.over {
		answer.OverallCode = rls.RateLimitResponse_OVER_LIMIT
		if !over { // what stands in the way is nothing that they show
			d.blame(answer.Statuses, wait)
		}
	}
	if s.envoy.Shadow {
		answer.OverallCode = rls.RateLimitResponse_OK
	}
	if h := s.envoy.Headers; h != nil {
		answer.ResponseHeadersToAdd = h.Of(answer.Statuses)
	}
	s.tellTarget(d, req, answer)
	return answer
}

// stand looks how the limits of the call stand, and gives how long a call that was refused has to
// wait; < 0: for ever.
func (d *drawing) stand() (wait time.Duration) {
	d.o.replica.Lock()
	defer d.o.replica.Unlock()
	e := d.o.engine()
	now := max(d.o.now(), e.Now())
	targets := d.call.acquire.Targets
	at := 0
	if d.over && !d.check {
		at, wait = d.nearest(e, now)
	} else {
		for i := range targets {
			if targets[i].Pool == d.pool {
				at = i
				break
			}
		}
		wait = d.event.RetryAfter
	}
	d.standings = d.standings[:0]
	if at < len(targets) {
		t := &targets[at]
		d.standings = e.Standing(now, t.Pool, d.draw.Project, d.call.acquire.Class, t.Charges, d.standings)
	}
	if !d.over {
		return 0
	}
	if wait >= 0 {
		wait = max(wait, d.event.RetryAfter)
	}
	if never := d.event.Reason == limiter.TooLarge; never {
		return -1
	}
	if wait <= 0 {
		wait = releaseRetry
	}
	return wait
}

// nearest gives the target at which a call that was refused would go first, and its wait; < 0: it
// takes a release. The caller holds the replica's lock.
func (d *drawing) nearest(e *limiter.Engine, now limiter.Time) (at int, least time.Duration) {
	least = -1
	targets := d.call.acquire.Targets
	for i := range targets {
		t := &targets[i]
		d.standings = e.Standing(now, t.Pool, d.draw.Project, d.call.acquire.Class, t.Charges, d.standings[:0])
		wait, never := time.Duration(0), false
		for k := range d.standings {
			wait, never = max(wait, d.standings[k].RetryAfter), never || d.standings[k].RetryAfter < 0
		}
		if !never && (least < 0 || wait < least) {
			at, least = i, wait
		}
	}
	return at, least
}

// status tells of the tightest limit that a descriptor shows.
func (d *drawing) status(v *descriptorView, wait time.Duration) *rls.RateLimitResponse_DescriptorStatus {
	status := &rls.RateLimitResponse_DescriptorStatus{Code: rls.RateLimitResponse_OK}
	if s := d.tightest(v); s != nil {
		d.show(status, s)
		if d.over && s.RetryAfter != 0 {
			status.Code = rls.RateLimitResponse_OVER_LIMIT
			status.DurationUntilReset = envoy.UntilReset(wait)
		}
	}
	return status
}

// blame tells those that something is over which they do not show, or that others come first:
// the descriptors of the pool, or all if there are none.
func (d *drawing) blame(statuses []*rls.RateLimitResponse_DescriptorStatus, wait time.Duration) {
	anyOver := false
	for i := range d.standings {
		anyOver = anyOver || d.standings[i].RetryAfter != 0
	}
	pools := false
	for i := range d.views {
		pools = pools || d.views[i].scopes == 0 || d.views[i].scopes&(1<<limiter.ScopePool) != 0
	}
	for i, status := range statuses {
		v := &d.views[i]
		if !anyOver && pools && v.scopes != 0 && v.scopes&(1<<limiter.ScopePool) == 0 {
			continue
		}
		if s := d.tightest(&descriptorView{}); anyOver && s != nil {
			d.show(status, s)
		}
		status.Code = rls.RateLimitResponse_OVER_LIMIT
		status.DurationUntilReset = envoy.UntilReset(wait)
	}
}

// tightest gives the limit that a descriptor shows: of those that are over the one with the
// longest wait, else the one of which the least part is left; nil: it has none.
func (d *drawing) tightest(v *descriptorView) (least *limiter.Standing) {
	for i := range d.standings {
		s := &d.standings[i]
		if v.shows(s.Scope, s.Spec.Metric) && (least == nil || d.tighter(s, least)) {
			least = s
		}
	}
	return least
}

func (d *drawing) tighter(a, b *limiter.Standing) bool {
	if d.over {
		if wa, wb := endless(a.RetryAfter), endless(b.RetryAfter); wa != wb {
			return wa > wb
		}
	}
	return float64(a.Remaining)*float64(max(1, b.Effective)) < float64(b.Remaining)*float64(max(1, a.Effective))
}

// endless gives a wait, that without an end being the longest.
func endless(d time.Duration) time.Duration {
	if d < 0 {
		return math.MaxInt64
	}
	return d
}

// show puts a limit into a status.
func (d *drawing) show(to *rls.RateLimitResponse_DescriptorStatus, s *limiter.Standing) {
	to.CurrentLimit = &rls.RateLimitResponse_RateLimit{
		Name:            scopeName(s.Scope, s.Owner) + " " + d.e.metric(s.Spec.Metric),
		RequestsPerUnit: clamped(s.Effective),
		Unit:            unitOf(s.Spec),
	}
	to.LimitRemaining = clamped(s.Remaining)
	to.DurationUntilReset = envoy.UntilReset(s.ResetAfter)
}

func clamped(n int64) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }

// unitOf gives the unit of a limit's window, where there is one of that length.
func unitOf(s *limiter.LimitSpec) rls.RateLimitResponse_RateLimit_Unit {
	const day = 24 * time.Hour
	if s.Shape == limiter.Calendar {
		switch s.Period {
		case limiter.Day:
			return rls.RateLimitResponse_RateLimit_DAY
		case limiter.Week:
			return rls.RateLimitResponse_RateLimit_WEEK
		case limiter.Month:
			return rls.RateLimitResponse_RateLimit_MONTH
		}
	}
	switch s.Window {
	case time.Second:
		return rls.RateLimitResponse_RateLimit_SECOND
	case time.Minute:
		return rls.RateLimitResponse_RateLimit_MINUTE
	case time.Hour:
		return rls.RateLimitResponse_RateLimit_HOUR
	case day:
		return rls.RateLimitResponse_RateLimit_DAY
	case 7 * day:
		return rls.RateLimitResponse_RateLimit_WEEK
	case 30 * day:
		return rls.RateLimitResponse_RateLimit_MONTH
	case 365 * day:
		return rls.RateLimitResponse_RateLimit_YEAR
	}
	return rls.RateLimitResponse_RateLimit_UNKNOWN
}

// tellTarget tells where a call goes that was let through, and by which lease: to the one it is
// sent to, and where that is wanted to the filters of the gateway.
func (s *Server) tellTarget(d *drawing, req *rls.RateLimitRequest, answer *rls.RateLimitResponse) {
	told := []struct{ header, field, value string }{
		{"", "domain", req.Domain}, {"", "organization", d.o.name}, {"", "project", d.draw.Project},
	}
	if !d.over && !d.check && !d.returns && d.phase != endPhase {
		if d.pool != policy.OwnerPool {
			account, _, _ := cutPool(d.pool)
			told = append(told, []struct{ header, field, value string }{
				{headerAccount, "account", account}, {headerModel, "model", d.model},
			}...)
		}
		if d.leased {
			id := lease{d.o.fingerprint, policy.TargetOf(d.pool, d.model), d.lease}.String()
			told = append(told, struct{ header, field, value string }{headerLease, "lease_id", id})
		}
	}
	if s.envoy.DynamicMetadata {
		answer.DynamicMetadata = &structpb.Struct{Fields: map[string]*structpb.Value{}}
	}
	for _, x := range told {
		if x.value == "" {
			continue
		}
		if x.header != "" {
			answer.RequestHeadersToAdd = append(answer.RequestHeadersToAdd, &core.HeaderValue{Key: x.header, Value: x.value})
		}
		if m := answer.DynamicMetadata; m != nil {
			m.Fields[x.field] = structpb.NewStringValue(strings.ToValidUTF8(x.value, "\uFFFD"))
		}
	}
}
