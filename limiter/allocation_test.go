package limiter_test

import (
	"fmt"
	"testing"
)

// TestSteadyStateAllocatesNothing: an Acquire that queues and a Release that lets another
// go allocate nothing, nor do the entries that bring them, however many hold leases and wait.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	for _, n := range []int{10, 1000, 10_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newBench(t, n, n)
			step := func() {
				s.begin()
				s.acquire()
				s.begin()
				s.release()
			}
			if testing.Short() && n > 1000 {
				t.Skip("long")
			}
			for range 20_000 + 3*n {
				step()
			}
			if got := testing.AllocsPerRun(2000, step); got > 0 {
				t.Errorf("%v allocations for two commands", got)
			}
		})
	}
}
