package limiter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// counting makes an engine that counts hits.
func counting() *Engine {
	e := New()
	e.Apply(&Upgrade{Behaviour: BehaviourHits}, 1, nil)
	return e
}

func id(n int) (c CounterID) {
	c[0], c[1], c[2] = byte(n), byte(n>>8), byte(n>>16)
	return c
}

const second = Time(time.Second)

func TestHit(t *testing.T) {
	const w = 10 * time.Second
	one := func(amount int64) CounterHit { return CounterHit{Counter: id(1), Quota: 10, Window: w, Amount: amount} }
	two := func(amount int64, mode HitMode) CounterHit {
		return CounterHit{Counter: id(2), Quota: 5, Window: w, Amount: amount, Mode: mode}
	}
	type want struct {
		over, charged bool
		remaining     int64
		retry, reset  time.Duration
	}
	tests := []struct {
		name string
		at   Time
		hit  Hit
		want []want
	}{
		{"an unused counter is only looked at", 0, Hit{Counters: []CounterHit{one(0)}}, []want{{false, true, 10, 0, 0}}},
		{"hits are charged", 0, Hit{Counters: []CounterHit{one(4)}}, []want{{false, true, 6, 0, w}}},
		{"more than there is room for", second, Hit{Counters: []CounterHit{one(7)}}, []want{{true, false, 6, w - time.Second, w - time.Second}}},
		{"more than ever fits", second, Hit{Counters: []CounterHit{one(11)}}, []want{{true, false, 6, -1, w - time.Second}}},
		{"just what there is room for", second, Hit{Counters: []CounterHit{one(6)}}, []want{{false, true, 0, 0, w}}},
		{"a look passes at the limit", second, Hit{Counters: []CounterHit{one(0)}}, []want{{false, true, 0, 0, w}}},
		{"one is over: none is charged", 2 * second, Hit{Counters: []CounterHit{one(1), two(1, Enforced)}},
			[]want{{true, false, 0, w - 2*time.Second, w - time.Second}, {false, false, 5, 0, 0}}},
		{"the one that is over is a shadow", 2 * second, Hit{Counters: []CounterHit{{id(1), 10, w, 1, Shadow}, two(1, Enforced)}},
			[]want{{true, false, 0, w - 2*time.Second, w - time.Second}, {false, true, 4, 0, w}}},
		{"one of two quotas is over", 2 * second, Hit{Counters: []CounterHit{{id(1), 10, w, 1, Quota}, two(1, Quota)}},
			[]want{{true, false, 0, w - 2*time.Second, w - time.Second}, {false, true, 3, 0, w}}},
		{"both quotas are over", 2 * second, Hit{Counters: []CounterHit{{id(1), 10, w, 1, Quota}, two(4, Quota)}},
			[]want{{true, false, 0, w - 2*time.Second, w - time.Second}, {true, false, 3, w, w}}},
		{"charged whatever the others say", 3 * second, Hit{Always: true, Counters: []CounterHit{one(1), two(1, Enforced)}},
			[]want{{true, true, 0, w - 3*time.Second, w}, {false, true, 2, 0, w}}},
		{"the latest are given back", 3 * second, Hit{Counters: []CounterHit{one(-2)}}, []want{{false, true, 1, 0, w - 2*time.Second}}},
		{"the same twice: the second on top of the first", 3 * second, Hit{Counters: []CounterHit{two(1, Enforced), two(2, Enforced)}},
			[]want{{false, false, 2, 0, w}, {true, false, 2, w - time.Second, w}}},
		{"the first have gone", 10 * second, Hit{Counters: []CounterHit{one(5)}}, []want{{false, true, 0, 0, w}}},
		{"a quota of nothing", 10 * second, Hit{Counters: []CounterHit{{id(3), 0, w, 1, Enforced}, {id(3), 0, w, 0, Enforced}}},
			[]want{{true, false, 0, -1, 0}, {false, false, 0, 0, 0}}},
		{"amounts beyond all bounds", 10 * second, Hit{Counters: []CounterHit{{id(4), math.MaxInt64, w, math.MaxInt64, Enforced}}},
			[]want{{false, true, math.MaxInt64 - maxAmount, 0, w}}},
	}
	e := counting()
	for _, tt := range tests {
		events := e.Apply(&tt.hit, second+tt.at, nil)
		var got []want
		for _, ev := range events {
			if ev.Kind != Counted {
				t.Errorf("%s: got an event of kind %v", tt.name, ev.Kind)
			}
			got = append(got, want{ev.Over, ev.Charged, ev.Remaining, ev.RetryAfter, ev.ResetAfter})
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// A hit is refused, and nothing charged, while it is not known what the log has lost, and before
// all processes know the command.
func TestHitNotYet(t *testing.T) {
	e := New()
	h := &Hit{Counters: []CounterHit{{id(1), 1, time.Minute, 1, Enforced}}}
	not := func(when string) {
		t.Helper()
		ev := e.Apply(h, e.Now()+1, nil)
		if len(ev) != 1 || ev[0].Reason != NotYet || !ev[0].Over || ev[0].Charged || ev[0].RetryAfter <= 0 {
			t.Errorf("%s: got %+v", when, ev)
		}
	}
	not("before all know how")
	e.Begin(7, 1, 10)
	e.Apply(&Join{Incarnation: 7, Behaviour: 2}, 10, nil)
	e.Apply(&Upgrade{Behaviour: BehaviourHits}, 10, nil)
	e.Begin(8, 1, 20)
	e.Apply(&Loss{History: 3}, 20, nil)
	not("while one is missing")
	e.Begin(7, 2, 30)
	e.Apply(&Join{Incarnation: 7, Behaviour: 2}, 30, nil)
	if ev := e.Apply(h, 31, nil); !ev[0].Charged {
		t.Errorf("after the roll call: got %+v", ev)
	}
}

// A plainCounter is a counter as simple as can be: every hit by itself.
type plainCounter struct {
	window time.Duration
	hits   []CounterAge // Age is the time itself
}

func (p *plainCounter) used(now Time) (n int64) {
	for _, h := range p.hits {
		if Time(h.Age).Add(p.window) > now {
			n += h.Amount
		}
	}
	return n
}

// TestHitModel compares counters with plain ones: never more is admitted than they would, in no
// window; as much where no hits were joined; and what is told of the wait is true.
func TestHitModel(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		e := counting()
		plain := map[CounterID]*plainCounter{}
		lengths := []time.Duration{time.Second, time.Minute, 366 * 24 * time.Hour}
		now := second
		for range 400 {
			now += Time(r.Int64N(int64(lengths[r.IntN(2)]) / 8))
			var h Hit
			for range 1 + r.IntN(3) {
				n := r.IntN(6)
				h.Counters = append(h.Counters, CounterHit{id(n), int64(1 + n*4), lengths[n%3], r.Int64N(4), HitMode(r.IntN(3))})
			}
			before := e.Snapshot(nil)
			events := e.Apply(&h, now, nil)
			for i, ev := range events {
				x := h.Counters[i]
				p := plain[x.Counter]
				if p == nil {
					p = &plainCounter{window: x.Window}
					plain[x.Counter] = p
				}
				if ev.Charged && x.Amount > 0 {
					p.hits = append(p.hits, CounterAge{time.Duration(now), x.Amount})
					if used := p.used(now); used > x.Quota {
						t.Fatalf("seed %d: a window holds %d of %d", seed, used, x.Quota)
					}
				}
			}
			for i, ev := range events { // they tell of the end
				x := h.Counters[i]
				p := plain[x.Counter]
				if used := p.used(now); ev.Remaining > x.Quota-used {
					t.Fatalf("seed %d: told that %d remain of %d less %d", seed, ev.Remaining, x.Quota, used)
				} else if exact := x.Quota <= exactHits; exact && ev.Remaining != max(0, x.Quota-used) {
					t.Fatalf("seed %d: told that %d remain of %d less %d", seed, ev.Remaining, x.Quota, used)
				}
				if ev.Over && len(h.Counters) == 1 {
					checkWait(t, before, &h, now, ev.RetryAfter)
				}
			}
		}
		if alive, _ := e.Counters(); alive > 6 {
			t.Fatalf("%d counters", alive)
		}
		e.Apply(&Tick{}, now.Add(2*longestWindow), nil)
		if alive, _ := e.Counters(); alive != 0 || e.countersHold() != 0 || e.countersNextAt() != Never {
			t.Fatalf("seed %d: %d counters are left, held for %v", seed, alive, e.countersHold())
		}
	}
}

// checkWait looks whether the same hit is refused until just before a wait has passed, and passes then.
func checkWait(t *testing.T, state []byte, h *Hit, now Time, wait time.Duration) {
	t.Helper()
	if wait < 0 {
		if h.Counters[0].Amount <= h.Counters[0].Quota {
			t.Errorf("%+v is told that it never passes", h.Counters[0])
		}
		return
	}
	for _, tt := range []struct {
		at   Time
		over bool
	}{{now.Add(wait - 1), true}, {now.Add(wait), false}} {
		e, err := Load(state)
		if err != nil {
			t.Fatal(err)
		}
		if ev := e.Apply(h, tt.at, nil); ev[0].Over != tt.over {
			t.Errorf("%+v has to wait %v: %v later over is %v", h.Counters[0], wait, tt.at.Sub(now), ev[0].Over)
		}
	}
}

// A snapshot holds the counters, and only then is it one that earlier builds do not read.
func TestCountersInSnapshot(t *testing.T) {
	e := counting()
	if v := e.Snapshot(nil)[0]; v != 2 {
		t.Errorf("without counters it is version %d", v)
	}
	for i := range 100 {
		e.Apply(&Hit{Counters: []CounterHit{{id(i % 7), 1000, time.Duration(1+i%3) * time.Minute, int64(i), Enforced}}}, second*Time(i), nil)
	}
	state := e.Snapshot(nil)
	if state[0] != 3 {
		t.Errorf("with counters it is version %d", state[0])
	}
	loaded, err := Load(state)
	if err != nil {
		t.Fatal(err)
	}
	if again := loaded.Snapshot(nil); !slices.Equal(again, state) {
		t.Error("it is another after it was loaded")
	}
	for i := range 200 {
		h := &Hit{Counters: []CounterHit{{id(i % 11), 1000, time.Duration(1+i%3) * time.Minute, int64(i), Enforced}}}
		a, b := e.Apply(h, 100*second+second*Time(i), nil), loaded.Apply(h, 100*second+second*Time(i), nil)
		if !slices.Equal(a, b) || e.Digest() != loaded.Digest() {
			t.Fatalf("hit %d: got %+v of the loaded one, want %+v", i, b, a)
		}
	}
}

// TestEviction: however many keys come, memory is bounded; what has the longest window is kept.
func TestEviction(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	e := counting()
	day := CounterHit{id(0), 1, 24 * time.Hour, 1, Enforced}
	e.Apply(&Hit{Counters: []CounterHit{day}}, second, nil)
	for i := 1; i <= maxCounters+100; i++ {
		c := id(i)
		c[15] = 1
		e.Apply(&Hit{Counters: []CounterHit{{c, 1, time.Minute, 1, Enforced}}}, second, nil)
	}
	alive, evicted := e.Counters()
	if alive != maxCounters || evicted != 101 {
		t.Errorf("%d are alive, %d were evicted", alive, evicted)
	}
	if ev := e.Apply(&Hit{Counters: []CounterHit{day}}, 2*second, nil); !ev[0].Over {
		t.Error("the day's quota was forgotten")
	}
}

// BenchmarkHit measures a Hit of three counters among so many.
func BenchmarkHit(b *testing.B) {
	for _, n := range []int{3, 10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := counting()
			now := second
			h := &Hit{Counters: make([]CounterHit, 3)}
			fill := func(i int) {
				for k := range h.Counters {
					h.Counters[k] = CounterHit{id((3*i + k) % n), 1 << 40, time.Hour, 1, Enforced}
				}
			}
			for i := range n/3 + 1 {
				fill(i)
				e.Apply(h, now, nil)
			}
			var events []Event
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				now += 1000
				fill(i * 7919)
				events = e.Apply(h, now, events[:0])
			}
		})
	}
}
