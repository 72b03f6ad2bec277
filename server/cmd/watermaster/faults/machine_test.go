package faults

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// quiet is how late timers are at most, at p95, on a machine of which times can be told.
const quiet = 4 * time.Millisecond

// watchMachine sees how late timers are from here on. disturbed says, and tells, that others have used
// the machine meanwhile, so that nothing can be said of times.
func watchMachine(t *testing.T) (disturbed func() bool) {
	var late []time.Duration
	ended := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for {
			select {
			case <-ended:
				return
			default:
			}
			const d = 5 * time.Millisecond
			start := time.Now()
			time.Sleep(d)
			late = append(late, time.Since(start)-d)
		}
	})
	end := sync.OnceFunc(func() {
		close(ended)
		watcher.Wait()
	})
	t.Cleanup(end)
	return func() bool {
		end()
		p95 := percentile(late, 0.95)
		if p95 > quiet {
			t.Logf("others use the machine: timers are late by %v, so nothing is said of times", p95)
		}
		return p95 > quiet
	}
}

// percentile gives the p-th part of what was measured; it sorts it.
func percentile(list []time.Duration, p float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(len(list)-1, int(p*float64(len(list))))]
}
