package server

import (
	"testing"
	"time"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/store/memory"
)

// drawWords are what descriptors are made of: names that mean something, and some that do not.
var drawWords = []string{
	"", "organization", "acme", "other", "project", "search", "envoy", "account", "main", "spare", "claude", "model", "gpt", "mini", "sonnet",
	"route", "any", "priority_class", "standard", "request_id", "r", "s", "lease_id", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB", "phase", "request", "end",
	"metric", "tokens", "requests", "input_tokens", "output_tokens", "cost", "concurrency", "\xff", "*",
}

// drawRequests reads bytes as requests: a word for each key and value, and how many hits.
func drawRequests(b []byte) (all []*rls.RateLimitRequest) {
	next := func() (n int) {
		if len(b) > 0 {
			n, b = int(b[0]), b[1:]
		}
		return n
	}
	for len(b) > 0 && len(all) < 16 {
		req := &rls.RateLimitRequest{Domain: "acme", HitsAddend: uint32(next() % 4 * 1000)}
		for range 1 + next()%3 {
			d := descriptor()
			for range next() % 6 {
				d.Entries = append(d.Entries, descriptor(drawWords[next()%len(drawWords)], drawWords[next()%len(drawWords)]).Entries...)
			}
			if n := next(); n%3 > 0 {
				hitsAt([]int64{0, 1, 500, 1 << 30, 1 << 40, -1, -1 << 40, 1 << 41}[n/3%8], d)
			}
			req.Descriptors = append(req.Descriptors, d)
		}
		all = append(all, req)
	}
	return all
}

// FuzzDraw: no requests make a handler panic or fail; an error or OVER_LIMIT charges nothing; an
// answer has a status for each descriptor, and a wait wherever one is over.
func FuzzDraw(f *testing.F) {
	at := func(words ...string) (b []byte) {
		b = append(b, byte(len(words)/2))
		for _, w := range words {
			for i, known := range drawWords {
				if known == w {
					b = append(b, byte(i))
				}
			}
		}
		return b
	}
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(append(all, 0, 0), p...)
		}
		return all
	}
	f.Add(join(append(at("account", "main", "request_id", "r"), 7), append(at("account", "main", "request_id", "r"), 16)))
	f.Add(join(append(at("model", "gpt", "request_id", "r", "phase", "end"), 10), append(at("route", "any", "priority_class", "standard"), 0)))
	f.Add(join(append(at("project", "search", "metric", "tokens"), 13), append(at("project", "search"), 1)))
	f.Add(join(append(at("lease_id", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB", "phase", "end"), 7)))
	cfg := parse(f, drawnOn)
	still := time.Unix(1_000_000, 0).UnixNano()
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := New(t.Context(), Options{Config: cfg, Log: memory.Open(memory.Options{Clock: func() int64 { return still }})})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		o := s.directory.Load().list[0]
		for _, req := range drawRequests(b) {
			before := heldBy(o)
			answer, err := s.draw(t.Context(), o, req)
			if err != nil {
				if code := statusOf(err).Error(); code == "rpc error: code = Internal desc = internal error" {
					t.Fatalf("%v: %v", req, err)
				}
			}
			if err == nil && len(answer.Statuses) != len(req.Descriptors) {
				t.Fatalf("%v: %d statuses", req, len(answer.Statuses))
			}
			over := false
			for _, status := range answer.GetStatuses() {
				if status.Code == isOver {
					if over = true; status.DurationUntilReset.AsDuration() <= 0 {
						t.Fatalf("%v: over and no wait: %v", req, answer)
					}
				}
			}
			if over != (answer.GetOverallCode() == isOver) {
				t.Fatalf("%v: the statuses do not say what all come to: %v", req, answer)
			}
			if after := heldBy(o); (err != nil || over) && after != before {
				t.Fatalf("%v: charged %d where it was not let through: %v, %v", req, after-before, answer, err)
			}
		}
	})
}

// heldBy sums up all that is charged.
func heldBy(o *organization) (sum int64) {
	o.replica.Lock()
	defer o.replica.Unlock()
	for _, l := range o.engine().Limits(limiter.Time(0)) {
		sum += l.Held + l.Reserved
	}
	return sum
}
