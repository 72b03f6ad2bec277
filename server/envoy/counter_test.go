package envoy

import (
	"fmt"
	"testing"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	typed "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/watermaster-project/watermaster/limiter"
)

// Which values have a counter of their own, and which share one.
func TestCounters(t *testing.T) {
	l := parse(t, `
domain: d
descriptors:
  - key: user
    rate_limit: {unit: minute, requests_per_unit: 1}
  - key: own
    value: files/*
    rate_limit: {unit: hour, requests_per_unit: 1}
  - key: shared
    value: files/*
    share_threshold: true
    rate_limit: {unit: hour, requests_per_unit: 1}
    descriptors:
      - key: user
        rate_limit: {unit: hour, requests_per_unit: 1}
  - key: shared
    value: other/*
    share_threshold: true
    rate_limit: {unit: hour, requests_per_unit: 1}
`)
	hourly := descriptor("user", "a")
	hourly.Limit = &common.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: 9, Unit: typed.RateLimitUnit_HOUR}
	minutely := descriptor("user", "a")
	minutely.Limit = &common.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: 9, Unit: typed.RateLimitUnit_MINUTE}
	for _, row := range []struct {
		rule string
		a, b *common.RateLimitDescriptor
		want bool // one counter
	}{
		{"a bare key counts each value", descriptor("user", "a"), descriptor("user", "b"), false},
		{"the same value", descriptor("user", "a"), descriptor("user", "a"), true},
		{"a wildcard counts each value", descriptor("own", "files/a"), descriptor("own", "files/b"), false},
		{"share_threshold counts all together", descriptor("shared", "files/a"), descriptor("shared", "files/b"), true},
		{"the pattern as a value too", descriptor("shared", "files/a"), descriptor("shared", "files/*"), true},
		{"another wildcard", descriptor("shared", "files/a"), descriptor("shared", "other/a"), false},
		{"below a shared one", descriptor("shared", "files/a", "user", "u"), descriptor("shared", "files/b", "user", "u"), true},
		{"below a shared one, another value", descriptor("shared", "files/a", "user", "u"), descriptor("shared", "files/a", "user", "v"), false},
		{"an override of the same window draws on the same", descriptor("user", "a"), minutely, true},
		{"another window", descriptor("user", "a"), hourly, false},
	} {
		m := match(t, l, row.a, row.b)
		if got := m.Hit.Counters[0].Counter == m.Hit.Counters[1].Counter; got != row.want {
			t.Errorf("%s: one counter: got %v, want %v", row.rule, got, row.want)
		}
	}
}

// Counters keep their names over restarts, releases, and reloads that change what they count
// up to: these are written in logs.
func TestCounterIDsAreForever(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{limit("unit: day, requests_per_unit: 1"), "997faa55794c9ed3f02083fea131ff0e"},
		{limit("unit: day, requests_per_unit: 2, name: n"), "997faa55794c9ed3f02083fea131ff0e"},
		{limit("unit: hour, requests_per_unit: 1"), "a98ac416059065b2a18357a981a35834"},
		{"domain: other\ndescriptors: [{key: k, value: v, rate_limit: {unit: day}}]", "997faa55794c9ed3f02083fea131ff0e"},
		{"domain: d\ndescriptors: [{key: k, value: v*, share_threshold: true, rate_limit: {unit: day}}]", "9e1e56afd1356c73cebcf222ff6f8688"},
	} {
		got := fmt.Sprintf("%x", match(t, parse(t, row.text), descriptor("k", "v")).Hit.Counters[0].Counter)
		if got != row.want {
			t.Errorf("%s:\ngot %s, want %s", row.text, got, row.want)
		}
	}
}

// No two sequences of entries have one name, however their texts are cut.
func TestDigestIsInjective(t *testing.T) {
	l := parse(t, `
domain: d
descriptors:
  - {key: a*, rate_limit: {unit: day}, descriptors: [{key: a*, rate_limit: {unit: day}}]}
`)
	seen := make(map[limiter.CounterID]string)
	for _, texts := range [][]string{
		{"a", ""}, {"a", "b"}, {"ab", ""}, {"a_", "b"}, {"a", "_b"}, {"a", "=b"}, {"a=", "b"},
		{"a", "", "a", ""}, {"a", "", "a", "b"}, {"a", "b", "a", ""}, {"a", "a\x01a", "a", ""}, {"a", "", "aa", ""},
	} {
		id := match(t, l, descriptor(texts...)).Hit.Counters[0].Counter
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q have one counter", texts, other)
		}
		seen[id] = fmt.Sprintf("%q", texts)
	}
}
