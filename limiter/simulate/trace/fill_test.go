package trace

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// The published first numbers of splitmix64 with seed 1234567.
func TestHash(t *testing.T) {
	for n, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := Hash(1234567, uint64(n)); got != want {
			t.Errorf("number %d: got %d, want %d", n, got, want)
		}
	}
}

func TestFillKeepsWhatIsSaid(t *testing.T) {
	row := Row{Index: 3, Client: "a", Class: "night", Output: 10, MaxOutput: 20}
	if got := (Fill{}).Apply(row); !same(got, row) {
		t.Errorf("got %+v, want %+v", got, row)
	}
}

// 100,000 rows come out in the shares of the rule, within a percentage point, and
// independently of each other.
func TestFillShares(t *testing.T) {
	const n = 100_000
	counts := map[string]int{}
	for i := range n {
		row := Fill{Seed: 1}.Apply(Row{Index: i, Output: 100})
		counts[fmt.Sprint(row.MaxOutput)]++
		counts[row.Class]++
		counts[row.Client]++
		counts[row.Class+row.Client]++
	}
	want := map[string]float64{"100": .25, "200": .25, "1024": .25, "4096": .25, "interactive": .2, "standard": .3, "batch": .5}
	for p := range 8 {
		want[fmt.Sprint("project-", p)] = .125
		want[fmt.Sprint("batchproject-", p)] = .0625
	}
	for name, share := range want {
		if got := float64(counts[name]) / n; got < share-.01 || got > share+.01 {
			t.Errorf("%s: share %.4f, want %.4f", name, got, share)
		}
	}
	for i := range 1000 {
		if got := (Fill{}).MaxOutput(Row{Index: i, Output: 5000}); got != 5000 && got != 10000 {
			t.Fatalf("row %d: max %d below the real 5,000", i, got)
		}
		if a, b := (Fill{Seed: 9}).Apply(Row{Index: i}), (Fill{Seed: 9}).Apply(Row{Index: i}); !same(a, b) {
			t.Fatalf("%+v, then %+v", a, b)
		}
	}
	if got := (Fill{Projects: 1}).Project(Row{Index: 7}); got != "project-0" {
		t.Errorf("the only project is %q", got)
	}
}

func TestLoop(t *testing.T) {
	rows := []Row{{Index: 0, At: 5}, {Index: 2, At: 5}, {Index: 1, At: 25}} // gap 10
	var got []int
	for row := range Loop(rows, 61) {
		got = append(got, int(row.At), row.Index)
	}
	if want := []int{0, 0, 0, 2, 20, 1, 30, 3, 30, 5, 50, 4, 60, 6, 60, 8}; !slices.Equal(got, want) {
		t.Errorf("got %d, want %d", got, want)
	}
	n := 0
	for range Loop([]Row{{At: 7}}, 3*time.Second) {
		n++
	}
	for range Loop(nil, time.Second) {
		n += 100
	}
	if n != 3 {
		t.Errorf("one row in 3 s: %d times, want 3", n)
	}
}
