package server

import (
	"testing"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

// drawnOn is an organization that workers and a gateway draw on.
const drawnOn = `
revision: 7
cold_start: trust
priority_classes: {standard: {weight: 4, max_wait: 2m}}
models:
  gpt: {context: 100k, max_output: 1000, price: {input: 1, output: 2}}
organizations:
  acme:
    limits: {tokens: 100k/min}
    accounts:
      main:
        provider: openai
        margin: 0%
        charge: {refund: true}
        pools:
          gpt: {models: [gpt], limits: {requests: {quota: 10, window: min, shape: sliding_window}, tokens: {quota: 20k, window: min, shape: sliding_window}, concurrency: 5}}
      spare:
        provider: openai
        margin: 0%
        pools:
          gpt: {models: [gpt], limits: {requests: {quota: 3, window: min, shape: sliding_window}, tokens: {quota: 10k, window: min, shape: sliding_window}}}
          mini: {models: [mini], limits: {requests: 3/min}}
      claude:
        provider: anthropic
        margin: 0%
        pools:
          sonnet: {models: [sonnet], limits: {requests: 600/min, input_tokens: 10k/min, output_tokens: 2k/min}}
    projects:
      search: {limits: {tokens: {quota: 5k, window: min, shape: sliding_window}}}
      envoy: {}
    routes:
      any: {targets: [{account: main, model: gpt}, {account: spare, model: gpt}]}
`

const (
	isOK   = rls.RateLimitResponse_OK
	isOver = rls.RateLimitResponse_OVER_LIMIT
)

// hits gives a descriptor a number of hits of its own; below 0 they are given back.
func hitsAt(n int64, d *common.RateLimitDescriptor) *common.RateLimitDescriptor {
	d.IsNegativeHits = n < 0
	d.HitsAddend = wrapperspb.UInt64(uint64(max(n, -n)))
	return d
}

// draw asks as a gateway does.
func (w *world) draw(descriptors ...*common.RateLimitDescriptor) *rls.RateLimitResponse {
	w.t.Helper()
	a, err := w.shouldRateLimit("acme", descriptors...)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(a.Statuses) != len(descriptors) {
		w.t.Fatalf("%d statuses of %d descriptors", len(a.Statuses), len(descriptors))
	}
	return a
}

func (w *world) held(scope, name string) int64 {
	w.t.Helper()
	l := w.limit(scope, name)
	return l.Held + l.Reserved
}

// wantHeld compares what limits hold.
func (w *world) wantHeld(want map[string]int64) {
	w.t.Helper()
	for limit, amount := range want {
		scope, name, _ := cutLast(limit)
		if name != "concurrency" {
			name += "/min"
		}
		if got := w.held(scope, name); got != amount {
			w.t.Errorf("%s holds %d, want %d", limit, got, amount)
		}
	}
}

func cutLast(s string) (before, after string, ok bool) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == ' ' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// TestDrawCharges: what is charged to whom, by the entries and the hits.
func TestDrawCharges(t *testing.T) {
	const pool, spare, sonnet = "pool/main/gpt ", "pool/spare/gpt ", "pool/claude/sonnet "
	for _, tt := range []struct {
		name string
		ask  []*common.RateLimitDescriptor
		want map[string]int64
	}{
		{"nothing named: the owner alone, and one request is no tokens", list(descriptor("a", "b")),
			map[string]int64{"organization tokens": 0, pool + "requests": 0}},
		{"hits are tokens", list(hitsAt(700, descriptor("project", "search"))),
			map[string]int64{"organization tokens": 700, "project/search tokens": 700, pool + "tokens": 0}},
		{"account and model: a request", list(descriptor("account", "main", "model", "gpt")),
			map[string]int64{pool + "requests": 1, pool + "tokens": 0, pool + "concurrency": 0, spare + "requests": 0}},
		{"and tokens", list(hitsAt(700, descriptor("model", "gpt", "account", "main"))),
			map[string]int64{pool + "requests": 1, pool + "tokens": 700, "organization tokens": 700}},
		{"over several descriptors", list(descriptor("account", "main"), hitsAt(50, descriptor("model", "gpt", "project", "search"))),
			map[string]int64{pool + "requests": 1, pool + "tokens": 50, "project/search tokens": 50}},
		{"one metric", list(hitsAt(9, descriptor("account", "main", "metric", "tokens"))),
			map[string]int64{pool + "requests": 0, pool + "tokens": 9, "organization tokens": 9}},
		{"requests by metric", list(hitsAt(3, descriptor("account", "main", "metric", "requests"))),
			map[string]int64{pool + "requests": 3, pool + "tokens": 0}},
		{"told twice: the larger", list(hitsAt(9, descriptor("account", "main")), hitsAt(12, descriptor("model", "gpt"))),
			map[string]int64{pool + "requests": 1, pool + "tokens": 12}},
		{"either kind of tokens", list(hitsAt(40, descriptor("model", "sonnet"))),
			map[string]int64{sonnet + "requests": 1, sonnet + "input_tokens": 40, sonnet + "output_tokens": 40, "organization tokens": 40}},
		{"both kinds", list(hitsAt(40, descriptor("model", "sonnet", "metric", "input_tokens")), hitsAt(7, descriptor("metric", "output_tokens"))),
			map[string]int64{sonnet + "requests": 0, sonnet + "input_tokens": 40, sonnet + "output_tokens": 7, "organization tokens": 47}},
		{"held to the end", list(hitsAt(40, descriptor("account", "main", "request_id", "r"))),
			map[string]int64{pool + "requests": 1, pool + "tokens": 40, pool + "concurrency": 1}},
		{"checked", list(hitsAt(0, descriptor("account", "main", "request_id", "r"))),
			map[string]int64{pool + "requests": 0, pool + "tokens": 0, pool + "concurrency": 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, drawnOn, memory.Options{}, func(w *world) {
				if a := w.draw(tt.ask...); a.OverallCode != isOK {
					w.t.Fatalf("got %v", a)
				}
				w.wantHeld(tt.want)
			})
		})
	}
}

