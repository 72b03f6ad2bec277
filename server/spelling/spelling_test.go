package spelling

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	long := strings.Repeat("x", maxName)
	names := []string{"limits", "accounts", "a", "pools", "gpt", "interactive", long}
	for _, row := range []struct{ word, want string }{
		{"limts", "limits"},
		{"limist", "limits"}, // two neighbours swapped count once
		{"gtp", "gpt"},
		{"acounts", "accounts"},
		{"acconts", "accounts"},
		{"interacti", "interactive"},
		{"limits", ""}, // what is spelled right was meant
		{"zones", ""},
		{"x", ""},
		{"", ""},
		{long[1:], long},
		{long + "x", ""}, // too long to compare
	} {
		if got := Nearest(row.word, names); got != row.want {
			t.Errorf("%q: got %q, want %q", row.word, got, row.want)
		}
	}
}

// The table with three rows agrees with one written out in full.
func TestDistance(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, random.IntN(8))
		for i := range b {
			b[i] = "abc"[random.IntN(3)]
		}
		return string(b)
	}
	for range 20_000 {
		a, b, within := word(), word(), random.IntN(4)
		s := Search{Work: enough}
		got, want := s.Distance(a, b, within), fullDistance(a, b)
		if got != want && (got <= within || want <= within) {
			t.Fatalf("distance of %q and %q within %d: got %d, want %d", a, b, within, got, want)
		}
	}
}

func fullDistance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

// Many unknown names cost a bounded search.
func TestWork(t *testing.T) {
	s := Search{Work: 30}
	if got := s.Nearest("limts", []string{"poool", "limits"}); got != "" || s.Work >= 0 {
		t.Errorf("got %q beyond the bound, %d left", got, s.Work)
	}
	if s = (Search{Work: 60}); s.Nearest("limts", []string{"poool", "limits"}) != "limits" || s.Work != 60-2-25-30 {
		t.Errorf("%d of the work left, and limits not found", s.Work)
	}
}
