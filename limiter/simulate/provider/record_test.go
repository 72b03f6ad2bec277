package provider

import (
	"testing"
	"time"
)

// Lenient: everything is accepted, verdicts say what would have been, and the worst
// window is what went through. By hand, 60 a minute.
func TestLenient(t *testing.T) {
	type arrival struct {
		at   time.Duration
		cost int64
		want Verdict
	}
	for _, c := range []struct {
		shape     Shape
		arrivals  []arrival
		peak      int64
		overdraws int64
	}{
		{Sliding, []arrival{
			{0, 40, Verdict{true, Fits, -1, 0}},
			{30 * s, 30, Verdict{true, RateLimited, 0, 30 * s}},
			{60 * s, 30, Verdict{true, Fits, -1, 0}},
			{80 * s, 61, Verdict{true, TooLarge, 0, Never}}, // 121 in (20 s, 80 s]
			{90 * s, 20, Verdict{true, RateLimited, 0, 50 * s}},
		}, 121, 3},
		{Fixed, []arrival{
			{0, 40, Verdict{true, Fits, -1, 0}},
			{30 * s, 30, Verdict{true, RateLimited, 0, 30 * s}},
			{60 * s, 30, Verdict{true, Fits, -1, 0}},
			{80 * s, 61, Verdict{true, TooLarge, 0, Never}},
			{90 * s, 20, Verdict{true, RateLimited, 0, 30 * s}},
		}, 111, 3},
		{Bucket, []arrival{
			{0, 40, Verdict{true, Fits, -1, 0}},
			{30 * s, 30, Verdict{true, Fits, -1, 0}},            // 10 + 30
			{60 * s, 30, Verdict{true, Fits, -1, 0}},            // 10 + 30
			{80 * s, 61, Verdict{true, TooLarge, 0, Never}},     // 20 + 61
			{90 * s, 20, Verdict{true, RateLimited, 0, 31 * s}}, // 71 + 20
		}, 91, 2},
	} {
		t.Run(c.shape.String(), func(t *testing.T) {
			p := newProvider(t, Config{Lenient: true, Limits: []Limit{{Metric: Tokens, Quota: 60, Window: time.Minute, Shape: c.shape}}})
			for i, a := range c.arrivals {
				if got := p.Arrive(a.at, Call{ID: uint64(i), Input: a.cost}); got != a.want {
					t.Errorf("%v: got %+v, want %+v", a.at, got, a.want)
				}
			}
			r := p.Report()
			l := r.Limits[0]
			if want := (Ratio{121, 60}); l.Worst != want || l.WorstEnd != 80*s {
				t.Errorf("worst window %v at %v, want %v at 80s, whatever the shape", l.Worst, l.WorstEnd, want)
			}
			if l.Peak != (Ratio{c.peak, 60}) || l.Overdraws != c.overdraws {
				t.Errorf("peak %v, %d overdraws, want %d and %d", l.Peak, l.Overdraws, c.peak, c.overdraws)
			}
			if r.Accepted != 5 || r.Refused() != 0 || l.Accepted != 181 || l.Throttled != r.Unfit {
				t.Errorf("report %+v", r)
			}
		})
	}
}

// A full bucket lets almost twice its quota through in a window, and overdraws nothing.
func TestWorstOfBucket(t *testing.T) {
	p := newProvider(t, Config{Limits: []Limit{{Metric: Tokens, Quota: 60, Window: time.Minute, Shape: Bucket}}})
	p.Arrive(time.Second, Call{ID: 0, Input: 60})
	for i := range uint64(60) {
		if v := p.Arrive(time.Duration(2+i)*time.Second, Call{ID: 1 + i, Input: 1}); !v.OK {
			t.Fatalf("call %d: %+v", i, v)
		}
	}
	l := p.Report().Limits[0]
	// The window (0.999… s, 60.999… s] has the lump and 59 more; that of (1 s, 61 s] has 60.
	if l.Worst != (Ratio{119, 60}) || l.WorstEnd != 60*s || l.Peak != (Ratio{60, 60}) || l.Overdraws != 0 {
		t.Errorf("got %+v", l)
	}
}

func TestUse(t *testing.T) {
	p := newProvider(t, Config{Limits: []Limit{{Metric: Tokens, Quota: 600, Window: time.Minute, Shape: Sliding}}})
	for i, c := range []struct {
		at   time.Duration
		cost int64
	}{{0, 1}, {999 * ms, 2}, {1 * s, 4}, {5 * s, 8}, {10 * s, 16}} {
		p.Arrive(c.at, Call{ID: uint64(i), Input: c.cost})
	}
	for _, c := range []struct {
		from, to time.Duration
		amount   int64
		use      float64
	}{
		{0, 1 * s, 3, .3},
		{0, 10 * s, 15, .15},
		{1 * s, 5 * s, 4, .1},
		{1 * s, 6 * s, 12, .24},
		{1500 * ms, 6900 * ms, 12, .24}, // the bins that hold them
		{-5 * s, 0, 0, 0},
		{5 * s, 5 * s, 0, 0},
		{0, 310 * s, 31, .01},
	} {
		if got := p.Amount(0, c.from, c.to); got != c.amount {
			t.Errorf("amount in [%v, %v): %d, want %d", c.from, c.to, got, c.amount)
		}
		if got := p.Use(0, c.from, c.to); got < c.use-1e-12 || got > c.use+1e-12 {
			t.Errorf("use in [%v, %v): %v, want %v", c.from, c.to, got, c.use)
		}
	}
}

// Memory follows what the window holds, not how long it runs.
func TestMemory(t *testing.T) {
	p := newProvider(t, Config{Limits: []Limit{{Metric: Tokens, Quota: 1000, Window: time.Second, Shape: Sliding}}})
	for i := range uint64(200_000) {
		now := time.Duration(i) * ms
		p.Arrive(now, Call{ID: i, Input: 1})
		p.Complete(now, i, 0)
	}
	if r := p.Report(); r.Accepted != 200_000 || r.Limits[0].Worst != (Ratio{1000, 1000}) {
		t.Errorf("report %v", r)
	}
	judged := len(p.lines[0].judge.(*sliding).recent.events.buf)
	noted := len(p.lines[0].record.(*ledger).recent.events.buf)
	if judged != 1024 || noted != 1024 || len(p.flights.spare) != 1 {
		t.Errorf("%d and %d events, %d spare calls held, want 1024, 1024, 1", judged, noted, len(p.flights.spare))
	}
}
