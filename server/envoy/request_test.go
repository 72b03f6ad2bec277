package envoy

import (
	"math"
	"strings"
	"testing"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	typed "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/watermaster-project/watermaster/limiter"
)

// What hits_addend means, in the request and in a descriptor.
func TestAmounts(t *testing.T) {
	l := parse(t, limit("unit: day, requests_per_unit: 1"))
	some := func(n uint64, negative bool) *common.RateLimitDescriptor {
		d := descriptor("k", "v")
		d.HitsAddend, d.IsNegativeHits = wrapperspb.UInt64(n), negative
		return d
	}
	back := descriptor("k", "v")
	back.IsNegativeHits = true
	for _, row := range []struct {
		rule    string
		request uint32
		of      *common.RateLimitDescriptor
		want    int64
	}{
		{"unset is 1", 0, descriptor("k", "v"), 1},
		{"the request's", 5, descriptor("k", "v"), 5},
		{"the largest request's", math.MaxUint32, descriptor("k", "v"), math.MaxUint32},
		{"its own before the request's", 5, some(7, false), 7},
		{"an explicit 0 only looks", 5, some(0, false), 0},
		{"negative gives back", 5, some(7, true), -7},
		{"negative gives back the request's", 5, back, -5},
		{"nothing given back", 5, some(0, true), 0},
		{"the largest does not overflow", 0, some(math.MaxUint64, false), maxAmount},
		{"nor the largest negative", 0, some(math.MaxUint64, true), -maxAmount},
		{"nor one that is negative in 64 bits", 0, some(1<<63, false), maxAmount},
	} {
		req := request("d", row.of)
		req.HitsAddend = row.request
		m := &Match{}
		if err := l.Domain("d").Match(req, m); err != nil {
			t.Errorf("%s: %v", row.rule, err)
			continue
		}
		if got := m.Hit.Counters[0].Amount; got != row.want || m.Amount(0) != got {
			t.Errorf("%s: got %d, want %d", row.rule, got, row.want)
		}
	}
}

// Limits that a request brings along.
func TestOverrides(t *testing.T) {
	l := parse(t, "domain: d\ndescriptors: [{key: k, shadow_mode: true, rate_limit: {unit: day, requests_per_unit: 1}}]")
	override := func(key string, n uint32, unit typed.RateLimitUnit) *common.RateLimitDescriptor {
		d := descriptor(key, "v")
		d.Limit = &common.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: n, Unit: unit}
		return d
	}
	for _, row := range []struct {
		rule   string
		of     *common.RateLimitDescriptor
		quota  int64
		window time.Duration
		bad    bool
	}{
		{"in place of the file's, its shadow_mode included", override("k", 5, typed.RateLimitUnit_HOUR), 5, time.Hour, false},
		{"where the file has none", override("other", 5, typed.RateLimitUnit_MINUTE), 5, time.Minute, false},
		{"a quota of 0", override("k", 0, typed.RateLimitUnit_YEAR), 0, 365 * 24 * time.Hour, false},
		{"without a unit", override("k", 5, typed.RateLimitUnit_UNKNOWN), 0, 0, true},
		{"with a unit of the future", override("k", 5, 99), 0, 0, true},
		{"with a negative unit", override("k", 5, -1), 0, 0, true},
	} {
		m := &Match{}
		err := l.Domain("d").Match(request("d", descriptor("k", "v"), row.of), m)
		if row.bad {
			if err == nil || !strings.Contains(err.Error(), "descriptor 1: ") || len(m.Hit.Counters) > 0 {
				t.Errorf("%s: got %v and %d counters, want an error and none", row.rule, err, len(m.Hit.Counters))
			}
			if err := (*Domain)(nil).Match(request("unknown", row.of), m); err != nil {
				t.Errorf("%s, for an unknown domain: %v", row.rule, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", row.rule, err)
			continue
		}
		if c := m.Hit.Counters[1]; c.Quota != row.quota || c.Window != row.window || c.Mode != limiter.Enforced {
			t.Errorf("%s: got %d per %v, mode %v", row.rule, c.Quota, c.Window, c.Mode)
		}
	}
}

// What is wrong with a request is told, and nothing is charged.
func TestBadRequests(t *testing.T) {
	l := parse(t, limit("unit: day, requests_per_unit: 1"))
	long := descriptor("k", strings.Repeat("v", maxValue+1))
	deep := descriptor()
	for range MaxEntries + 1 {
		deep.Entries = append(deep.Entries, descriptor("k", "v").Entries...)
	}
	many := make([]*common.RateLimitDescriptor, MaxDescriptors+1)
	for i := range many {
		many[i] = descriptor("k", "v")
	}
	m := match(t, l, descriptor("k", "v"))
	for _, row := range []struct {
		rule string
		req  *rls.RateLimitRequest
		want string
	}{
		{"empty domain", request("", descriptor("k", "v")), "the domain is empty"},
		{"no descriptors", request("d"), "there are no descriptors"},
		{"nothing at all", nil, "the domain is empty"},
		{"too many descriptors", request("d", many...), "65 descriptors are more than 64"},
		{"too many entries", request("d", deep), "descriptor 0 has 65 entries"},
		{"a long value", request("d", descriptor("k", "v"), long), "descriptor 1 has an entry of more than 65536 bytes"},
	} {
		err := l.Domain("d").Match(row.req, m)
		if err == nil || !strings.Contains(err.Error(), row.want) || len(m.Hit.Counters)+len(m.Rules) > 0 {
			t.Errorf("%s: got %v and %d counters, want %s and none", row.rule, err, len(m.Hit.Counters), row.want)
		}
	}
	if err := l.Domain("d").Match(request("d", nil, &common.RateLimitDescriptor{Entries: []*common.RateLimitDescriptor_Entry{nil}}), m); err != nil {
		t.Errorf("absent messages are empty ones: %v", err)
	}
}