func list(d ...*common.RateLimitDescriptor) []*common.RateLimitDescriptor { return d }

// TestDrawGivesBack: negative hits give back what was drawn for calls that have no name: the
// latest first, and no more than there is.
func TestDrawGivesBack(t *testing.T) {
	const pool = "pool/main/gpt "
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		w.draw(hitsAt(700, descriptor("account", "main", "project", "search")))
		for _, step := range []struct {
			ask  *common.RateLimitDescriptor
			want map[string]int64
		}{
			{hitsAt(-200, descriptor("account", "main", "project", "search")),
				map[string]int64{pool + "requests": 1, pool + "tokens": 500, "project/search tokens": 500, "organization tokens": 500}},
			{hitsAt(-200, descriptor("project", "search")), // of the owner's limits alone
				map[string]int64{pool + "requests": 1, pool + "tokens": 500, "project/search tokens": 300, "organization tokens": 300}},
			{hitsAt(-1, descriptor("account", "main", "metric", "requests")), map[string]int64{pool + "requests": 0, pool + "tokens": 500}},
			{hitsAt(-9000, descriptor("account", "main", "project", "search")),
				map[string]int64{pool + "tokens": 0, "project/search tokens": 0, "organization tokens": 0}},
		} {
			if a := w.draw(step.ask); a.OverallCode != isOK || len(a.RequestHeadersToAdd) > 0 {
				w.t.Errorf("%v: got %v, want OK, and no target: nothing goes anywhere", step.ask, a)
			}
			w.wantHeld(step.want)
		}
	})
}

