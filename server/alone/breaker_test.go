package alone

import (
	"testing"
	"time"
)

const timeout = 100 * time.Millisecond

// An attempt that took all of the timeout is enough; attempts that fail sooner are repeated
// until it has passed.
func TestBreaker(t *testing.T) {
	for _, row := range []struct {
		name     string
		took     time.Duration // by each attempt
		attempts int           // until it is away
	}{
		{"no answer", timeout, 1},
		{"slow", 60 * time.Millisecond, 2},
		{"refused", 0, 6}, // after 0, 5, 15, 35, 75 and 100 ms
	} {
		b := NewBreaker(timeout, nil)
		start := time.Unix(100, 0)
		now, attempts := start, 0
		for {
			attempts++
			pause, left := b.Failed(now, now.Add(row.took))
			now = now.Add(row.took)
			if since, away := b.Away(); away != left || away && since != now {
				t.Fatalf("%s: away %v since %v, want %v since %v", row.name, away, since, left, now)
			}
			if left {
				break
			}
			now = now.Add(pause)
		}
		if attempts != row.attempts {
			t.Errorf("%s: away after %d attempts, want %d", row.name, attempts, row.attempts)
		}
		if took := now.Sub(start); took < timeout || took > timeout+row.took {
			t.Errorf("%s: away after %v, want after the timeout, and at most one attempt later", row.name, took)
		}
	}
}

// While it is away, it is asked every 50 to 150 ms; the first that succeeds brings it back.
func TestBreakerReturns(t *testing.T) {
	var next int64
	b := NewBreaker(timeout, func(n int64) int64 { return next % n })
	now := time.Unix(100, 0)
	if b.Succeeded() {
		t.Error("returned, and was never away")
	}
	b.Failed(now, now.Add(timeout))
	since, _ := b.Away()
	for _, row := range []struct {
		random int64
		want   time.Duration
	}{{0, 50 * time.Millisecond}, {int64(100 * time.Millisecond), 150 * time.Millisecond}} {
		next = row.random
		now = now.Add(time.Second)
		if pause, left := b.Failed(now, now); pause != row.want || left {
			t.Errorf("pauses for %v and left %v, want %v and to have left before", pause, left, row.want)
		}
	}
	if still, away := b.Away(); !away || still != since {
		t.Errorf("away %v since %v, want since %v", away, still, since)
	}
	if !b.Succeeded() || b.Succeeded() {
		t.Error("returns once")
	}
	if _, away := b.Away(); away {
		t.Error("still away")
	}
	// What failed before does not count any more.
	now = now.Add(time.Second)
	if _, left := b.Failed(now, now.Add(timeout/2)); left {
		t.Error("away after half the timeout")
	}
}
