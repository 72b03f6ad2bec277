package envoy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/watermaster-project/watermaster/limiter"
)

// A world is a directory with an engine behind it, and its time.
type world struct {
	limits *Limits
	engine *limiter.Engine
	now    limiter.Time
	match  Match
	events []limiter.Event // of the last request
}

func newWorld(t testing.TB, text string) *world {
	w := &world{limits: parse(t, text), engine: limiter.New(), now: 1}
	w.engine.Apply(&limiter.Upgrade{Behaviour: limiter.BehaviourHits}, w.now, nil)
	return w
}

func (w *world) ask(t testing.TB, o Answering, d ...*common.RateLimitDescriptor) *rls.RateLimitResponse {
	t.Helper()
	if err := w.limits.Domain("d").Match(request("d", d...), &w.match); err != nil {
		t.Fatal(err)
	}
	w.events = w.engine.Apply(&w.match.Hit, w.now, nil)
	return w.match.Response(w.events, o)
}

// What is told of a wait is true: before it the same request is refused, after it it passes, if
// nobody else comes; and what was refused has charged nothing.
func TestWaitsAreTrue(t *testing.T) {
	w := newWorld(t, `
domain: d
descriptors:
  - {key: user, rate_limit: {unit: second, requests_per_unit: 5}}
  - {key: model, rate_limit: {unit: minute, requests_per_unit: 40}}
  - {key: quota, quota_mode: true, rate_limit: {unit: minute, requests_per_unit: 30}}
  - {key: spare, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 60}}
  - {key: shadow, shadow_mode: true, rate_limit: {unit: second, requests_per_unit: 2}}
`)
	random := rand.New(rand.NewPCG(3, 4))
	keys := []string{"user", "model", "quota", "spare", "shadow"}
	refused := 0
	for i := range 5000 {
		w.now = w.now.Add(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
		var d []*common.RateLimitDescriptor
		for _, key := range keys {
			if random.IntN(2) == 0 {
				x := descriptor(key, fmt.Sprint(random.IntN(2)))
				if random.IntN(3) == 0 {
					x.HitsAddend = wrapperspb.UInt64(uint64(random.IntN(4)))
				}
				d = append(d, x)
			}
		}
		if d == nil {
			continue
		}
		r := w.ask(t, Answering{}, d...)
		if r.OverallCode != rls.RateLimitResponse_OVER_LIMIT {
			continue
		}
		refused++
		if slices.ContainsFunc(w.events, func(e limiter.Event) bool { return e.Charged }) {
			t.Fatalf("request %d was refused and charged: %v", i, r)
		}
		wait, spares, free := time.Duration(0), never, true
		for j, s := range r.Statuses {
			over := s.Code == rls.RateLimitResponse_OVER_LIMIT
			switch until := s.DurationUntilReset.AsDuration(); {
			case w.match.Rules[j].Quota && over:
				spares, free = min(spares, until), false
			case w.match.Rules[j].Quota:
				spares = 0 // one of them has room
			case over:
				wait = max(wait, until)
			}
		}
		if !free { // until one of quota_mode has room too
			wait = max(wait, spares)
		}
		if wait > time.Second {
			w.now = w.now.Add(wait - time.Second)
			if r := w.ask(t, Answering{}, d...); r.OverallCode != rls.RateLimitResponse_OVER_LIMIT {
				t.Fatalf("request %d: it passes a second earlier than it was told, which is rounded by less: %v", i, r)
			}
			wait = time.Second
		}
		w.now = w.now.Add(wait)
		if r := w.ask(t, Answering{}, d...); r.OverallCode != rls.RateLimitResponse_OK {
			t.Fatalf("request %d: after the wait that it was told: %v", i, r)
		}
	}
	if refused < 200 {
		t.Errorf("only %d were refused", refused)
	}
}

// No window holds more than the quota, wherever it begins, while somebody asks without end:
// what fixed windows let through twice at their boundary.
func TestNoBurstAtBoundary(t *testing.T) {
	w := newWorld(t, limit("unit: minute, requests_per_unit: 10"))
	w.now = limiter.Time(59 * time.Second) // since the epoch
	var passed []limiter.Time
	for range 2000 {
		if r := w.ask(t, Answering{}, descriptor("k", "v")); r.OverallCode == rls.RateLimitResponse_OK {
			passed = append(passed, w.now)
		}
		w.now = w.now.Add(100 * time.Millisecond)
	}
	for i := 10; i < len(passed); i++ {
		if between := passed[i].Sub(passed[i-10]); between < time.Minute {
			t.Fatalf("11 passed within %v", between)
		}
	}
	if got, want := len(passed), 40; got != want { // in 200 s
		t.Errorf("%d passed, want %d", got, want)
	}
}

// A look passes at exactly the limit, and not beyond; what is given back can be had again.
func TestLooksAndRefunds(t *testing.T) {
	w := newWorld(t, limit("unit: minute, requests_per_unit: 10"))
	of := func(hits uint64, negative bool) *common.RateLimitDescriptor {
		d := descriptor("k", "v")
		d.HitsAddend, d.IsNegativeHits = wrapperspb.UInt64(hits), negative
		return d
	}
	for _, step := range []struct {
		rule      string
		d         *common.RateLimitDescriptor
		code      rls.RateLimitResponse_Code
		remaining uint32
	}{
		{"most of it", of(9, false), rls.RateLimitResponse_OK, 1},
		{"more than is left charges nothing", of(2, false), rls.RateLimitResponse_OVER_LIMIT, 1},
		{"what is left", of(1, false), rls.RateLimitResponse_OK, 0},
		{"a look at exactly the limit", of(0, false), rls.RateLimitResponse_OK, 0},
		{"one more", of(1, false), rls.RateLimitResponse_OVER_LIMIT, 0},
		{"giving back", of(4, true), rls.RateLimitResponse_OK, 4},
		{"and having it again", of(4, false), rls.RateLimitResponse_OK, 0},
		{"giving back more than there was", of(100, true), rls.RateLimitResponse_OK, 10},
		{"more than ever fits", of(11, false), rls.RateLimitResponse_OVER_LIMIT, 10},
		{"far more than that", of(1<<63, false), rls.RateLimitResponse_OVER_LIMIT, 10},
		{"it is as it was", of(10, false), rls.RateLimitResponse_OK, 0},
	} {
		s := w.ask(t, Answering{}, step.d).Statuses[0]
		if s.Code != step.code || s.LimitRemaining != step.remaining {
			t.Errorf("%s: got %v with %d remaining, want %v with %d", step.rule, s.Code, s.LimitRemaining, step.code, step.remaining)
		}
	}
}

// One that is over keeps the others from being charged, unless all are to be.
func TestTogether(t *testing.T) {
	w := newWorld(t, "domain: d\ndescriptors: [{key: a, rate_limit: {unit: day, requests_per_unit: 1}}, {key: b, rate_limit: {unit: day, requests_per_unit: 9}}]")
	both := []*common.RateLimitDescriptor{descriptor("a", "v"), descriptor("b", "v")}
	for i, want := range []uint32{8, 8, 8} {
		if got := w.ask(t, Answering{}, both...).Statuses[1].LimitRemaining; got != want {
			t.Errorf("request %d: got %d remaining, want %d", i, got, want)
		}
	}
	if err := w.limits.Domain("d").Match(request("d", both...), &w.match); err != nil {
		t.Fatal(err)
	}
	w.match.Hit.Always = true
	r := w.match.Response(w.engine.Apply(&w.match.Hit, w.now, nil), Answering{})
	if got, want := r.Statuses[1].LimitRemaining, uint32(7); got != want || r.OverallCode != rls.RateLimitResponse_OVER_LIMIT {
		t.Errorf("charging always: got %d remaining and %v, want %d and OVER_LIMIT", got, r.OverallCode, want)
	}
}

// A reload that changes a quota keeps what was counted; one of a unit begins anew.
func TestReloadKeepsCounts(t *testing.T) {
	w := newWorld(t, limit("unit: hour, requests_per_unit: 10"))
	w.ask(t, Answering{}, descriptor("k", "v"))
	w.limits = parse(t, limit("unit: hour, requests_per_unit: 5, name: n"))
	if got, want := w.ask(t, Answering{}, descriptor("k", "v")).Statuses[0].LimitRemaining, uint32(3); got != want {
		t.Errorf("another quota: got %d remaining, want %d", got, want)
	}
	w.limits = parse(t, limit("unit: day, requests_per_unit: 5"))
	if got, want := w.ask(t, Answering{}, descriptor("k", "v")).Statuses[0].LimitRemaining, uint32(4); got != want {
		t.Errorf("another unit: got %d remaining, want %d", got, want)
	}
}
