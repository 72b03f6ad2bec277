package alone

import (
	"math/rand/v2"
	"sync"
	"time"
)

// A Breaker says whether a log is near or away, by what becomes of attempts to reach it. Of
// those there is one at a time: whoever makes it tells the breaker how it went, and pauses
// for as long as the breaker says before the next. It may be asked from anywhere.
//
// The log is away once attempts have failed for the store's timeout: after the first if it
// took all of it, or after several that failed sooner. It is near again with the first that
// succeeds.
type Breaker struct {
	timeout time.Duration
	random  func(n int64) int64 // 0 … n−1

	mu       sync.Mutex
	failures int       // without an attempt that succeeded
	began    time.Time // of the first of those
	away     bool
	since    time.Time // when it went away
}

// How long to pause between attempts.
const (
	nearPause  = 5 * time.Millisecond // after the first failure; twice as long after each
	awayPause  = 50 * time.Millisecond
	awayRandom = 100 * time.Millisecond // up to so much more
)

// NewBreaker makes a breaker that holds the log to be near. timeout is the store's, for one
// attempt. random gives a number from 0 to n − 1; nil: any, so that many processes do not
// come back at the same moment.
func NewBreaker(timeout time.Duration, random func(n int64) int64) *Breaker {
	if random == nil {
		random = rand.Int64N
	}
	return &Breaker{timeout: timeout, random: random}
}

// Failed notes that an attempt has failed, which began and ended then. It gives how long to
// pause before the next, and whether the log has gone away with it.
func (b *Breaker) Failed(began, ended time.Time) (pause time.Duration, left bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures == 0 {
		b.began = began
	}
	b.failures++
	if !b.away && ended.Sub(b.began) >= b.timeout {
		b.away, b.since, left = true, ended, true
	}
	if b.away {
		return awayPause + time.Duration(b.random(int64(awayRandom)+1)), left
	}
	rest := b.timeout - ended.Sub(b.began)
	return min(nearPause<<min(b.failures-1, 10), rest), false
}

// Succeeded notes that an attempt has succeeded, and says whether the log was away until then.
func (b *Breaker) Succeeded() (returned bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	returned = b.away
	b.failures, b.away = 0, false
	return returned
}

// Away says whether the log is away, and since when.
func (b *Breaker) Away() (since time.Time, away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.since, b.away
}
