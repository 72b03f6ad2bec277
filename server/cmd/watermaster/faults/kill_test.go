package faults

import (
	"fmt"
	"testing"
	"time"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// Row 6. Redis is killed under load, again and again, and started with its append-only file.
// Grants go on within a second of its first PONG.
func TestRedisKilled(t *testing.T) {
	heavy(t)
	s := redistest.Start(t)
	a, b := join(t, budget, s.URL()), join(t, budget, s.URL())
	l := drive(t, a.address, b.address)
	l.granted(0, 5*time.Second)
	disturbed := watchMachine(t)
	var worst time.Duration
	for range figure(5, 200) {
		time.Sleep(700 * time.Millisecond)
		s.Kill()
		time.Sleep(100 * time.Millisecond)
		s.Restart() // returns at the first PONG
		pong := l.now()
		worst = max(worst, l.granted(pong, 10*time.Second))
	}
	t.Logf("the first grant came at most %v after PONG", worst)
	if worst > time.Second && !disturbed() {
		t.Errorf("the first grant came %v after PONG, want at most 1s", worst)
	}
	l.end()
}

// What is in the append-only file is not lost: with Redis killed and every replica gone, new
// ones know every lease.
func TestAllKilled(t *testing.T) {
	heavy(t)
	s := redistest.Start(t)
	for round := range figure(2, 50) {
		a, b := spawn(t, budget, s.URL()), spawn(t, budget, s.URL())
		var leases []string
		for i := range 40 {
			r := []*process{a, b}[i%2]
			g := acquire(t, ask(fmt.Sprintf("%d-%d", round, i), "wide", time.Second), 2*time.Second, r.limiter)
			if g == nil {
				t.Fatal("no grant")
			}
			leases = append(leases, g.LeaseId)
		}
		s.Written()
		s.Kill()
		a.kill()
		b.kill()
		s.Restart()
		c := spawn(t, budget, s.URL())
		if got, want := held(t, c.monitor, "wide", "requests"), int64(40*(round+1)); got != want {
			t.Errorf("%d requests are known, want %d", got, want)
		}
		for _, lease := range leases {
			if _, err := release(t, lease, time.Second, c.limiter); err != nil {
				t.Errorf("release: %v", err)
			}
		}
		if got := held(t, c.monitor, "wide", "concurrency"); got != 0 {
			t.Errorf("%d calls are held after all were released", got)
		}
		c.kill()
	}
}

// Row 11. A replica of three is killed under load, with calls in flight, and started again. Who
// was asking it asks another under the same request id.
func TestReplicaKilled(t *testing.T) {
	heavy(t)
	s := redistest.Start(t)
	var all []*process
	var addresses []string
	for range 3 {
		p := spawn(t, budget, s.URL())
		all, addresses = append(all, p), append(addresses, p.address)
	}
	l := drive(t, addresses...)
	l.granted(0, 5*time.Second)
	for i := range figure(5, 200) {
		time.Sleep(time.Duration(300+100*(i%5)) * time.Millisecond)
		all[i%3].kill()
		time.Sleep(300 * time.Millisecond)
		all[i%3].begin()
	}
	c := l.end()
	if gap, at := c.Gap(time.Second, l.now()); gap > 2500*time.Millisecond {
		t.Errorf("nobody was granted for %v, at %v", gap, at)
	}
	// Grants whose answers were lost hold their slots until the TTL ends; no other does.
	took := eventually(t, "no slot is held", leaseTTL+time.Second, func() bool {
		acquire(t, ask(fmt.Sprint("tick", time.Now().UnixNano()), "wide", 0), time.Second, all[0].limiter) // so that time goes on
		return held(t, all[0].monitor, "p", "concurrency") == 0
	})
	t.Logf("all slots were back after %v", took)
}

// Retries at other replicas are charged once, whatever the killed one has still done.
func TestRetriesChargedOnce(t *testing.T) {
	heavy(t)
	s := redistest.Start(t)
	a, b, c := spawn(t, budget, s.URL()), spawn(t, budget, s.URL()), spawn(t, budget, s.URL())
	asked := 0
	for range figure(5, 200) {
		const flight = 40
		done := make(chan bool, flight)
		for i := range flight {
			asked++
			r := ask(fmt.Sprintf("r%d", asked), "wide", time.Second)
			go func() {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				done <- acquire(t, r, 2*time.Second, a.limiter, b.limiter, c.limiter) != nil
			}()
		}
		time.Sleep(2 * time.Millisecond)
		a.kill()
		for range flight {
			if !<-done {
				t.Fatal("a request was not granted")
			}
		}
		a.begin()
		for _, p := range []*process{a, b, c} {
			asked++
			if acquire(t, ask(fmt.Sprintf("r%d", asked), "wide", time.Second), 2*time.Second, p.limiter) == nil {
				t.Fatal("a request was not granted")
			}
		}
		if got := held(t, c.monitor, "wide", "requests"); got != int64(asked) {
			t.Fatalf("%d requests are charged, want %d", got, asked)
		}
	}
}

// The places of a killed replica's waiters: one whose caller asks elsewhere goes on, ahead of
// those who came later; one whose caller does not stops counting within 3 s.
func TestWaitersOfKilled(t *testing.T) {
	heavy(t)
	for _, row := range []struct {
		name    string
		returns bool
	}{{"the caller asks elsewhere", true}, {"the caller is gone", false}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			a, b := spawn(t, budget, s.URL()), spawn(t, budget, s.URL())
			holder := acquire(t, ask("holder", "narrow", time.Second), 2*time.Second, b.limiter)
			if holder == nil {
				t.Fatal("no grant")
			}
			first, second := make(chan *pb.Granted, 1), make(chan *pb.Granted, 1)
			go func() {
				replicas := []pb.LimiterServiceClient{a.limiter, b.limiter}
				if !row.returns {
					replicas = replicas[:1]
				}
				first <- acquire(t, ask("first", "narrow", 15*time.Second), 20*time.Second, replicas...)
			}()
			eventually(t, "one waits", 3*time.Second, func() bool { return waiting(t, a.monitor, "narrow", "concurrency") == 1 })
			go func() { second <- acquire(t, ask("second", "narrow", 15*time.Second), 20*time.Second, b.limiter) }()
			eventually(t, "two wait", 3*time.Second, func() bool { return waiting(t, b.monitor, "narrow", "concurrency") == 2 })
			a.kill()
			killed := time.Now()
			if row.returns {
				time.Sleep(200 * time.Millisecond) // it asks again
			} else { // what is free before goes to the killed one's waiter, and is held until its lease ends
				time.Sleep(3 * time.Second)
			}
			if _, err := release(t, holder.LeaseId, time.Second, b.limiter); err != nil {
				t.Fatal(err)
			}
			if row.returns {
				select {
				case g := <-first:
					t.Logf("granted %v after the kill", time.Since(killed))
					if _, err := release(t, g.GetLeaseId(), time.Second, b.limiter); err != nil {
						t.Fatal(err)
					}
				case <-second:
					t.Fatal("who came later was granted before the one that asked elsewhere")
				case <-time.After(5 * time.Second):
					t.Fatal("who asked elsewhere was not granted")
				}
			}
			select {
			case <-second:
				took := time.Since(killed)
				t.Logf("the second was granted %v after the kill", took)
				if took > 3600*time.Millisecond {
					t.Errorf("the waiter of a killed replica stood in the way for %v, want 3s", took)
				}
			case <-time.After(12 * time.Second):
				t.Fatal("the second was never granted")
			}
		})
	}
}

// A replica is stopped under load and goes on later, with all that it wanted to send. What it is
// granted then is no longer sent, and nothing is counted at a wrong time.
func TestReplicaStopped(t *testing.T) {
	heavy(t)
	s := redistest.Start(t)
	a, b, c := spawn(t, budget, s.URL()), spawn(t, budget, s.URL()), spawn(t, budget, s.URL())
	l := drive(t, a.address, b.address, c.address)
	l.granted(0, 5*time.Second)
	for _, p := range []*process{a, c} {
		time.Sleep(500 * time.Millisecond)
		p.stop()
		stopped := l.now()
		time.Sleep(figure(5*time.Second, time.Minute))
		p.resume()
		// Its waiters are passed over after 3 s.
		if r := l.rate(stopped+3500*time.Millisecond, l.now()); r < 60 {
			t.Errorf("%.0f grants a second while one of three was stopped, want half of 135 and more", r)
		}
	}
	time.Sleep(3 * time.Second)
	l.end()
}
