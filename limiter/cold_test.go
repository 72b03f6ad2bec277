package limiter

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestColdStartLetsAllGo: where a share is kept for heavier classes, and the margin covers it,
// the lightest class goes at once too.
func TestColdStartLetsAllGo(t *testing.T) {
	for _, shape := range []Shape{SlidingWindow, TokenBucket} {
		for margin, want := range map[uint32]EventKind{0: Queued, 200_000: Granted} {
			e := New()
			e.Apply(&Configure{
				Generation: 1, ColdStart: Pace, MaxProjects: 1,
				Classes:  []ClassSpec{{Name: "interactive", Weight: 16, Reserve: 50_000}, {Name: "batch", Weight: 1, Paced: true}},
				Projects: []ProjectSpec{{Name: "p", Weight: 1}},
				Pools: []PoolSpec{{Name: "a", Models: []string{"m"}, StartWithin: time.Second, Limits: []LimitSpec{
					{Name: "t", Metric: Tokens, Shape: shape, Quota: 100_000, Window: time.Minute, Jitter: time.Second, Margin: margin}}}},
			}, Time(time.Hour), nil)
			for _, ev := range e.Apply(&Acquire{Key: Key{1}, Lease: LeaseID{1, 1}, Project: "p", Class: "batch", Arrived: Time(time.Hour),
				MaxWait: time.Hour, TTL: time.Minute, Targets: []Target{{Pool: "a", Model: "m", Charges: []Charge{{Tokens, ToPool, 1000}}}}}, Time(time.Hour), nil) {
				if ev.Kind != want {
					t.Errorf("shape %d, margin %d: got kind %d, want %d", shape, margin, ev.Kind, want)
				}
			}
		}
	}
}

// TestColdStart: a process used a quota before and its state was lost; the next one begins
// cold, under more demand than there is. Whatever the windows at the provider hold of both
// stays within the quota (wait), or exceeds it by what pace lets go at once if the use was
// even. Trust shows that the test can fail.
func TestColdStart(t *testing.T) {
	const quota, window, jitter = 60_000, time.Minute, time.Second
	second := func(s float64) Time { return Time(s * float64(time.Second)) }
	type sent struct {
		at     Time
		amount int64
	}
	tests := []struct {
		name   string
		how    ColdStart
		lump   bool // all of the former use in its last instant
		kept   uint32
		margin uint32
		most   float64 // of the quota, in any window
		least  float64
	}{
		{"trust, even", Trust, false, 0, 0, 2, 1.2},
		{"pace, even", Pace, false, 0, 0, 1.02, 0.97},
		{"pace, even, a margin of 2 %", Pace, false, 0, 20_000, 1, 0.95},
		{"pace, even, a margin and a share kept", Pace, false, 50_000, 100_000, 1, 0.85},
		{"pace, a lump", Pace, true, 0, 0, 2, 1.5},
		{"wait, even", Wait, false, 0, 0, 1, 0.97},
		{"wait, a lump", Wait, true, 0, 0, 1, 0.97},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := rand.New(rand.NewPCG(1, 2))
			begin := second(1000)
			var calls []sent
			former := quota - quota*int64(tt.margin)/1_000_000
			for i := range int64(600) {
				at := begin - Time(window) + Time(int64(window)*i/600)
				if tt.lump {
					at = begin - 1
				}
				calls = append(calls, sent{at, former / 600})
			}
			e := New()
			e.Apply(&Configure{
				Generation: 1, ColdStart: tt.how, MaxProjects: 1,
				Classes:  []ClassSpec{{Name: "interactive", Weight: 16, Reserve: tt.kept}, {Name: "standard", Weight: 1}},
				Projects: []ProjectSpec{{Name: "p", Weight: 1}},
				Pools: []PoolSpec{{Name: "a", Models: []string{"m"}, StartWithin: jitter, Limits: []LimitSpec{
					{Name: "t", Metric: Tokens, Quota: quota, Window: window, Jitter: jitter, Margin: tt.margin}}}},
			}, begin, nil)
			for n, now := uint64(0), begin; now < begin+second(180); now += second(0.05) {
				for _, ev := range e.Apply(&Tick{}, now, nil) {
					if ev.Kind == Granted {
						calls = append(calls, sent{now + Time(g.Int64N(int64(jitter))), 500})
					}
				}
				for e.waiting < 20 {
					n++
					key := Key{byte(n), byte(n >> 8), byte(n >> 16)}
					for _, ev := range e.Apply(&Acquire{Key: key, Lease: LeaseID{1, n}, Project: "p", Class: "standard", Arrived: now,
						MaxWait: time.Hour, TTL: time.Minute, Targets: []Target{{Pool: "a", Model: "m", Charges: []Charge{{Tokens, ToPool, 500}}}}}, now, nil) {
						if ev.Kind == Granted {
							calls = append(calls, sent{now + Time(g.Int64N(int64(jitter))), 500})
						}
					}
				}
			}
			var worst int64
			for _, last := range calls {
				var sum int64
				for _, c := range calls {
					if c.at <= last.at && c.at > last.at-Time(window) {
						sum += c.amount
					}
				}
				worst = max(worst, sum)
			}
			if got := float64(worst) / quota; got > tt.most || got < tt.least {
				t.Errorf("a window held %.3f of the quota, want %.2f to %.2f", got, tt.least, tt.most)
			}
		})
	}
}
