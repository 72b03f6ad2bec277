package envoy

import (
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
