package limiter

import (
	"slices"
	"testing"
	"time"
)

// standingEngine has a limit of each shape, with something charged to each.
func standingEngine(t *testing.T, s LimitSpec) *Engine {
	t.Helper()
	s.Name, s.Metric = "limit", Tokens
	e := New()
	e.Apply(&Configure{
		Generation: 1, Limits: []LimitSpec{s}, Template: &ProjectSpec{Weight: 1}, MaxProjects: 9,
		Pools:   []PoolSpec{{Models: []string{""}, StartWithin: time.Minute}},
		Classes: []ClassSpec{{Name: "heavy", Weight: 4, Reserve: 100_000}, {Name: "light", Weight: 1, Paced: true}},
	}, Time(1_800_000_000e9), nil)
	return e
}

// tokensOf draws on what an owner has alone, and cannot wait.
func tokensOf(n uint64, class string, amount int64) *Acquire {
	return &Acquire{
		Key: Key{byte(n), byte(n >> 8)}, Lease: LeaseID{1, n}, Project: "p", Class: class, TTL: time.Hour, Unpaced: true,
		Targets: []Target{{Charges: []Charge{{Tokens, ToOwner, amount}}}},
	}
}

// What a Standing says of the wait is true for every shape: just before, the same call is
// refused, and then it is granted.
func TestStandingWait(t *testing.T) {
	for _, tt := range []struct {
		name string
		spec LimitSpec
		// standing to 30 more, once 80 of 100 were charged: what the class may fill, what remains
		effective, remaining int64
		never                bool
	}{
		{"window", LimitSpec{Quota: 100, Window: time.Minute, Jitter: time.Second}, 90, 10, false},
		{"bucket", LimitSpec{Shape: TokenBucket, Quota: 100, Window: time.Minute}, 70, 0, false},
		{"day", LimitSpec{Shape: Calendar, Quota: 100, Period: Day}, 90, 10, false},
		{"stock", LimitSpec{Shape: Stock, Quota: 100}, 90, 10, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := standingEngine(t, tt.spec)
			begin := e.Now()
			e.Apply(tokensOf(1, "heavy", 80), begin, nil)
			now := begin.Add(time.Second / 2)
			before := e.Snapshot(nil)
			charges := tokensOf(2, "light", 30).Targets[0].Charges
			got := e.Standing(now, "", "p", "light", charges, nil)
			if len(got) != 1 || got[0].Effective != tt.effective || got[0].Remaining != tt.remaining || got[0].Name != "limit" {
				t.Fatalf("got %+v, want one of %d with %d left", got, tt.effective, tt.remaining)
			}
			if after := e.Snapshot(nil); !slices.Equal(before, after) {
				t.Error("a look has changed the engine")
			}
			wait := got[0].RetryAfter
			if tt.never {
				if wait >= 0 {
					t.Errorf("got a wait of %v for what only a release makes room for", wait)
				}
				return
			}
			for _, c := range []struct {
				after time.Duration
				want  EventKind
			}{{wait - 1, Refused}, {wait, Granted}} {
				e, err := Load(before)
				if err != nil {
					t.Fatal(err)
				}
				ev := e.Apply(tokensOf(2, "light", 30), now.Add(c.after), nil)
				if k := ev[len(ev)-1].Kind; wait <= 0 || k != c.want {
					t.Errorf("%v after the look (wait %v): got event %d, want %d", c.after, wait, k, c.want)
				}
			}
			if got := e.Standing(now, "", "p", "light", []Charge{{Tokens, ToOwner, 101}}, nil); got[0].RetryAfter >= 0 {
				t.Errorf("what never fits is told to wait %v", got[0].RetryAfter)
			}
		})
	}
}

// A look tells of the project's own limits also before it has drawn for the first time.
func TestStandingOfNewProject(t *testing.T) {
	e := New()
	l := LimitSpec{Name: "own", Metric: Requests, Quota: 7, Window: time.Minute}
	e.Apply(&Configure{Generation: 1, Template: &ProjectSpec{Weight: 1, Limits: []LimitSpec{l}}, MaxProjects: 9,
		Classes: []ClassSpec{{Name: "c", Weight: 1}}}, 1, nil)
	got := e.Standing(1, "", "new", "c", []Charge{{Requests, ToOwner, 0}}, nil)
	if len(got) != 1 || got[0].ID != NoLimit || got[0].Owner != "new" || got[0].Remaining != 7 {
		t.Errorf("got %+v, want the template's limit, unused", got)
	}
	if n := len(e.Limits(1)); n != 0 {
		t.Errorf("a look has made %d limits", n)
	}
}

// The pacer holds batch work back, but not who cannot wait; who can, waits.
func TestUnpaced(t *testing.T) {
	paced := func(unpaced bool) EventKind {
		e := standingEngine(t, LimitSpec{Quota: 1000, Window: time.Minute})
		var last Event
		for n := range uint64(3) {
			a := tokensOf(n+1, "light", 200)
			if a.Unpaced = unpaced; !unpaced {
				a.MaxWait = time.Minute
			}
			ev := e.Apply(a, e.Now(), nil)
			last = ev[len(ev)-1]
		}
		return last.Kind
	}
	if got := paced(false); got != Queued {
		t.Errorf("paced: got event %d, want %d", got, Queued)
	}
	if got := paced(true); got != Granted {
		t.Errorf("unpaced: got event %d, want %d", got, Granted)
	}
}

// The pool that is nobody's is shown to nobody, is not taken for a pool without a former name,
// and a lease in it is the same after a snapshot.
func TestNobodysPool(t *testing.T) {
	e := standingEngine(t, LimitSpec{Quota: 1000, Window: time.Minute})
	e.Apply(tokensOf(1, "heavy", 10), e.Now(), nil)
	if got := e.Pools(e.Now()); len(got) != 0 {
		t.Errorf("shown: %+v", got)
	}
	l, err := Load(e.Snapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	again := tokensOf(1, "heavy", 10)
	for _, e := range []*Engine{e, l} {
		if ev := e.Apply(again, e.Now(), nil); len(ev) != 1 || ev[0].Kind != Granted || !ev[0].Again {
			t.Errorf("asked again: got %+v", ev)
		}
	}
	c := e.InForce()
	c.Generation++
	c.Pools = append([]PoolSpec{{Name: "a/new", Models: []string{"m"}}}, c.Pools...)
	e.Apply(c, e.Now(), nil)
	if e.poolNames["a/new"] == nil || e.poolNames[""] == nil || e.leases[LeaseID{1, 1}].pool != e.poolNames[""] {
		t.Error("a new pool took over what is nobody's")
	}
}
