package policy

import (
	"math/bits"
	"strings"
	"time"
)

// Bounds of the delay where the provider asks for none: the first one is 1 to 2 s, and
// each doubles, up to a minute.
const (
	firstBackoff = time.Second
	maxBackoff   = time.Minute
)

// Advice is what a worker had better do after a failure.
type Advice struct {
	Class   FailureClass
	Outcome Outcome // as it was derived

	// Retry: the same call may be sent again, under the next attempt, after After.
	Retry bool
	// After is the longer of what the provider asks for and a random part of the backoff;
	// 0 without Retry, but for an exhausted quota that says when it opens.
	After time.Duration
	// OtherTarget: another account or model may serve the call. With Retry that is better,
	// without it the only way.
	OtherTarget bool
}

// explain gives a class to a failure of which the worker told only the outcome. Who tells
// nothing at all has not said that anything failed.
func (f *failure) explain(o Outcome) {
	if f.class != FailureNone {
		return
	}
	switch o {
	case Throttled:
		f.class = FailureThrottled
	case Failed, Unknown:
		f.class = FailureTransient
	}
}

// advise says what to do. What is too large, wrong or a matter of money is never retried,
// whatever x-should-retry says; it is obeyed otherwise.
func (in *Settlement) advise(f *failure, outcome Outcome) Advice {
	a := Advice{Class: f.class, Outcome: outcome}
	status := in.Observation.HTTPStatus
	switch f.class {
	case FailureNone:
		return a
	case FailureThrottled:
		a.Retry, a.OtherTarget = true, true
	case FailureOverloaded:
		a.Retry, a.OtherTarget = true, true
	case FailureTransient:
		a.Retry = true
	case FailureQuotaExhausted:
		a.OtherTarget = true
		a.After = max(0, f.wait-in.Observation.age())
		return a
	case FailureTooLarge, FailureBilling:
		a.OtherTarget = true
		return a
	case FailureInvalid:
		// A key that isn't accepted or a model that isn't there: elsewhere they may be.
		a.OtherTarget = status == 401 || status == 403 || status == 404
		return a
	}
	if strings.EqualFold(find(in.Observation.Headers, "x-should-retry"), "false") {
		a.Retry = false
		return a
	}
	a.After = max(f.wait-in.Observation.age(), backoff(in.Attempt, in.Rand))
	return a
}

// backoff gives a random time between base·2ⁿ and twice that, at most maxBackoff.
func backoff(attempt uint32, random uint64) time.Duration {
	low := maxBackoff / 2
	if attempt < 5 {
		low = min(low, firstBackoff<<attempt)
	}
	part, _ := bits.Mul64(random, uint64(low))
	return low + time.Duration(part)
}
