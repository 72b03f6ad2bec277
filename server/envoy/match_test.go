package envoy

import (
	"slices"
	"testing"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
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
