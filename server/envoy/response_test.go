package envoy

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	typed "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"

	"github.com/watermaster-project/watermaster/limiter"
)

const modes = `
domain: d
descriptors:
  - {key: plain, rate_limit: {unit: minute, requests_per_unit: 10, name: plain-limit}}
  - {key: other, rate_limit: {unit: hour, requests_per_unit: 20}}
  - {key: shadow, shadow_mode: true, rate_limit: {unit: minute, requests_per_unit: 30}}
  - {key: quota, quota_mode: true, rate_limit: {unit: minute, requests_per_unit: 40}}
  - {key: spare, quota_mode: true, rate_limit: {unit: minute, requests_per_unit: 50}}
  - {key: open, quota_mode: true, rate_limit: {unlimited: true}}
  - {key: both, quota_mode: true, shadow_mode: true, rate_limit: {unit: minute, requests_per_unit: 60}}
  - {key: instead, rate_limit: {unit: minute, requests_per_unit: 70, replaces: [{name: plain-limit}]}}
  - {key: free, rate_limit: {unlimited: true, name: free-limit}}
  - {key: bare}
`

// respond answers a request for keys; those that end in ! are over their limit, with the
// wait of their row.
func respond(t *testing.T, text string, o Answering, keys ...string) *rls.RateLimitResponse {
	t.Helper()
	var d []*common.RateLimitDescriptor
	for _, key := range keys {
		d = append(d, descriptor(strings.TrimSuffix(key, "!"), "v"))
	}
	m := match(t, parse(t, text), d...)
	var events []limiter.Event
	for i, key := range keys {
		if m.Counted(i) < 0 {
			continue
		}
		e := limiter.Event{Remaining: int64(5 + i), ResetAfter: time.Duration(i+1) * time.Second}
		if strings.HasSuffix(key, "!") {
			e = limiter.Event{Over: true, Remaining: 0, RetryAfter: time.Duration(i+1) * time.Second, ResetAfter: time.Hour}
		}
		events = append(events, e)
	}
	return m.Response(events, o)
}

// codes shows the codes of an answer: overall, then each status.
func codes(r *rls.RateLimitResponse) string {
	var b strings.Builder
	b.WriteString(r.OverallCode.String())
	b.WriteString(":")
	for _, s := range r.Statuses {
		b.WriteString(" ")
		b.WriteString(s.Code.String())
	}
	return b.String()
}

// Which codes there are, overall and for each descriptor.
func TestCodes(t *testing.T) {
	for _, row := range []struct {
		rule string
		keys string
		want string
	}{
		{"under the limit", "plain", "OK: OK"},
		{"over the limit", "plain!", "OVER_LIMIT: OVER_LIMIT"},
		{"any that is over stops the request, each tells its own", "plain other!", "OVER_LIMIT: OK OVER_LIMIT"},
		{"nothing matches", "unknown", "OK: OK"},
		{"matched without a limit", "bare plain!", "OVER_LIMIT: OK OVER_LIMIT"},
		{"unlimited", "free", "OK: OK"},
		{"replaced", "plain instead!", "OVER_LIMIT: OK OVER_LIMIT"},
		{"shadow_mode stays OK", "shadow!", "OK: OK"},
		{"shadow_mode stops nothing else", "shadow! plain", "OK: OK OK"},
		{"quota_mode: one of two over", "quota! spare", "OK: OVER_LIMIT OK"},
		{"quota_mode: all over", "quota! spare!", "OVER_LIMIT: OVER_LIMIT OVER_LIMIT"},
		{"quota_mode: the only one over", "quota!", "OVER_LIMIT: OVER_LIMIT"},
		{"quota_mode beside one that has room", "quota! plain", "OVER_LIMIT: OVER_LIMIT OK"},
		{"quota_mode beside one that is over", "quota plain!", "OVER_LIMIT: OK OVER_LIMIT"},
		{"quota_mode: an unlimited one never is over", "quota! open", "OK: OVER_LIMIT OK"},
		{"quota_mode: one in shadow_mode never is over", "quota! both!", "OK: OVER_LIMIT OK"},
	} {
		if got := codes(respond(t, modes, Answering{}, strings.Fields(row.keys)...)); got != row.want {
			t.Errorf("%s: got %s, want %s", row.rule, got, row.want)
		}
	}
}

