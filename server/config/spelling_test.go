package config

import (
	"math/rand/v2"
	"testing"
)

func TestNearest(t *testing.T) {
	for _, row := range []struct {
		word string
		want string
	}{
		{"limts", "limits"},
		{"limist", "limits"}, // two neighbours swapped count once
		{"acounts", "accounts"},
		{"acconts", "accounts"},
		{"limits", ""}, // what is spelled right was meant
		{"zones", ""},
		{"x", ""},
		{"", ""},
	} {
		r := &reader{}
		if got := r.nearest(row.word, []string{"limits", "accounts", "a", "pools"}); got != row.want {
			t.Errorf("nearest(%q) = %q, want %q", row.word, got, row.want)
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
		r := &reader{}
		got, want := r.distance(a, b, within), fullDistance(a, b)
		if got != want && (got <= within || want <= within) {
			t.Fatalf("distance(%q, %q, %d) = %d, want %d", a, b, within, got, want)
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

// A file of many unknown names costs a bounded search.
func TestSpellingBound(t *testing.T) {
	r := &reader{spelling: maxSpelling}
	if got := r.nearest("limts", []string{"limits"}); got != "" {
		t.Errorf("got %q beyond the bound", got)
	}
}
