package limiter_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	. "github.com/watermaster-project/watermaster/limiter"
)

// bench is an engine at rest with a number of leases and waiters, and the commands that
// keep it there.
type bench struct {
	e      *Engine
	now    Time
	n      uint64
	acq    Acquire
	rel    Release
	events []Event
	open   []LeaseID // ring of leases in force
	head   int
	number uint64 // of the latest entry
	t      testing.TB
}

func newBench(t testing.TB, leases, waiters int) *bench {
	b := &bench{e: New(), now: Time(1e18), t: t}
	classes := []ClassSpec{{Name: "interactive", Weight: 16, Reserve: 50_000}, {Name: "standard", Weight: 4, Paced: true}, {Name: "batch", Weight: 1, Paced: true}}
	window := func(m Metric, q int64) LimitSpec {
		return LimitSpec{Name: m.String(), Metric: m, Quota: q, Window: time.Minute, Jitter: time.Second}
	}
	stock := LimitSpec{Name: "concurrency", Metric: Concurrency, Shape: Stock, Quota: int64(leases)}
	if waiters == 0 {
		stock.Quota *= 2
	}
	b.apply(&Configure{
		Generation: 1, Limits: []LimitSpec{window(Requests, 1e12), window(Tokens, 1e15)},
		Pools:    []PoolSpec{{Name: "a/p", Models: []string{"m"}, StartWithin: time.Second, Limits: []LimitSpec{window(Requests, 1e12), window(Tokens, 1e15), stock}}},
		Template: &ProjectSpec{Weight: 1, Limits: []LimitSpec{window(Requests, 1e12), window(Tokens, 1e15)}}, MaxProjects: 10000, Classes: classes,
	})
	b.acq.Targets = []Target{{Pool: "a/p", Model: "m", Charges: []Charge{
		{Requests, ToPool | ToOwner, 1}, {Tokens, ToPool | ToOwner | Refundable, 3000}, {Concurrency, ToPool | ToOwner, 1},
	}}}
	b.acq.MaxWait, b.acq.TTL = 2400*time.Hour, 2400*time.Hour
	b.rel.Actual = []Charge{{Tokens, ToPool | ToOwner, 2000}}
	for i := 0; i < leases+waiters; i++ {
		b.acquire()
	}
	if l, w := b.e.Counts(); l != leases || w != waiters {
		t.Fatalf("%d leases and %d waiters, want %d and %d", l, w, leases, waiters)
	}
	return b
}

func (b *bench) apply(c Command) []Event {
	b.events = b.e.Apply(c, b.now, b.events[:0])
	for i := range b.events {
		if b.events[i].Kind == Granted {
			b.open = append(b.open, b.events[i].Lease)
		}
	}
	return b.events
}

var projects, classNames = func() (p []string) {
	for i := range 100 {
		p = append(p, fmt.Sprint("project-", i))
	}
	return p
}(), []string{"interactive", "standard", "batch"}

func (b *bench) acquire() {
	b.n++
	b.now += 5_000_000
	binary.LittleEndian.PutUint64(b.acq.Key[:], b.n*0x9E3779B97F4A7C15)
	b.acq.Lease = LeaseID{Incarnation: 1, Count: b.n}
	b.acq.Project, b.acq.Class = projects[b.n%100], classNames[b.n%3]
	b.acq.Arrived = b.now
	b.apply(&b.acq)
}

// begin begins an entry of one of three processes.
func (b *bench) begin() {
	b.number++
	b.e.Begin(1+b.number%3, b.number, b.now)
}

func (b *bench) release() {
	b.now += 5_000_000
	b.rel.Lease = b.open[b.head]
	b.head++
	if b.head > 1<<16 {
		b.open = append(b.open[:0], b.open[b.head:]...)
		b.head = 0
	}
	b.apply(&b.rel)
}

// BenchmarkCommand measures an Acquire that queues and a Release that lets another go,
// at rest with as many leases as waiters.
func BenchmarkCommand(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000, 100000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newBench(b, n, n)
			for range 3*n + 10_000 {
				s.acquire()
				s.release()
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				s.acquire()
				s.release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/command")
		})
	}
}

// BenchmarkGrant measures an Acquire that is granted at once and its Release.
func BenchmarkGrant(b *testing.B) {
	s := newBench(b, 1, 0)
	for range 10_000 {
		s.acquire()
		s.release()
	}
	b.ResetTimer()
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		s.acquire()
		s.release()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/command")
}

// BenchmarkBegin measures what an entry costs beside its commands, with so many processes.
func BenchmarkBegin(b *testing.B) {
	for _, n := range []uint64{3, 30} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newBench(b, 100, 100)
			b.ReportAllocs()
			for i := uint64(0); i < uint64(b.N); i++ {
				s.now += 1_000_000
				s.e.Begin(1+i%n, i, s.now)
			}
		})
	}
}
