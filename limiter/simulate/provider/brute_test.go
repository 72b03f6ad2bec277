package provider

import (
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

// A noted is one amount that a provider counted, in the plainest form.
type noted struct{ at, amount int64 }

// A plain is a slow second version of a limit, judged from the list of all that was
// ever counted.
type plain interface {
	fits(l Limit, all []noted, now, amount int64) bool
}

// plainSliding sums over every event there ever was.
type plainSliding struct{}

func (plainSliding) fits(l Limit, all []noted, now, amount int64) bool {
	for _, n := range all {
		if n.at > now-int64(l.Window) {
			amount += n.amount
		}
	}
	return amount <= l.Quota
}

// plainFixed finds the window of every event by counting up from the far past.
type plainFixed struct{}

func (plainFixed) fits(l Limit, all []noted, now, amount int64) bool {
	w := int64(l.Window)
	start := int64(l.Phase) - 1000*w
	for start+w <= now {
		start += w
	}
	for _, n := range all {
		if n.at >= start && n.at < start+w {
			amount += n.amount
		}
	}
	return amount <= l.Quota
}

// plainBucket runs the level from the start in fractions.
type plainBucket struct{}

func (plainBucket) fits(l Limit, all []noted, now, amount int64) bool {
	rate := big.NewRat(l.Quota, int64(l.Window))
	level, at := big.NewRat(l.bound(), 1), int64(0)
	refill := func(now int64) {
		level.Add(level, new(big.Rat).Mul(rate, big.NewRat(now-at, 1)))
		if full := big.NewRat(l.bound(), 1); level.Cmp(full) > 0 {
			level.Set(full)
		}
		at = now
	}
	for _, n := range all {
		refill(n.at)
		level.Sub(level, big.NewRat(n.amount, 1))
	}
	refill(now)
	return level.Cmp(big.NewRat(amount, 1)) >= 0
}

// Every verdict, every RetryAfter to the nanosecond and the worst window agree with the
// slow versions on random streams.
func TestBruteForce(t *testing.T) {
	for shape, slow := range map[Shape]plain{Sliding: plainSliding{}, Fixed: plainFixed{}, Bucket: plainBucket{}} {
		for _, lenient := range []bool{false, true} {
			name := shape.String()
			if lenient {
				name += ", lenient"
			}
			t.Run(name, func(t *testing.T) {
				seeds := uint64(20)
				if testing.Short() {
					seeds = 3 // one goroutine: the race detector finds nothing in more
				}
				for seed := range seeds {
					rnd := rand.New(rand.NewPCG(seed, 7))
					l := Limit{Metric: Tokens, Quota: 1 + rnd.Int64N(100), Window: time.Duration(1 + rnd.Int64N(200)), Shape: shape}
					if shape == Fixed {
						l.Phase = time.Duration(rnd.Int64N(1000) - 500)
					}
					if shape == Bucket && rnd.IntN(2) == 0 {
						l.Burst = 1 + rnd.Int64N(150)
					}
					compare(t, rnd, l, slow, lenient)
				}
			})
		}
	}
}

func compare(t *testing.T, rnd *rand.Rand, l Limit, slow plain, lenient bool) {
	p := newProvider(t, Config{Limits: []Limit{l}, Lenient: lenient})
	var all []noted
	var now int64
	for i := range uint64(150) {
		now += rnd.Int64N(int64(l.Window)/4 + 2)
		amount := rnd.Int64N(l.bound()/2 + 2)
		v := p.Arrive(time.Duration(now), Call{ID: i, Input: amount})
		fits := slow.fits(l, all, now, amount)
		if fits != (v.Kind == Fits) || v.OK != (fits || lenient) {
			t.Fatalf("%v: %d tokens at %d: got %+v, want fits %v", l, amount, now, v, fits)
		}
		if v.Kind == TooLarge != (amount > l.bound()) {
			t.Fatalf("%v: %d tokens: got %+v", l, amount, v)
		}
		if v.Kind == RateLimited {
			then := now + int64(v.RetryAfter)
			if !slow.fits(l, all, then, amount) || slow.fits(l, all, then-1, amount) {
				t.Fatalf("%v: %d tokens at %d: told to wait %d, which is not the first time they fit", l, amount, now, v.RetryAfter)
			}
		}
		if v.OK {
			all = append(all, noted{now, amount})
		}
	}
	if got, want := p.Report().Limits[0].Worst.Amount, worstWindow(all, int64(l.Window)); got != want {
		t.Fatalf("%v: worst window %d, want %d", l, got, want)
	}
	if l.Shape == Sliding && !lenient && p.Report().Limits[0].Worst.Over() {
		t.Fatalf("%v: a window is over the quota", l)
	}
}

// worstWindow tries every window (s, s+w] that begins just before an event, or at one.
func worstWindow(all []noted, w int64) (worst int64) {
	for _, first := range all {
		for _, s := range []int64{first.at - 1, first.at} {
			var sum int64
			for _, n := range all {
				if n.at > s && n.at <= s+w {
					sum += n.amount
				}
			}
			worst = max(worst, sum)
		}
	}
	return worst
}

// Streams with completions: what is counted when, against a list that is corrected in place.
func TestBruteForceSettled(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 8))
		l := Limit{Metric: Tokens, Quota: 50 + rnd.Int64N(100), Window: time.Duration(50 + rnd.Int64N(100)), Shape: Sliding}
		charge := Charge{Settle: true, Burndown: 1 + rnd.Int64N(3)}
		produced := rnd.IntN(2) == 0
		if produced {
			charge = Charge{Estimate: EstimateInput, Burndown: charge.Burndown}
		}
		p := newProvider(t, Config{Limits: []Limit{l}, Charge: charge})
		type open struct {
			id    uint64
			index int
			input int64
		}
		var all []noted
		var calls []open
		var now, worst int64
		for i := range uint64(200) {
			now += rnd.Int64N(20)
			if len(calls) > 0 && rnd.IntN(2) == 0 {
				k := rnd.IntN(len(calls))
				c := calls[k]
				calls = append(calls[:k], calls[k+1:]...)
				output := rnd.Int64N(20)
				p.Complete(time.Duration(now), c.id, output)
				actual := c.input + output*charge.Burndown
				switch n := &all[c.index]; {
				case actual > n.amount:
					all = append(all, noted{now, actual - n.amount})
				case n.at > now-int64(l.Window):
					n.amount = actual
				}
			} else {
				call := Call{ID: i, Input: 1 + rnd.Int64N(20), MaxOutput: rnd.Int64N(20)}
				want := call.Input + call.MaxOutput
				if produced {
					want = call.Input
				}
				fits := plainSliding{}.fits(l, all, now, want)
				if v := p.Arrive(time.Duration(now), call); v.OK != fits {
					t.Fatalf("seed %d: %+v at %d: got %+v, want %v", seed, call, now, v, fits)
				}
				if fits {
					calls = append(calls, open{i, len(all), call.Input})
					all = append(all, noted{now, want})
				}
			}
			var sum int64
			for _, n := range all {
				if n.at > now-int64(l.Window) {
					sum += n.amount
				}
			}
			worst = max(worst, sum)
		}
		if got := p.Report().Limits[0].Worst.Amount; got != worst {
			t.Fatalf("seed %d: worst window %d, want %d", seed, got, worst)
		}
	}
}
