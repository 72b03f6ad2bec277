package limiter_test

import (
	"runtime"
	"testing"
)

// TestMemory holds the engine to what a lease and a waiter may cost in every replica.
func TestMemory(t *testing.T) {
	const n, most = 50_000, 400
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	empty := newBench(t, 1, 0)
	base := heap()
	leases := newBench(t, n, 0)
	perLease := (heap() - base - int64(8*cap(leases.open)*2)) / n
	base = heap()
	waiters := newBench(t, 1, n)
	perWaiter := (heap() - base) / n
	t.Logf("%d B a lease, %d B a waiter", perLease, perWaiter)
	if perLease > most || perWaiter > most {
		t.Errorf("a lease costs %d B and a waiter %d B, want at most %d", perLease, perWaiter, most)
	}
	runtime.KeepAlive(empty)
	runtime.KeepAlive(leases)
	runtime.KeepAlive(waiters)
}