// TestDrawErrors: what contradicts itself or names what is not there is an error that says so,
// and charges nothing.
func TestDrawErrors(t *testing.T) {
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		for _, tt := range []struct {
			name string
			ask  []*common.RateLimitDescriptor
			want codes.Code
		}{
			{"two values", list(descriptor("model", "gpt"), descriptor("model", "sonnet")), codes.InvalidArgument},
			{"another organization", list(descriptor("organization", "other")), codes.InvalidArgument},
			{"two metrics", list(descriptor("metric", "tokens", "metric", "requests")), codes.InvalidArgument},
			{"unknown metric", list(descriptor("metric", "token")), codes.NotFound},
			{"unknown project", list(descriptor("project", "serch")), codes.NotFound},
			{"unknown class", list(descriptor("priority_class", "vip")), codes.NotFound},
			{"unknown account", list(descriptor("account", "mian")), codes.NotFound},
			{"unknown model", list(descriptor("model", "gtp")), codes.NotFound},
			{"unknown route", list(descriptor("route", "none")), codes.NotFound},
			{"model elsewhere", list(descriptor("account", "main", "model", "sonnet")), codes.NotFound},
			{"route and model", list(descriptor("route", "any", "model", "gpt")), codes.InvalidArgument},
			{"several pools", list(descriptor("account", "spare")), codes.InvalidArgument},
			{"unknown phase", list(descriptor("phase", "middle")), codes.InvalidArgument},
			{"two phases", list(descriptor("phase", "end"), descriptor("phase", "request")), codes.InvalidArgument},
			{"stock without an end", list(descriptor("account", "main", "metric", "concurrency")), codes.InvalidArgument},
			{"given back in any of several pools", list(hitsAt(-5, descriptor("model", "gpt"))), codes.InvalidArgument},
			{"too many hits", list(hitsAt(1<<41, descriptor("account", "main"))), codes.InvalidArgument},
		} {
			_, err := w.shouldRateLimit("acme", tt.ask...)
			if s := wantCode(w.t, err, tt.want); w.t.Failed() {
				w.t.Fatalf("%s: %v", tt.name, s)
			}
		}
		w.wantHeld(map[string]int64{"organization tokens": 0, "pool/main/gpt requests": 0})
	})
}

// TestDrawStatuses: each descriptor shows its own tightest limit; and after the wait that is
// told the same request passes, not before.
func TestDrawStatuses(t *testing.T) {
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		ask := list(hitsAt(4000, descriptor("project", "search")), hitsAt(4000, descriptor("account", "main", "model", "gpt")), hitsAt(0, descriptor("x", "y")))
		a := w.draw(ask...)
		for i, want := range []struct {
			name      string
			limit     uint32
			remaining uint32
		}{
			{"project/search tokens", 5000, 1000},
			{"pool/main/gpt tokens", 20_000, 16_000},
			{"project/search tokens", 5000, 1000},
		} {
			s := a.Statuses[i]
			if s.Code != isOK || s.CurrentLimit.GetName() != want.name || s.CurrentLimit.GetRequestsPerUnit() != want.limit || s.LimitRemaining != want.remaining ||
				s.CurrentLimit.Unit != rls.RateLimitResponse_RateLimit_MINUTE {
				w.t.Errorf("status %d: %v, want %v", i, s, want)
			}
			if d := s.DurationUntilReset.AsDuration(); d < time.Minute || d > 62*time.Second {
				w.t.Errorf("status %d: free again after %v", i, d)
			}
		}
		time.Sleep(10 * time.Second)
		a = w.draw(ask...)
		if a.OverallCode != isOver || a.Statuses[0].Code != isOver || a.Statuses[1].Code != isOK || a.Statuses[2].Code != isOver {
			w.t.Fatalf("got %v, want the project over and the pool not", a)
		}
		w.wantHeld(map[string]int64{"pool/main/gpt tokens": 4000, "pool/main/gpt requests": 1, "organization tokens": 4000})
		wait := a.Statuses[0].DurationUntilReset.AsDuration()
		time.Sleep(wait - 1100*time.Millisecond)
		if a = w.draw(ask...); a.OverallCode != isOver {
			w.t.Errorf("passed too early: the wait was not true")
		}
		time.Sleep(1100 * time.Millisecond)
		if a = w.draw(ask...); a.OverallCode != isOK {
			w.t.Errorf("after %v: %v", wait, a)
		}
	})
}

