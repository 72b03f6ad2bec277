package clock

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// What goes in at random comes out by time, and by order of entry within an instant.
func TestOrder(t *testing.T) {
	type event struct {
		at  time.Duration
		seq int
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var q Queue[event]
		var want []event
		for i := range rnd.IntN(200) {
			e := event{time.Duration(rnd.IntN(40)), i}
			q.At(e.at, e)
			want = append(want, e)
		}
		slices.SortStableFunc(want, func(a, b event) int { return int(a.at - b.at) })
		var got []event
		q.Drain(func(now time.Duration, e event) {
			if now != e.at || q.Now() != e.at {
				t.Fatalf("event of %v handed over at %v, Now %v", e.at, now, q.Now())
			}
			got = append(got, e)
		})
		if !slices.Equal(got, want) {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	}
}

// Run includes the instant at which it ends, and events put in on the way.
func TestRun(t *testing.T) {
	var q Queue[string]
	q.At(10, "a")
	q.At(20, "c")
	q.At(21, "d")
	var got []string
	q.Run(20, func(now time.Duration, e string) {
		got = append(got, e)
		if e == "a" {
			q.At(now, "b")
		}
	})
	if want := []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if at, ok := q.Peek(); q.Len() != 1 || at != 21 || !ok {
		t.Errorf("left %d, next at %v", q.Len(), at)
	}
	q.Run(100, func(time.Duration, string) {})
	if _, _, ok := q.Next(); ok || q.Now() != 100 {
		t.Errorf("an empty queue stands at %v, want 100", q.Now())
	}
}

func TestPast(t *testing.T) {
	var q Queue[int]
	q.Run(5, nil)
	defer func() {
		if recover() == nil {
			t.Error("an event of the past was taken")
		}
	}()
	q.At(4, 0)
}

func TestNoAllocation(t *testing.T) {
	var q Queue[[3]int]
	for i := range 1000 {
		q.At(time.Duration(i), [3]int{i})
	}
	if got := testing.AllocsPerRun(1000, func() {
		now, e, _ := q.Next()
		q.At(now+777, e)
	}); got != 0 {
		t.Errorf("%v allocations per event, want 0", got)
	}
}

func BenchmarkQueue(b *testing.B) {
	var q Queue[int]
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 10_000 {
		q.At(time.Duration(rnd.IntN(1_000_000)), i)
	}
	b.ReportAllocs()
	for b.Loop() {
		now, e, _ := q.Next()
		q.At(now+time.Duration(rnd.IntN(1_000_000)), e)
	}
}
