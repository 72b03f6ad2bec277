package redis_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// lateness tells by how much this machine was late meanwhile: what takes longer by so much
// says nothing.
func lateness() (end func() time.Duration) {
	stop, result := make(chan struct{}), make(chan time.Duration)
	go func() {
		late := time.Duration(0)
		for {
			start := time.Now()
			select {
			case <-stop:
				result <- late
				return
			case <-time.After(5 * time.Millisecond):
				late = max(late, time.Since(start)-5*time.Millisecond)
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		return <-result
	}
}

// files counts this process's open files; 0 where that cannot be known.
func files() int {
	all, _ := os.ReadDir("/proc/self/fd")
	return len(all)
}

// While Redis is away nothing piles up, however many ask: connections and goroutines are
// bounded, and everybody is told within the timeout. When it is back, so is the log.
func TestNothingPilesUp(t *testing.T) {
	const organizations, rounds = 200, 8
	for what, away := range map[string]struct{ leave, back func(s *redistest.Server) }{
		"stopped": {(*redistest.Server).Pause, (*redistest.Server).Continue},
		"killed":  {(*redistest.Server).Kill, (*redistest.Server).Restart},
	} {
		t.Run(what, func(t *testing.T) {
			s := redistest.Start(t, "--appendfsync", "always")
			clock := newClock()
			o := options(t, clock)
			o.Logger = nil
			l := open(t, s.URL(), o)
			at := make([]store.Position, organizations)
			names := make([]string, organizations)
			for i := range organizations {
				names[i] = fmt.Sprint("organization-", i)
				must(t, l.Create(t.Context(), names[i], store.Snapshot{}))
				clock.pass(time.Second) // soon nobody is waited for
			}
			must(t, l.Close())
			o.Timeout = 100 * time.Millisecond
			l = open(t, s.URL(), o)
			for i, name := range names {
				from, _, err := l.Load(t.Context(), name)
				must(t, err)
				at[i] = from.Position
			}
			goroutines, open := runtime.NumGoroutine(), files()
			away.leave(s)
			var mu sync.Mutex
			var took []time.Duration
			var most struct{ goroutines, files int }
			late := lateness()
			for range rounds {
				var all sync.WaitGroup
				for i, name := range names {
					all.Go(func() {
						start := time.Now()
						_, err := l.Append(t.Context(), name, at[i], store.Batch{Incarnation: 1, Number: 1}, nil)
						d := time.Since(start)
						wants(t, "Append", err, store.ErrUnavailable)
						mu.Lock()
						defer mu.Unlock()
						took = append(took, d)
					})
				}
				time.Sleep(o.Timeout / 2) // amid; at the end each deadline has a goroutine for a moment
				most.goroutines = max(most.goroutines, runtime.NumGoroutine())
				most.files = max(most.files, files())
				all.Wait()
			}
			// The callers, one and the dial of each connection, and a few of the client.
			if grown := most.goroutines - goroutines - organizations; grown > 50 {
				t.Errorf("there were %d goroutines more than before and callers", grown)
			}
			if grown := most.files - open; grown > 40 {
				t.Errorf("there were %d files more than before", grown)
			}
			slices.Sort(took)
			p99, slack := took[len(took)*99/100], late()
			t.Logf("p99 %v, at most %v; the machine was late by up to %v; %d goroutines and %d files, %d and %d before",
				p99, took[len(took)-1], slack, most.goroutines, most.files, goroutines, open)
			if slack < 50*time.Millisecond && p99 > o.Timeout+50*time.Millisecond+2*slack {
				t.Errorf("p99 is %v, want the timeout of %v and 50ms", p99, o.Timeout)
			}
			for end := time.Now().Add(3 * time.Second); runtime.NumGoroutine() > goroutines+20 && time.Now().Before(end); {
				time.Sleep(10 * time.Millisecond)
			}
			if grown := runtime.NumGoroutine() - goroutines; grown > 20 {
				t.Errorf("%d goroutines are left", grown)
			}

			away.back(s)
			back := time.Now()
			for {
				if _, _, err := l.Load(t.Context(), names[0]); err == nil {
					break
				} else if time.Since(back) > 10*time.Second {
					t.Fatalf("it is back, and Load says %v", err)
				}
			}
			t.Logf("it was back after %v", time.Since(back))
		})
	}
}
