package server

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// crowded lets 20 calls run at once and 10,000 wait, for long.
const crowded = `
cold_start: trust
priority_classes:
  standard: {weight: 1, max_wait: 1h}
organizations:
  acme:
    max_waiting: 10k
    accounts: {a: {provider: openai, margin: 0%, pools: {p: {models: [m], limits: {concurrency: 20}}}}}
    projects: {search: {}}
    routes: {one: {targets: [{account: a, model: m}]}}
`

// heavy skips a test that measures a process under load in real time.
func heavy(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes real time and both processors; without -short it runs")
	}
	if raceEnabled {
		t.Skip("the race detector slows what is measured here")
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

// TestCrowd: ten thousand blocked calls at once. Each costs little memory, one more is refused
// at once, what is released is granted in no time, who leaves makes room, and in the end
// nothing is left over.
func TestCrowd(t *testing.T) {
	heavy(t)
	const (
		running, connections, crowd, releases = 20, 16, 10_000, 1000
		mostMemory                            = 30 << 10 // bytes for each
		mostWake                              = 100 * time.Millisecond
		mostLeaving                           = time.Second
	)
	r := startRemote(t, remoteOptions{Config: crowded}, connections)
	clients := make([]pb.LimiterServiceClient, connections)
	for i, c := range r.conns {
		clients[i] = pb.NewLimiterServiceClient(c)
	}
	acquire := func(i int) *pb.AcquireResponse {
		t.Helper()
		a, err := clients[i%connections].Acquire(t.Context(), ask(name("first", i)))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	var held []string
	for i := range running {
		a := acquire(i)
		if a.GetGranted() == nil {
			t.Fatalf("got %v, want a grant", a)
		}
		held = append(held, a.GetGranted().LeaseId)
	}
	before := r.figures(true)

	type woken struct {
		lease string
		at    time.Time
	}
	grants := make(chan woken, crowd)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	first, leaveFirst := context.WithCancel(ctx)
	defer leaveFirst()
	var all sync.WaitGroup
	var refused atomic.Int64
	began := time.Now()
	for i := range crowd {
		all.Go(func() {
			ctx := ctx
			if i == crowd-1 {
				ctx = first
			}
			for ctx.Err() == nil { // blocks end after 20 s at most; the place is kept
				a, err := clients[i%connections].Acquire(ctx, ask(name("crowd", i), block(maxBlock)))
				switch {
				case status.Code(err) == codes.Canceled:
				case err != nil:
					t.Error(err)
					return
				case a.GetGranted() != nil:
					grants <- woken{a.GetGranted().LeaseId, time.Now()}
					return
				case a.GetRejected() != nil:
					refused.Add(1)
					return
				}
			}
		})
	}
	r.until("all wait", 20*time.Second, func(f figures) bool { return f.Waiting == crowd })
	gathered := time.Since(began)
	after := r.figures(true)
	rss, heap := (after.RSS-before.RSS)/crowd, (after.Heap-before.Heap)/crowd
	t.Logf("%d wait after %v: %d bytes resident and %d of heap and stacks for each, %d goroutines", crowd, gathered.Round(time.Millisecond),
		rss, heap, after.Goroutines)
	if rss > mostMemory || heap > mostMemory {
		t.Errorf("a blocked call costs %d bytes resident, %d of heap, want at most %d", rss, heap, mostMemory)
	}

	full := time.Now()
	if a := acquire(running); a.GetRejected().GetReason() != pb.Reason_REASON_QUEUE_FULL || time.Since(full) > mostWake {
		t.Errorf("one more got %v after %v, want QUEUE_FULL at once", a, time.Since(full))
	}
	left := time.Now()
	leaveFirst()
	r.until("one has left", mostLeaving, func(f figures) bool { return f.Waiting == crowd-1 })
	t.Logf("who cancels has left after %v at most", time.Since(left).Round(100*time.Microsecond))

	// One release wakes one waiter: whoever is woken next was woken by it.
	release := func(lease string) {
		t.Helper()
		if _, err := clients[0].Release(t.Context(), &pb.ReleaseRequest{LeaseId: lease}); err != nil {
			t.Fatal(err)
		}
	}
	var wakes []time.Duration
	for range releases {
		sent := time.Now()
		release(held[0])
		g := <-grants
		wakes = append(wakes, g.at.Sub(sent))
		held = append(held[1:], g.lease)
	}
	p50, p99, most := percentile(wakes, .5), percentile(wakes, .99), percentile(wakes, 1)
	t.Logf("from a release to the waiter's answer, %d times: median %v, p99 %v, most %v", releases, p50, p99, most)
	if p99 > mostWake {
		t.Errorf("p99 of release to grant is %v, want at most %v", p99, mostWake)
	}

	left = time.Now()
	leave()
	all.Wait()
	for len(grants) > 0 {
		held = append(held, (<-grants).lease)
	}
	r.until("all have left", 10*time.Second, func(f figures) bool { return f.Waiting == 0 && f.Places == 0 && f.Counted == 0 })
	t.Logf("all others have left %v after they cancelled", time.Since(left).Round(time.Millisecond))
	for _, lease := range held {
		release(lease)
	}
	end := r.until("nothing is left", 5*time.Second, func(f figures) bool { return f.Slots == 0 && f.Goroutines <= before.Goroutines })
	t.Logf("in the end %d slots held, %d places, %d goroutines (%d before)", end.Slots, end.Places, end.Goroutines, before.Goroutines)
	if n := refused.Load(); n != 0 {
		t.Errorf("%d of %d were refused", n, crowd)
	}
}