// TestDrawWaits: whatever is in the way, the same request passes after the wait that was told.
func TestDrawWaits(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit string
		ask   []*common.RateLimitDescriptor
	}{
		{"sliding window", "tokens: {quota: 1000, window: min, shape: sliding_window}", list(hitsAt(300, descriptor("account", "main")))},
		{"token bucket", "tokens: {quota: 1000, window: min, shape: token_bucket}", list(hitsAt(300, descriptor("account", "main")))},
		{"calendar", "tokens: {quota: 1000, window: day, shape: calendar}", list(hitsAt(300, descriptor("account", "main")))},
		{"requests", "requests: 4/min", list(descriptor("account", "main"))},
		{"check", "requests: 4/min", list(descriptor("account", "main"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			yaml := "cold_start: trust\norganizations:\n  acme:\n    accounts:\n      main: {provider: openai, margin: 0%, pools: {p: {models: [m], limits: {" + tt.limit + "}}}}\n    projects: {\"*\": {}}\n"
			inWorld(t, yaml, memory.Options{}, func(w *world) {
				passed, refused := 0, 0
				for range 40 {
					a := w.draw(tt.ask...)
					if a.OverallCode == isOK {
						passed++
						continue
					}
					if tt.name == "check" {
						a = w.draw(hitsAt(0, tt.ask[0]))
						tt.ask[0].HitsAddend = nil
						if a.OverallCode != isOver {
							w.t.Fatalf("a check passes where a call does not: %v", a)
						}
					}
					refused++
					wait := a.Statuses[0].DurationUntilReset.AsDuration()
					if wait <= 0 {
						w.t.Fatalf("over, and no wait: %v", a)
					}
					time.Sleep(wait)
					if a = w.draw(tt.ask...); a.OverallCode != isOK {
						w.t.Fatalf("after %v: %v", wait, a)
					}
					passed++
				}
				if passed < 5 || refused < 3 {
					w.t.Errorf("passed %d, refused %d", passed, refused)
				}
			})
		})
	}
}

// TestDrawNever: more than a limit ever lets pass is told the longest wait there is.
func TestDrawNever(t *testing.T) {
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		a := w.draw(hitsAt(30_000, descriptor("account", "main", "model", "gpt")))
		if a.OverallCode != isOver || a.Statuses[0].Code != isOver || a.Statuses[0].DurationUntilReset.AsDuration() != 366*24*time.Hour {
			w.t.Errorf("got %v", a)
		}
	})
}

// TestDrawTargets: a model goes where there is room, and the gateway is told where.
func TestDrawTargets(t *testing.T) {
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		seen := map[string]int{}
		for range 13 { // 10 + 3 requests a minute
			a := w.draw(descriptor("model", "gpt"))
			if a.OverallCode != isOK {
				w.t.Fatalf("after %v: %v", seen, a)
			}
			account := ""
			for _, h := range a.RequestHeadersToAdd {
				if h.Key == headerAccount {
					account = h.Value
				}
			}
			seen[account]++
		}
		if seen["main"] != 10 || seen["spare"] != 3 {
			w.t.Errorf("went to %v", seen)
		}
		if a := w.draw(descriptor("model", "gpt")); a.OverallCode != isOver || len(a.RequestHeadersToAdd) > 0 {
			w.t.Errorf("got %v", a)
		}
	})
}

// TestDrawBesideWorkers: a gateway does not pass those who wait, and finds the room that they
// leave.
func TestDrawBesideWorkers(t *testing.T) {
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		r := &pb.AcquireRequest{RequestId: "w", Project: "envoy", Destination: &pb.AcquireRequest_Model{Model: "gpt"}, InputTokens: 15_000}
		r.MaxOutputTokens = new(int64)
		r.Constraints = &pb.Constraints{Accounts: []string{"main"}}
		w.grant(r)
		r.RequestId = "x"
		waiter := w.later(w.t.Context(), r)
		time.Sleep(time.Second)
		a := w.draw(hitsAt(100, descriptor("project", "envoy")), hitsAt(4000, descriptor("account", "main", "model", "gpt")))
		if a.OverallCode != isOver || a.Statuses[0].Code != isOK || a.Statuses[1].Code != isOver || a.Statuses[1].DurationUntilReset.AsDuration() <= 0 {
			w.t.Errorf("got %v, want the pool over: others come first", a)
		}
		<-waiter
	})
}
