package provider

import (
	"testing"
	"time"
)

// What one call of 1,000 input (400 cached), max 500, is counted as when it arrives.
func TestAdmission(t *testing.T) {
	call := Call{Input: 1000, Cached: 400, MaxOutput: 500}
	for _, c := range []struct {
		name                  string
		charge                Charge
		call                  Call
		tokens, input, output int64
	}{
		{"sum, cached free", Charge{}, call, 600 + 500, 600, 500},
		{"sum, cached counts", Charge{CachedPerMille: 1000}, call, 1500, 1000, 500},
		{"cached at a tenth", Charge{CachedPerMille: 100}, call, 640 + 500, 640, 500},
		{"cached at a tenth, rounded up", Charge{CachedPerMille: 100}, Call{Input: 11, Cached: 11}, 2, 2, 0},
		{"max: input is more", Charge{Estimate: EstimateMax}, call, 600, 600, 500},
		{"max: output is more", Charge{Estimate: EstimateMax}, Call{Input: 100, MaxOutput: 500}, 500, 100, 500},
		{"as produced", Charge{Estimate: EstimateInput, DefaultMaxOutput: 99}, call, 600, 600, 0},
		{"burndown of the estimate", Charge{Burndown: 5, BurnEstimate: true}, call, 600 + 2500, 600, 2500},
		{"burndown at the end only", Charge{Burndown: 5}, call, 1100, 600, 500},
		{"no max output", Charge{DefaultMaxOutput: 4096}, Call{Input: 7}, 4103, 7, 4096},
		{"no max output, no default", Charge{}, Call{Input: 7}, 7, 7, 0},
	} {
		for m, want := range map[Metric]int64{Tokens: c.tokens, InputTokens: c.input, OutputTokens: c.output, Requests: 1, Concurrency: 1} {
			if got := c.charge.admission(m, c.call); got != want {
				t.Errorf("%s: %v: got %d, want %d", c.name, m, got, want)
			}
		}
	}
}

// What stands in a limit of tokens (1,000 a minute) after a call that arrived at 0 with
// input 100 and max 500 is completed; probed by what still fits just then.
func TestSettlement(t *testing.T) {
	for _, c := range []struct {
		name   string
		shape  Shape
		charge Charge
		at     time.Duration // of the completion
		output int64
		left   int64 // what fits then
		record int64 // accepted in all
	}{
		{"kept", Sliding, Charge{}, 10 * s, 20, 400, 600},
		{"sliding: credited into the same window", Sliding, Charge{Settle: true}, 10 * s, 20, 880, 120},
		{"sliding: in the last instant of it", Sliding, Charge{Settle: true}, 60*s - 1, 20, 880, 120},
		{"sliding: too late", Sliding, Charge{Settle: true}, 60 * s, 20, 1000, 600},
		{"fixed: credited", Fixed, Charge{Settle: true}, 60*s - 1, 20, 880, 120},
		{"fixed: not into the next window", Fixed, Charge{Settle: true}, 60 * s, 20, 1000, 600},
		{"bucket: credited", Bucket, Charge{Settle: true}, 6 * s, 20, 400 + 100 + 480, 120},
		{"bucket: clamped at the burst", Bucket, Charge{Settle: true}, 30 * s, 20, 1000, 500}, // 100 still used
		{"bucket: full already", Bucket, Charge{Settle: true}, 36 * s, 20, 1000, 600},
		{"burndown: more than the estimate", Sliding, Charge{Settle: true, Burndown: 5}, 10 * s, 140, 200, 800},
		{"burndown: less than the estimate", Sliding, Charge{Settle: true, Burndown: 5}, 10 * s, 20, 800, 200},
		{"burndown: over the quota", Sliding, Charge{Settle: true, Burndown: 5}, 10 * s, 300, -1, 1600},
		{"max: settled to the sum", Sliding, Charge{Estimate: EstimateMax, Settle: true}, 10 * s, 450, 450, 550},
		{"a debt is of its own time", Sliding, Charge{Settle: true, Burndown: 5}, 60 * s, 140, 800, 800},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t, Config{Charge: c.charge, Limits: []Limit{{Metric: Tokens, Quota: 1000, Window: time.Minute, Shape: c.shape}}})
			p.Arrive(0, Call{ID: 1, Input: 100, MaxOutput: 500})
			p.Complete(c.at, 1, c.output)
			if v := p.Arrive(c.at, Call{ID: 2, Input: c.left + 1}); v.OK {
				t.Errorf("%d more fit, want %d", c.left+1, c.left)
			}
			if got := p.Report().Limits[0].Accepted; got != c.record {
				t.Errorf("accepted %d, want %d", got, c.record)
			}
			if got := p.Amount(0, 0, 2*time.Minute); got != c.record {
				t.Errorf("over all bins %d, want %d", got, c.record)
			}
			if c.left >= 0 {
				if v := p.Arrive(c.at, Call{ID: 3, Input: c.left}); !v.OK {
					t.Errorf("%d more do not fit: %+v", c.left, v)
				}
			}
		})
	}
}

