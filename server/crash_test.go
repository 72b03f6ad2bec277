package server

import (
	"math/rand/v2"
	"testing"
	"time"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

// thousand lets that many calls run at once.
const thousand = `
cold_start: trust
priority_classes: {standard: {weight: 1, max_wait: 1h}}
organizations:
  acme:
    accounts: {a: {provider: openai, margin: 0%, pools: {p: {models: [m], limits: {concurrency: 1000}}}}}
    routes: {one: {targets: [{account: a, model: m}]}}
`

// TestCrashes: a thousand workers die with their leases, some of which were renewed before. A
// second after the last TTL no slot is held, and long before that those who wait have them.
func TestCrashes(t *testing.T) {
	inWorld(t, thousand, memory.Options{}, func(w *world) {
		const workers, waiters = 1000, 50
		g := rand.New(rand.NewPCG(13, 13))
		last := time.Duration(0) // when the last lease ends, from the start
		start := time.Now()
		for i := range workers {
			d := 30*time.Second + time.Duration(g.Int64N(int64(30*time.Second)))
			lease := w.grant(ask(name("r", i), ttl(d))).LeaseId
			if i%4 == 0 {
				time.Sleep(20 * time.Millisecond)
				if _, err := w.Renew(w.t.Context(), &pb.RenewRequest{LeaseIds: []string{lease}}); err != nil {
					t.Fatal(err)
				}
			}
			last = max(last, time.Since(start)+d)
		}
		if l := w.limit("pool/a/p", "concurrency"); l.Held != workers {
			t.Fatalf("%d slots are held, want %d", l.Held, workers)
		}
		var granted []<-chan answered
		for i := range waiters {
			granted = append(granted, w.later(w.t.Context(), ask(name("w", i), block(maxBlock))))
		}
		for i, c := range granted {
			a := <-c
			for a.err == nil && a.GetWait() != nil {
				a.AcquireResponse, a.err = w.Acquire(w.t.Context(), ask(name("w", i), block(maxBlock)))
			}
			if a.GetGranted() == nil {
				t.Fatalf("waiter %d got %v, %v, want a grant", i, a.AcquireResponse, a.err)
			}
			w.release(a.GetGranted().LeaseId)
		}
		if d := time.Since(start); d > last {
			t.Errorf("who waits had a slot after %v, when all leases had ended (%v)", d, last)
		}
		time.Sleep(last + time.Second - time.Since(start))
		if l := w.limit("pool/a/p", "concurrency"); l.Held != 0 {
			t.Errorf("%d slots are held 1 s after the last TTL", l.Held)
		}
	})
}
