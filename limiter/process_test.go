package limiter_test

import (
	"testing"
	"time"

	. "github.com/watermaster-project/watermaster/limiter"
)

// TestProcessesAreBounded: however many processes come and go within ten minutes, no more
// are remembered than may be, and the latest are.
func TestProcessesAreBounded(t *testing.T) {
	e := New()
	const most = 1024
	for i := range uint64(3 * most) {
		if !e.Begin(i+1, 1, Time(i)) {
			t.Fatalf("the first batch of process %d is a late copy", i+1)
		}
	}
	peers := e.Peers(nil)
	if len(peers) != most || peers[0].Incarnation != 2*most+1 {
		t.Errorf("%d processes from %d on, want %d from %d on", len(peers), peers[0].Incarnation, most, 2*most+1)
	}
	if e.Begin(3*most, 1, Time(3*most)) {
		t.Error("a batch of the latest process was applied twice")
	}
	e.Begin(1, 1, Time(11*time.Minute))
	if peers := e.Peers(nil); len(peers) != 1 {
		t.Errorf("%d processes after ten minutes, want 1", len(peers))
	}
}

// TestHold: what a log must outlive is longer than anything that its state holds.
func TestHold(t *testing.T) {
	window := func(w time.Duration) LimitSpec {
		return LimitSpec{Name: "r", Metric: Requests, Quota: 10, Window: w, Jitter: time.Second}
	}
	day := LimitSpec{Name: "d", Metric: Requests, Shape: Calendar, Quota: 10, Jitter: time.Second}
	rows := []struct {
		name   string
		limits []LimitSpec
		ttl    time.Duration // of the one lease; 0: there is none
		want   time.Duration
	}{
		{"nothing", nil, 0, time.Second},
		{"a minute", []LimitSpec{window(time.Minute)}, 0, time.Minute + time.Second},
		{"an hour", []LimitSpec{window(time.Minute), window(time.Hour)}, 0, time.Hour + time.Second},
		{"a day, as long as it may be", []LimitSpec{day}, 0, 25*time.Hour + time.Second},
		{"a lease", []LimitSpec{window(time.Minute)}, time.Hour, time.Hour + time.Minute + time.Second},
		{"a lease that may be charged at its end", []LimitSpec{window(time.Hour)}, time.Hour, 2*time.Hour + time.Second},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			e := New()
			e.Apply(&Configure{
				Generation: 1, Pools: []PoolSpec{{Name: "a/x", Models: []string{"m"}, Limits: r.limits}},
				Projects: []ProjectSpec{{Name: "p", Weight: 1}}, Classes: []ClassSpec{{Name: "c", Weight: 1}},
			}, 1e18, nil)
			if got := e.Hold(); r.ttl == 0 && got != r.want {
				t.Errorf("holds for %v, want %v", got, r.want)
			}
			if r.ttl == 0 {
				return
			}
			e.Apply(&Acquire{
				Lease: LeaseID{Incarnation: 1, Count: 1}, Project: "p", Class: "c", TTL: r.ttl,
				Targets: []Target{{Pool: "a/x", Model: "m", Charges: []Charge{{Requests, ToPool, 1}}}},
			}, 1e18, nil)
			if got := e.Hold(); got != r.want {
				t.Errorf("holds for %v, want %v", got, r.want)
			}
			e.Apply(&Tick{}, 1e18+Time(r.ttl)+Time(time.Minute), nil)
			if got, want := e.Hold(), r.want-r.ttl; got != want {
				t.Errorf("holds for %v after the lease has ended, want %v", got, want)
			}
		})
	}
}

// TestManyAreRevived: a process that is heard again after a silence gives all its waiters
// their places back, in their order.
func TestManyAreRevived(t *testing.T) {
	e := New()
	e.Apply(&Configure{
		Generation: 1, Pools: []PoolSpec{{Name: "a/x", Models: []string{"m"}, Limits: []LimitSpec{{Name: "c", Metric: Concurrency, Shape: Stock, Quota: 1}}}},
		Projects: []ProjectSpec{{Name: "p", Weight: 1}}, Classes: []ClassSpec{{Name: "c", Weight: 1}},
	}, 1e18, nil)
	const n = 20_000
	const now = Time(1e18)
	number := uint64(0)
	begin := func(process uint64, at Time) {
		number++
		e.Begin(process, number, at)
	}
	acquire := func(process, count uint64) {
		begin(process, now)
		e.Apply(&Acquire{
			Key: Key{byte(count), byte(count >> 8), byte(count >> 16), byte(process)}, Lease: LeaseID{Incarnation: process, Count: count},
			Project: "p", Class: "c", Arrived: now, MaxWait: time.Hour, TTL: time.Hour,
			Targets: []Target{{Pool: "a/x", Model: "m", Charges: []Charge{{Concurrency, ToPool, 1}}}},
		}, now, nil)
	}
	acquire(1, 1)
	for i := range uint64(n) {
		acquire(2, i+1)
	}
	acquire(1, 2)
	acquire(1, 3)
	release := func(lease LeaseID, at Time) (granted LeaseID) {
		begin(1, at)
		for _, ev := range e.Apply(&Release{Lease: lease}, at, nil) {
			if ev.Kind == Granted {
				granted = ev.Lease
			}
		}
		return granted
	}
	// Process 2 is silent: all of its waiters are passed.
	next := release(LeaseID{Incarnation: 1, Count: 1}, now+4e9)
	if want := (LeaseID{Incarnation: 1, Count: 2}); next != want {
		t.Fatalf("%v goes while process 2 is silent, want %v", next, want)
	}
	begin(2, now+5e9)
	for i := range uint64(n) {
		if next = release(next, now+6e9); next != (LeaseID{Incarnation: 2, Count: i + 1}) {
			t.Fatalf("%v goes when process 2 is back, want its number %d", next, i+1)
		}
	}
	if next = release(next, now+6e9); next != (LeaseID{Incarnation: 1, Count: 3}) {
		t.Errorf("%v goes last, want the one of process 1", next)
	}
}
