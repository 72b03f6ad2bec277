package envoy

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	typed "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/watermaster-project/watermaster/limiter"
)

// parse reads the text of one file.
func parse(t testing.TB, text string) *Limits {
	t.Helper()
	l, err := Parse([]File{{"limits.yaml", []byte(text)}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// descriptor makes one of keys and values by turns.
func descriptor(texts ...string) *common.RateLimitDescriptor {
	d := &common.RateLimitDescriptor{}
	for i := 0; i < len(texts); i += 2 {
		d.Entries = append(d.Entries, &common.RateLimitDescriptor_Entry{Key: texts[i], Value: texts[i+1]})
	}
	return d
}

func request(domain string, d ...*common.RateLimitDescriptor) *rls.RateLimitRequest {
	return &rls.RateLimitRequest{Domain: domain, Descriptors: d}
}

// match gives what a request to the only domain is held to.
func match(t testing.TB, l *Limits, d ...*common.RateLimitDescriptor) *Match {
	t.Helper()
	m := &Match{}
	name := l.Domains()[0]
	if err := l.Domain(name).Match(request(name, d...), m); err != nil {
		t.Fatal(err)
	}
	return m
}

// The rules of the lookup, each by its name.
func TestLookup(t *testing.T) {
	l := parse(t, `
domain: d
descriptors:
  - key: user
    rate_limit: {unit: minute, requests_per_unit: 1}
  - key: user
    value: alice
    rate_limit: {unit: minute, requests_per_unit: 2}
  - key: user
    value: al*
    rate_limit: {unit: minute, requests_per_unit: 3}
  - key: user
    value: b*
    rate_limit: {unit: minute, requests_per_unit: 4}
  - key: user
    value: bo*
    rate_limit: {unit: minute, requests_per_unit: 5}
  - key: free
  - key: path
    value: bar*b
    rate_limit: {unit: minute, requests_per_unit: 6}
  - key: path
    value: foo*bar*baz
    rate_limit: {unit: minute, requests_per_unit: 7}
  - key: nested
    rate_limit: {unit: minute, requests_per_unit: 8}
    descriptors:
      - key: inner
        value: x*
        rate_limit: {unit: minute, requests_per_unit: 9}
  - key: nested
    value: only
    descriptors:
      - key: other
  - key: a_b
    rate_limit: {unit: minute, requests_per_unit: 10}
  - key: star*
    rate_limit: {unit: minute, requests_per_unit: 11}
`)
	for _, row := range []struct {
		rule string
		of   *common.RateLimitDescriptor
		want uint32 // requests per unit; 0: no limit
	}{
		{"the bare key", descriptor("user", "carol"), 1},
		{"the bare key, without a value", descriptor("user", ""), 1},
		{"exact before wildcard", descriptor("user", "alice"), 2},
		{"wildcard before bare key", descriptor("user", "alan"), 3},
		{"a wildcard fits nothing more", descriptor("user", "al"), 3},
		{"the first wildcard of the file", descriptor("user", "bob"), 4},
		{"case matters", descriptor("user", "ALICE"), 1},
		{"matched without a limit", descriptor("free", "x"), 0},
		{"unknown key", descriptor("nobody", "x"), 0},
		{"star within", descriptor("path", "bar-b"), 6},
		{"star within, its ends do not overlap", descriptor("path", "bar"), 0},
		{"star within fits nothing", descriptor("path", "barb"), 6},
		{"pieces in order", descriptor("path", "foo1bar2baz"), 7},
		{"pieces out of order", descriptor("path", "foobazbar"), 0},
		{"a piece once, not twice", descriptor("path", "foobaz"), 0},
		{"the last piece at the end", descriptor("path", "foobarbaz!"), 0},
		{"depth: the outer", descriptor("nested", "y"), 8},
		{"depth: the inner", descriptor("nested", "y", "inner", "x1"), 9},
		{"depth: too deep", descriptor("nested", "y", "inner", "x1", "more", "1"), 0},
		{"depth: below a leaf", descriptor("user", "alice", "inner", "x1"), 0},
		{"nothing fits below", descriptor("nested", "y", "inner", "z"), 0},
		{"the exact one decides, though the other fits below", descriptor("nested", "only", "inner", "x1"), 0},
		{"order of entries", descriptor("inner", "x1", "nested", "y"), 0},
		{"joined texts", descriptor("a", "b"), 10},
		{"a key's star at its end", descriptor("starlight", "x"), 11},
		{"no entries", descriptor(), 0},
	} {
		m := match(t, l, row.of)
		got := uint32(0)
		if r := m.Rules[0]; r != nil {
			got = r.RequestsPerUnit
		}
		if got != row.want || (m.Counted(0) >= 0) != (row.want > 0) {
			t.Errorf("%s: got %d (counter %d), want %d", row.rule, got, m.Counted(0), row.want)
		}
	}
}

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

// What stands in place of what.
func TestReplaces(t *testing.T) {
	l := parse(t, `
domain: d
descriptors:
  - {key: read, rate_limit: {unit: second, requests_per_unit: 5, name: all-reads}}
  - {key: write, rate_limit: {unit: second, requests_per_unit: 5, name: all-writes}}
  - {key: one, rate_limit: {unit: second, requests_per_unit: 10, replaces: [{name: all-writes}, {name: all-reads}]}}
  - {key: a, rate_limit: {unit: second, name: a, replaces: [{name: b}]}}
  - {key: b, rate_limit: {unit: second, name: b, replaces: [{name: a}]}}
  - {key: free, rate_limit: {unlimited: true, replaces: [{name: all-reads}]}}
  - {key: named, rate_limit: {unlimited: true, name: all-reads}}
`)
	for _, row := range []struct {
		rule string
		keys []string
		want []int // counters
	}{
		{"alone it counts", []string{"read"}, []int{0}},
		{"beside the one that replaces it, it does not", []string{"read", "one"}, []int{-1, 0}},
		{"in any order", []string{"one", "read"}, []int{0, -1}},
		{"several", []string{"read", "one", "write"}, []int{-1, 0, -1}},
		{"each other", []string{"a", "b"}, []int{-1, -1}},
		{"one that is unlimited replaces", []string{"read", "free", "write"}, []int{-1, -1, 0}},
		{"one that is unlimited stays so", []string{"named", "one"}, []int{-1, 0}},
	} {
		var d []*common.RateLimitDescriptor
		for _, key := range row.keys {
			d = append(d, descriptor(key, "v"))
		}
		m := match(t, l, d...)
		got := make([]int, len(d))
		for i := range d {
			got[i] = m.Counted(i)
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: got %v, want %v", row.rule, got, row.want)
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

// A match that is used again takes no memory.
func TestMatchAllocates(t *testing.T) {
	l, req := worked(t)
	d, m := l.Domain("d"), &Match{}
	if got := testing.AllocsPerRun(100, func() {
		if err := d.Match(req, m); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
	if got, want := len(m.Hit.Counters), 3; got != want {
		t.Errorf("got %d counters, want %d", got, want)
	}
}

// worked is a configuration and a request as there may be: three descriptors of three entries.
func worked(t testing.TB) (*Limits, *rls.RateLimitRequest) {
	l := parse(t, `
domain: d
descriptors:
  - key: tenant
    descriptors:
      - key: path
        value: /v1/*
        descriptors:
          - key: method
            value: POST
            rate_limit: {unit: minute, requests_per_unit: 100}
  - key: tenant
    value: gold
    descriptors:
      - key: model
        value: gpt*mini
        share_threshold: true
        descriptors:
          - {key: user, rate_limit: {unit: hour, requests_per_unit: 1000, name: user}}
      - key: model
        descriptors:
          - {key: user, rate_limit: {unit: day, requests_per_unit: 1000}}
`)
	return l, request("d",
		descriptor("tenant", "silver", "path", "/v1/chat/completions", "method", "POST"),
		descriptor("tenant", "gold", "model", "gpt-5-mini", "user", "0b5fe1ac-11f0"),
		descriptor("tenant", "gold", "model", "claude", "user", "0b5fe1ac-11f0"))
}

func BenchmarkMatch(b *testing.B) {
	l, req := worked(b)
	d, m := l.Domain("d"), &Match{}
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Match(req, m); err != nil {
			b.Fatal(err)
		}
	}
}