// Output counted as it is produced: 100 tokens over 8 s against a quota of 60.
func TestProduced(t *testing.T) {
	limit := Limit{Metric: OutputTokens, Quota: 60, Window: 60 * s, Shape: Sliding}
	t.Run("in steps", func(t *testing.T) {
		p := newProvider(t, Config{Charge: Charge{Estimate: EstimateInput, Steps: 4}, Limits: []Limit{limit}})
		p.Arrive(0, Call{ID: 1, Input: 1000, MaxOutput: 4000, Output: 100, Life: 8 * s})
		for i, c := range []struct {
			at   time.Duration
			want Verdict
			sum  int64
		}{
			{2*s - 1, Verdict{true, Fits, -1, 0}, 0},
			{2 * s, Verdict{true, Fits, -1, 0}, 25},
			{4 * s, Verdict{true, Fits, -1, 0}, 50},
			{6*s - 1, Verdict{true, Fits, -1, 0}, 50},
			{6 * s, Verdict{false, RateLimited, 0, 56 * s}, 75}, // over by 15 until the first 25 go
		} {
			if got := p.Arrive(c.at, Call{ID: uint64(10 + i)}); got != c.want {
				t.Errorf("%v: got %+v, want %+v", c.at, got, c.want)
			}
			if got := p.Report().Limits[0].Accepted; got != c.sum {
				t.Errorf("%v: %d produced, want %d", c.at, got, c.sum)
			}
		}
		p.Complete(8*s, 1, 100)
		l := p.Report().Limits[0]
		if l.Accepted != 100 || l.Worst != (Ratio{100, 60}) || l.WorstEnd != 8*s || l.Overdraws != 2 || l.Throttled != 1 {
			t.Errorf("report %+v", l)
		}
		if v := p.Arrive(62*s, Call{ID: 99}); v.OK || v.RetryAfter != 2*s {
			t.Errorf("75 are left at 62 s: %+v", v)
		}
		if v := p.Arrive(64*s, Call{ID: 99}); !v.OK {
			t.Errorf("50 are left at 64 s: %+v", v)
		}
	})
	t.Run("at the end", func(t *testing.T) {
		p := newProvider(t, Config{Charge: Charge{Estimate: EstimateInput, Burndown: 2}, Limits: []Limit{limit}})
		p.Arrive(0, Call{ID: 1, Output: 100, Life: 8 * s})
		if v := p.Arrive(8*s-1, Call{ID: 2}); !v.OK {
			t.Errorf("before the end: %+v", v)
		}
		p.Complete(8*s, 1, 31)
		if got := p.Report().Limits[0]; got.Accepted != 62 || !got.Worst.Over() {
			t.Errorf("got %+v, want 62 accepted", got)
		}
		if v := p.Arrive(8*s, Call{ID: 3}); v.OK || v.RetryAfter != 60*s {
			t.Errorf("after the end: %+v", v)
		}
	})
	t.Run("ends early, with less than was counted", func(t *testing.T) {
		p := newProvider(t, Config{Charge: Charge{Estimate: EstimateInput, Steps: 4}, Limits: []Limit{limit}})
		p.Arrive(0, Call{ID: 1, Output: 100, Life: 8 * s})
		p.Arrive(0, Call{ID: 2, Output: 8, Life: 4 * s})
		p.Complete(3*s, 1, 10)
		p.Complete(3*s, 2, 7)
		p.Arrive(20*s, Call{ID: 3})
		if got := p.Report().Limits[0].Accepted; got != 25+7 {
			t.Errorf("accepted %d, want 32", got)
		}
	})
	t.Run("a quota reached exactly refuses nothing", func(t *testing.T) {
		p := newProvider(t, Config{Charge: Charge{Estimate: EstimateInput}, Limits: []Limit{limit}})
		p.Arrive(0, Call{ID: 1})
		p.Complete(0, 1, 60)
		if v := p.Arrive(0, Call{ID: 2}); !v.OK {
			t.Errorf("got %+v", v)
		}
	})
}