// Global shadow: overall is OK, the statuses tell the truth.
func TestGlobalShadow(t *testing.T) {
	got := codes(respond(t, modes, Answering{Shadow: true}, "plain!", "other", "quota!"))
	if want := "OK: OVER_LIMIT OK OVER_LIMIT"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What a status tells beside its code.
func TestStatuses(t *testing.T) {
	plain := &rls.RateLimitResponse_RateLimit{Name: "plain-limit", RequestsPerUnit: 10, Unit: rls.RateLimitResponse_RateLimit_MINUTE}
	for _, row := range []struct {
		rule      string
		key       string
		event     *limiter.Event
		limit     *rls.RateLimitResponse_RateLimit
		remaining uint32
		reset     int64 // seconds; -1: none
	}{
		{"its limit with name, what remains, until it is empty", "plain", &limiter.Event{Remaining: 3, ResetAfter: 7 * time.Second}, plain, 3, 7},
		{"empty already", "plain", &limiter.Event{Remaining: 10}, plain, 10, 0},
		{"rounded up", "plain", &limiter.Event{Remaining: 3, ResetAfter: 7*time.Second + 1}, plain, 3, 8},
		{"over: until the same passes", "plain", &limiter.Event{Over: true, RetryAfter: time.Millisecond, ResetAfter: time.Hour}, plain, 0, 1},
		{"over with something left for less", "plain", &limiter.Event{Over: true, Remaining: 2, RetryAfter: 40 * time.Second}, plain, 2, 40},
		{"over for ever", "plain", &limiter.Event{Over: true, RetryAfter: -1}, plain, 0, 366 * 24 * 3600},
		{"below what 32 bits hold", "plain", &limiter.Event{Remaining: math.MaxInt64}, plain, math.MaxUint32, 0},
		{"never negative", "plain", &limiter.Event{Over: true, Remaining: -5, RetryAfter: time.Second}, plain, 0, 1},
		{"unlimited: remaining is the largest, no limit", "free", nil, nil, math.MaxUint32, -1},
		{"no match: no limit, nothing remaining", "unknown", nil, nil, 0, -1},
	} {
		m := match(t, parse(t, modes), descriptor(row.key, "v"))
		var events []limiter.Event
		if row.event != nil {
			events = []limiter.Event{*row.event}
		}
		s := m.Response(events, Answering{}).Statuses[0]
		reset := int64(-1)
		if s.DurationUntilReset != nil {
			reset = s.DurationUntilReset.Seconds
		}
		if !proto.Equal(s.CurrentLimit, row.limit) && (s.CurrentLimit != nil || row.limit != nil) ||
			s.LimitRemaining != row.remaining || reset != row.reset {
			t.Errorf("%s: got %v, want %v, %d, %d s", row.rule, s, row.limit, row.remaining, row.reset)
		}
	}
}

// An override shows the limit that the request brought.
func TestOverrideIsShown(t *testing.T) {
	d := descriptor("plain", "v")
	d.Limit = &common.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: 3, Unit: typed.RateLimitUnit_DAY}
	got := match(t, parse(t, modes), d).Response(make([]limiter.Event, 1), Answering{}).Statuses[0].CurrentLimit
	want := &rls.RateLimitResponse_RateLimit{RequestsPerUnit: 3, Unit: rls.RateLimitResponse_RateLimit_DAY}
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// An unknown domain limits nothing, overrides included.
func TestUnknownDomain(t *testing.T) {
	d := descriptor("plain", "v")
	d.Limit = &common.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: 3, Unit: typed.RateLimitUnit_DAY}
	m := &Match{}
	if err := parse(t, modes).Domain("unknown").Match(request("unknown", d, descriptor("k", "v")), m); err != nil {
		t.Fatal(err)
	}
	r := m.Response(nil, Answering{Headers: &DefaultHeaders})
	if got, want := codes(r), "OK: OK OK"; got != want || len(m.Hit.Counters) > 0 || r.ResponseHeadersToAdd != nil {
		t.Errorf("got %s with %d counters and %v, want %s", got, len(m.Hit.Counters), r.ResponseHeadersToAdd, want)
	}
	for i, s := range r.Statuses {
		if s.CurrentLimit != nil || s.LimitRemaining != 0 {
			t.Errorf("status %d: got %v, want no limit", i, s)
		}
	}
}

// Which status the headers tell of. The limit of each key is another, and its wait its place.
func TestHeaders(t *testing.T) {
	for _, row := range []struct {
		rule, keys, want string
	}{
		{"the least remaining", "other plain", "RateLimit-Limit=20 RateLimit-Remaining=5 RateLimit-Reset=1"},
		{"one over before one that is not", "other plain!", "RateLimit-Limit=10 RateLimit-Remaining=0 RateLimit-Reset=2"},
		{"of two over, the longer wait", "plain! other!", "RateLimit-Limit=20 RateLimit-Remaining=0 RateLimit-Reset=2"},
		{"not those without a limit", "free unknown plain", "RateLimit-Limit=10 RateLimit-Remaining=7 RateLimit-Reset=3"},
		{"none without any limit", "free unknown", ""},
	} {
		got := headers(respond(t, modes, Answering{Headers: &DefaultHeaders}, strings.Fields(row.keys)...))
		if got != row.want {
			t.Errorf("%s: got %s, want %s", row.rule, got, row.want)
		}
	}
	named := Answering{Headers: &Headers{Limit: "x-limit", Reset: "x-reset"}}
	if got, want := headers(respond(t, modes, named, "plain")), "x-limit=10 x-reset=1"; got != want {
		t.Errorf("names that are set: got %s, want %s", got, want)
	}
	if got := headers(respond(t, modes, Answering{}, "plain!")); got != "" {
		t.Errorf("off by default: got %s", got)
	}
}

func headers(r *rls.RateLimitResponse) string {
	var all []string
	for _, h := range r.ResponseHeadersToAdd {
		all = append(all, fmt.Sprintf("%s=%s", h.Key, h.Value))
	}
	return strings.Join(all, " ")
}

func BenchmarkResponse(b *testing.B) {
	l, req := worked(b)
	m := &Match{}
	if err := l.Domain("d").Match(req, m); err != nil {
		b.Fatal(err)
	}
	events := make([]limiter.Event, len(m.Hit.Counters))
	b.ReportAllocs()
	for b.Loop() {
		m.Response(events, Answering{})
	}
}
