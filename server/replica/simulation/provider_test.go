package simulation

import (
	"testing"
	"time"
)

// The worst window is the one that a slow search over all of them finds.
func TestFullest(t *testing.T) {
	at := func(ms int, amount int64) count {
		return count{at: time.Duration(ms) * time.Millisecond, amount: amount}
	}
	tests := []struct {
		name   string
		counts []count
		length time.Duration
		want   int64
	}{
		{"nothing", nil, time.Second, 0},
		{"one", []count{at(5, 3)}, time.Second, 3},
		{"a window apart", []count{at(0, 3), at(1000, 4)}, time.Second, 4},
		{"a moment less", []count{at(1, 3), at(1000, 4)}, time.Second, 7},
		{"in any order", []count{at(1000, 4), at(2500, 1), at(1, 3)}, time.Second, 7},
		{"in flight", []count{at(0, 1), at(10, 1), at(20, -1), at(20, 1), at(30, -1), at(40, 1)}, 0, 2},
	}
	for _, x := range tests {
		if got, _ := fullest(x.counts, x.length); got != x.want {
			t.Errorf("%s: got %d, want %d", x.name, got, x.want)
		}
	}
}

// The judge sees what is over, and names it.
func TestWorst(t *testing.T) {
	p := &provider{}
	p.count(mainPool, "tokens", time.Second, 300, "a")
	p.count(mainPool, "tokens", 2*time.Second, 101, "b")
	p.count(sidePool, "calls", time.Second, 5, "c")
	worst, windows := p.worst()
	if worst.counter != (counter{sidePool, "calls"}) || worst.amount != 5 || worst.quota != 4 {
		t.Errorf("got %+v, want 5 calls of 4", worst)
	}
	if windows.counter != (counter{mainPool, "tokens"}) || windows.amount != 401 || windows.at != 2*time.Second {
		t.Errorf("got %+v, want 401 tokens of 400", windows)
	}
}
