package policy

import (
	"math"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

func TestAdvice(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name string
		in   Settlement
		want Advice
	}{
		{"the jitter is longer", Settlement{Attempt: 3, Observation: Observation{HTTPStatus: 429, Headers: lines("retry-after: 5")}},
			Advice{FailureThrottled, Throttled, true, 8 * s, true}},
		{"what is asked for is longer", Settlement{Attempt: 3, Observation: Observation{HTTPStatus: 429, Headers: lines("retry-after: 50")}},
			Advice{FailureThrottled, Throttled, true, 50 * s, true}},
		{"it is some time ago", Settlement{Attempt: 3, Observation: Observation{HTTPStatus: 429, Age: 30 * s, Headers: lines("retry-after: 50")}},
			Advice{FailureThrottled, Throttled, true, 20 * s, true}},
		{"it has not happened yet", Settlement{Attempt: 3, Observation: Observation{HTTPStatus: 429, Age: -30 * s, Headers: lines("retry-after: 50")}},
			Advice{FailureThrottled, Throttled, true, 50 * s, true}},
		{"too long for a throttle", Settlement{Observation: Observation{HTTPStatus: 429, Age: s, Headers: lines("retry-after: 601")}},
			Advice{FailureQuotaExhausted, Throttled, false, 600 * s, true}},
		{"just short enough", Settlement{Observation: Observation{HTTPStatus: 429, Headers: lines("retry-after: 600")}},
			Advice{FailureThrottled, Throttled, true, 600 * s, true}},
		{"overloaded, and says for how long", Settlement{Observation: Observation{HTTPStatus: 503, Headers: lines("retry-after: 30")}},
			Advice{FailureOverloaded, Failed, true, 30 * s, true}},
		{"told not to", Settlement{Observation: Observation{HTTPStatus: 500, Headers: lines("x-should-retry: false")}},
			Advice{FailureTransient, Failed, false, 0, false}},
		{"told to, in vain", Settlement{Observation: Observation{HTTPStatus: 400, Headers: lines("x-should-retry: true")}},
			Advice{FailureInvalid, Failed, false, 0, false}},
		{"told to", Settlement{Observation: Observation{HTTPStatus: 500, Headers: lines("X-Should-Retry: True")}},
			Advice{FailureTransient, Failed, true, s, false}},
		{"a key that isn't accepted", Settlement{Observation: Observation{HTTPStatus: 401}}, Advice{FailureInvalid, Failed, false, 0, true}},
		{"money", Settlement{Observation: Observation{HTTPStatus: 402}}, Advice{FailureBilling, Failed, false, 0, true}},
		{"size", Settlement{Observation: Observation{HTTPStatus: 413}}, Advice{FailureTooLarge, Failed, false, 0, true}},
		{"a broken connection", Settlement{Outcome: Unknown}, Advice{FailureTransient, Unknown, true, s, false}},
		{"refused, nothing else is told", Settlement{Outcome: Throttled}, Advice{FailureThrottled, Throttled, true, s, true}},
		{"failed, nothing else is told", Settlement{Outcome: Failed}, Advice{FailureTransient, Failed, true, s, false}},
		{"unsent", Settlement{Outcome: Unsent}, Advice{Outcome: Unsent}},
	} {
		p := compile(t, acme())
		if got := p.Release(&c.in, new(limiter.Release)); got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		attempt  uint32
		low, top time.Duration
	}{
		{0, s, 2 * s}, {1, 2 * s, 4 * s}, {2, 4 * s, 8 * s}, {3, 8 * s, 16 * s}, {4, 16 * s, 32 * s},
		{5, 30 * s, 60 * s}, {6, 30 * s, 60 * s}, {math.MaxUint32, 30 * s, 60 * s},
	} {
		if got := backoff(c.attempt, 0); got != c.low {
			t.Errorf("%d: got %v, want %v", c.attempt, got, c.low)
		}
		if got := backoff(c.attempt, math.MaxUint64); got >= c.top || got < c.top-time.Microsecond {
			t.Errorf("%d: got %v, want just below %v", c.attempt, got, c.top)
		}
	}
}
