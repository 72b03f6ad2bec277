package faults

import (
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// admin gives a client that is not a replica's.
func admin(t testing.TB, address string) *goredis.Client {
	c := goredis.NewClient(&goredis.Options{Addr: address, Protocol: 2})
	t.Cleanup(func() { c.Close() })
	return c
}

// Row 7. Everything in Redis is wiped under load. The replicas put it back: nothing is over the
// quota, leases are known, and who waited keeps the place.
func TestWiped(t *testing.T) {
	heavy(t)
	s := redistest.Start(t)
	c := admin(t, s.Address())
	a, b, d := join(t, budget, s.URL()), join(t, budget, s.URL()), join(t, budget, s.URL())
	l := drive(t, a.address, b.address, d.address)
	l.granted(0, 5*time.Second)
	holder := acquire(t, ask("holder", "narrow", time.Second), 2*time.Second, a.limiter)
	if holder == nil {
		t.Fatal("no grant")
	}
	first := make(chan *pb.Granted, 1)
	go func() { first <- acquire(t, ask("first", "narrow", 20*time.Second), 30*time.Second, a.limiter) }()
	eventually(t, "one waits", 5*time.Second, func() bool { return waiting(t, a.monitor, "narrow", "concurrency") == 1 })
	var worst time.Duration
	for range figure(3, 50) {
		time.Sleep(1500 * time.Millisecond)
		at := l.now()
		must(t, c.FlushAll(t.Context()).Err())
		worst = max(worst, l.granted(at+50*time.Millisecond, 10*time.Second))
	}
	t.Logf("the first grant came at most %v after the wipe", worst)
	second := make(chan *pb.Granted, 1)
	go func() { second <- acquire(t, ask("second", "narrow", 20*time.Second), 30*time.Second, b.limiter) }()
	eventually(t, "two wait", 5*time.Second, func() bool { return waiting(t, b.monitor, "narrow", "concurrency") == 2 })
	if got := held(t, d.monitor, "narrow", "concurrency"); got != 1 {
		t.Errorf("%d calls are held after the wipe, want the one", got)
	}
	if _, err := release(t, holder.LeaseId, time.Second, d.limiter); err != nil {
		t.Errorf("release of a lease from before the wipe: %v", err)
	}
	for _, next := range []chan *pb.Granted{first, second} {
		select {
		case g := <-next:
			if g == nil {
				t.Fatal("who waited was not granted")
			}
			if _, err := release(t, g.LeaseId, time.Second, d.limiter); err != nil {
				t.Error(err)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("who waited was not granted in turn")
		}
	}
	l.end()
}
