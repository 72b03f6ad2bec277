package provider

import (
	"fmt"
	"time"
)

// A Call is one HTTP request. All amounts are within 0 … 2³².
type Call struct {
	ID        uint64 // unique among the calls in flight
	Input     int64  // tokens, cached ones included
	Cached    int64  // tokens of Input found in the provider's cache, ≤ Input
	MaxOutput int64  // tokens; 0: none named, so Charge.DefaultMaxOutput

	// What only the simulation knows. It serves Charge.Steps alone: what the call
	// will have produced Life after its arrival.
	Output int64
	Life   time.Duration
}

const mostTokens = 1 << 32

func (c Call) validate() error {
	for _, n := range [...]int64{c.Input, c.Cached, c.MaxOutput, c.Output} {
		if n < 0 || n > mostTokens {
			return fmt.Errorf("call %d: %d tokens are not within 0 … 2³²", c.ID, n)
		}
	}
	if c.Cached > c.Input {
		return fmt.Errorf("call %d: %d of %d input tokens cached", c.ID, c.Cached, c.Input)
	}
	if c.Life < 0 {
		return fmt.Errorf("call %d: a life of %v", c.ID, c.Life)
	}
	return nil
}

// A Kind says why a call does not fit.
type Kind uint8

const (
	Fits        Kind = iota // it does
	Concurrent              // too many calls in flight; nobody knows until when
	RateLimited             // fits after RetryAfter
	TooLarge                // never fits
)

var kindNames = [...]string{"fits", "concurrent", "rate limited", "too large"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Never is the RetryAfter of a call that is TooLarge.
const Never time.Duration = -1

// A Verdict is the answer to an arrival. With Config.Lenient OK is always true, and
// the other fields say what a strict provider would have answered.
type Verdict struct {
	OK   bool // the call was admitted and charged
	Kind Kind

	// Limit is the limit that stops the call longest: an index into Report.Limits, and
	// -1 where Kind is Fits. TooLarge is longer than any wait, and a wait longer than Concurrent.
	Limit int

	// RetryAfter is the exact time until every limit has room for this call if nothing
	// else happens, rounded up to a nanosecond: it fits then and not one nanosecond
	// earlier. 0 where Kind is Fits or Concurrent, Never where it is TooLarge. Output
	// that calls in flight have yet to produce, and refusals that count, may prolong it.
	RetryAfter time.Duration
}
