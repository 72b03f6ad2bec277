package server

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// apart is an organization whose processes have a part of five requests a minute and of two
// calls at a time; WHEN is the account's when_away.
const apart = `
revision: 7
cold_start: trust
max_replicas: 4
organizations:
  acme:
    accounts:
      main:
        margin: 20%
        when_away: WHEN
        pools:
          gpt: {models: [gpt], limits: {requests: 100/min, concurrency: 40}}
    routes:
      one: {targets: [{account: main, model: gpt}]}
priority_classes: {standard: {paced: false}}
`

// storeTimeout is long enough for a machine that has other things to do.
const storeTimeout = 250 * time.Millisecond

// An awayWorld is a process of several that share a Redis.
type awayWorld struct {
	*world
	proxy *redistest.Proxy
	log   *unsureLog
}

// An unsureLog is a log that may be told to lose a batch and then to break, or to hold a state that
// nobody can read.
type unsureLog struct {
	*redis.Log
	losing  atomic.Int32 // 2: the next batch; 1: the next has to break; 0: all is well
	garbled atomic.Bool
	loads   atomic.Int32
}

// Load implements store.Log.
func (l *unsureLog) Load(ctx context.Context, organization string) (store.Snapshot, []store.Entry, error) {
	l.loads.Add(1)
	s, entries, err := l.Log.Load(ctx, organization)
	if err == nil && l.garbled.Load() {
		s.State, entries = []byte("garbled"), nil
	}
	return s, entries, err
}

// Append implements store.Log.
func (l *unsureLog) Append(ctx context.Context, organization string, after store.Position, b store.Batch, entries []store.Entry) ([]store.Entry, error) {
	if l.garbled.Load() {
		return entries, store.ErrBroken
	}
	if b.Number != 0 && !b.Join {
		switch n := l.losing.Load(); n {
		case 2:
			l.losing.Store(1)
			return entries, store.ErrUnavailable // in doubt for the sender, and never sent
		case 1:
			l.losing.Store(0)
			return entries, store.ErrBroken
		}
	}
	return l.Log.Append(ctx, organization, after, b, entries)
}

// newAwayWorld starts one, which reaches the server by a proxy of its own.
func newAwayWorld(t *testing.T, s *redistest.Server, policy string) *awayWorld {
	t.Helper()
	return newAwayWorldOf(t, s, apart, policy)
}

func newAwayWorldOf(t *testing.T, s *redistest.Server, yaml, policy string) *awayWorld {
	t.Helper()
	return newAwayWorldWithin(t, s, yaml, policy, storeTimeout)
}

func newAwayWorldWithin(t *testing.T, s *redistest.Server, yaml, policy string, timeout time.Duration) *awayWorld {
	t.Helper()
	proxy := redistest.StartProxy(t, s.Address())
	log, err := redis.Open(t.Context(), proxy.URL(), redis.Options{Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	unsure := &unsureLog{Log: log}
	w := newWorldOf(t, Options{
		Config: parse(t, strings.ReplaceAll(yaml, "WHEN", policy)), Log: unsure, SnapshotEvery: 256 << 10, StoreTimeout: timeout,
	})
	t.Cleanup(func() {
		w.close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return &awayWorld{w, proxy, unsure}
}

// until waits until something is so.
func (w *awayWorld) until(what string, so func() bool) (took time.Duration) {
	w.t.Helper()
	start := time.Now()
	for !so() {
		if time.Since(start) > 20*time.Second {
			w.t.Fatalf("not %s after %v", what, time.Since(start))
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}

func (w *awayWorld) isAway() bool {
	_, away := w.organization().isAway()
	return away
}

// held tells what the log's engine holds of the requests a minute.
func (w *awayWorld) held() (held int64) {
	o := w.organization()
	o.replica.Lock()
	defer o.replica.Unlock()
	for _, l := range o.engine().Limits(o.now()) {
		if l.Spec.Name == "requests/min" {
			held += l.Held
		}
	}
	return held
}

// spent asks until there is no room, and gives the leases.
func (w *awayWorld) spent(prefix string) (leases []string) {
	w.t.Helper()
	for i := range 1000 {
		a := w.acquire(ask(name(prefix, i), block(0)))
		g := a.GetGranted()
		if g == nil {
			return leases
		}
		leases = append(leases, g.LeaseId)
		w.free(g.LeaseId)
	}
	w.t.Fatal("there is no end of it")
	return nil
}

// free ends a call that used all that it was charged for, so that only its request counts on. On
// a busy machine the log may just be away for a moment.
func (w *awayWorld) free(lease string) {
	w.t.Helper()
	w.until("released", func() bool {
		_, err := w.Release(w.t.Context(), &pb.ReleaseRequest{LeaseId: lease, Outcome: pb.Outcome_OUTCOME_SUCCEEDED})
		return err == nil
	})
}

// TestAway: a process that cannot reach the log grants its part, and lets the rest wait; the log
// learns of it when it is back, each grant once; and a part is spent once in a window.
func TestAway(t *testing.T) {
	s := redistest.Start(t)
	w := newAwayWorld(t, s, "margin")
	near := w.grant(ask("near", block(0)))
	s.Pause()
	start := time.Now()
	first := w.acquire(ask("first", block(0)))
	if took := time.Since(start); took > 2*storeTimeout || first.GetGranted() == nil {
		t.Errorf("got %v after %v, want a grant soon after the log's timeout of %v", first, took, storeTimeout)
	}
	w.free(first.GetGranted().LeaseId)
	if rest := w.spent("rest"); len(rest) != 4 {
		t.Errorf("got %d more, want 4", len(rest))
	}
	start = time.Now()
	if a := w.acquire(ask("waits", block(200*time.Millisecond))); a.GetWait() == nil || time.Since(start) < 200*time.Millisecond {
		t.Errorf("got %v after %v, want it to wait for its block", a, time.Since(start))
	}
	if a := w.acquire(ask("impatient", maxWait(0))); a.GetRejected().GetReason() != pb.Reason_REASON_WAIT_TOO_LONG {
		t.Errorf("got %v, want no wait", a)
	}
	_, err := w.Release(t.Context(), &pb.ReleaseRequest{LeaseId: near.LeaseId})
	wantRetry(t, err)
	w.until("NOT_SERVING", func() bool { return w.server.Ready() != nil })
	w.wantHealth(healthpb.HealthCheckResponse_NOT_SERVING)

	s.Continue()
	t.Logf("back after %v", w.until("back", func() bool { return !w.isAway() && w.server.Ready() == nil }))
	w.wantHealth(healthpb.HealthCheckResponse_SERVING)
	if held := w.held(); held != 6 {
		t.Errorf("the log holds %d requests, want 6: one that it granted, and five of its absence", held)
	}
	w.release(near.LeaseId)
	w.grant(ask("waits", block(time.Second)))

	s.Pause()
	if more := w.spent("again"); len(more) != 0 {
		t.Errorf("got %d in the same window, want none", len(more))
	}
	s.Continue()
	w.until("back again", func() bool { return !w.isAway() })
	if held := w.held(); held != 7 {
		t.Errorf("the log holds %d requests, want 7", held)
	}
}

// TestAwayDebtIsLost: what was granted alone is told to the log though it breaks while it is being
// told, and the batch that told of it is lost.
func TestAwayDebtIsLost(t *testing.T) {
	s := redistest.Start(t)
	w := newAwayWorld(t, s, "margin")
	w.grant(ask("near", block(0)))
	s.Pause()
	w.organization().read() // nothing is in doubt when it goes away
	w.until("away", w.isAway)
	if alone := w.spent("alone"); len(alone) != 5 {
		t.Errorf("got %d alone, want 5", len(alone))
	}
	w.log.losing.Store(2)
	s.Continue()
	w.until("back", func() bool { return !w.isAway() })
	if n := w.log.losing.Load(); n != 0 {
		t.Errorf("the log has %d faults left: the test shows nothing", n)
	}
	if held := w.held(); held != 6 {
		t.Errorf("the log holds %d requests, want 6: one that it granted, and five of its absence", held)
	}
}

// wantRetry wants an answer that says when to ask again.
func wantRetry(t *testing.T, err error) {
	t.Helper()
	for _, d := range wantCode(t, err, codes.Unavailable).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok && r.RetryDelay.AsDuration() > 0 {
			return
		}
	}
	t.Errorf("got %v, want a RetryInfo", err)
}

// TestAwayQueue: who waits in the log's queue is granted alone if there is room, and has no place
// in the log after that.
func TestAwayQueue(t *testing.T) {
	s := redistest.Start(t)
	w := newAwayWorld(t, s, "margin")
	for i := range 32 { // all calls at a time that the log grants
		w.grant(ask(name("near", i)))
	}
	var waiting sync.WaitGroup
	answers := make(chan *pb.AcquireResponse, 3)
	for i := range 3 {
		waiting.Go(func() {
			a, err := w.Acquire(t.Context(), ask(name("waits", i), block(5*time.Second)))
			if err != nil {
				t.Error(err)
			}
			answers <- a
		})
	}
	w.until("waiting", func() bool { return w.server.waiting.Load() == 3 })
	s.Pause()
	w.organization().read() // nobody asks: it is noticed by whoever reads
	granted := 0
	for range 2 {
		if a := <-answers; a.GetGranted() != nil {
			granted++
		}
	}
	if granted != 2 {
		t.Errorf("%d of those who wait were granted alone, want 2", granted)
	}
	s.Continue()
	w.until("back", func() bool { return !w.isAway() })
	w.until("one place", func() bool {
		o := w.organization()
		o.replica.Lock()
		defer o.replica.Unlock()
		_, waiters := o.engine().Counts()
		return waiters == 1
	})
	waiting.Wait()
	if a := <-answers; a.GetWait() == nil {
		t.Errorf("the third got %v, want it to wait on", a)
	}
}

// TestAwayClosed: nobody is granted. Who waits is when the log is back, or hears when to ask again.
func TestAwayClosed(t *testing.T) {
	s := redistest.Start(t)
	w := newAwayWorld(t, s, "closed")
	w.grant(ask("near"))
	s.Pause()
	start := time.Now()
	_, err := w.Acquire(t.Context(), ask("waits", block(3*storeTimeout)))
	wantRetry(t, err)
	if took := time.Since(start); took < 3*storeTimeout {
		t.Errorf("answered after %v, before its block ended", took)
	}
	back := make(chan answered, 1)
	go func() {
		a, err := w.Acquire(t.Context(), ask("patient", block(10*time.Second)))
		back <- answered{AcquireResponse: a, err: err}
	}()
	time.Sleep(2 * storeTimeout)
	s.Continue()
	if a := <-back; a.err != nil || a.GetGranted() == nil {
		t.Errorf("got %v, %v, want a grant by the log", a.AcquireResponse, a.err)
	}
}

// TestAwayOpen: everything is granted, and the log hears of it.
func TestAwayOpen(t *testing.T) {
	s := redistest.Start(t)
	w := newAwayWorld(t, s, "open")
	w.grant(ask("near"))
	s.Pause()
	for i := range 200 {
		w.grant(ask(name("open", i), block(0)))
	}
	s.Continue()
	w.until("back", func() bool { return !w.isAway() })
	if held := w.held(); held != 201 {
		t.Errorf("the log holds %d, want 201", held)
	}
}

// TestAwayApart: one process of two is cut off. It grants its part, the other all that the log
// has, and together they stay within the quota.
func TestAwayApart(t *testing.T) {
	s := redistest.Start(t)
	a, b := newAwayWorld(t, s, "margin"), newAwayWorld(t, s, "margin")
	a.proxy.Point("127.0.0.1:1") // refuses
	alone, near := int64(len(a.spent("alone"))), int64(0)
	b.until("spent", func() bool { // on a busy machine the log may be away for a moment
		near += int64(len(b.spent(name("near", int(near)))))
		return !b.isAway() && b.held() >= 80
	})
	if alone != 5 || near < 80 || near > 85 {
		t.Errorf("got %d alone and %d by the log, want 5 and 80", alone, near)
	}
	a.proxy.Point(s.Address())
	a.until("back", func() bool { return !a.isAway() })
	b.until("both alike", func() bool {
		b.organization().read()
		return b.held() == near+alone && a.held() == near+alone
	})
}

// TestAwayLoad: with many calls under way none fails and none hangs, and all is as before when
// the log is back, goroutines included (the package's TestMain looks for those).
func TestAwayLoad(t *testing.T) {
	s := redistest.Start(t)
	w := newAwayWorld(t, s, "margin")
	ctx, stop := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	var mu sync.Mutex
	slowest, n := time.Duration(0), 0
	for i := range 16 {
		calls.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				start := time.Now()
				a, err := w.Acquire(t.Context(), ask(fmt.Sprintf("%d-%d", i, k), block(0), maxWait(time.Second)))
				took := time.Since(start)
				if err != nil {
					t.Errorf("acquire: %v", err)
					return
				}
				mu.Lock()
				slowest, n = max(slowest, took), n+1
				mu.Unlock()
				if g := a.GetGranted(); g != nil {
					_, _ = w.Release(t.Context(), &pb.ReleaseRequest{LeaseId: g.LeaseId, Outcome: pb.Outcome_OUTCOME_SUCCEEDED})
				} else {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	for range 3 {
		time.Sleep(100 * time.Millisecond)
		s.Pause()
		w.until("away", w.isAway)
		time.Sleep(2 * storeTimeout)
		s.Continue()
		w.until("back", func() bool { return !w.isAway() })
	}
	stop()
	calls.Wait()
	t.Logf("%d calls, the slowest took %v", n, slowest)
	if slowest > 4*storeTimeout {
		t.Errorf("a call took %v, at a timeout of %v", slowest, storeTimeout)
	}
	if held := w.held(); held > 85 {
		t.Errorf("the log holds %d, want at most 80 and a part of 5", held)
	}
}

// TestAwaySeats: as many processes have a part as max_replicas says; one that ends leaves its own
// to the next, and one that is killed does not.
func TestAwaySeats(t *testing.T) {
	s := redistest.Start(t)
	start := func() *awayWorld {
		return newAwayWorldOf(t, s, strings.ReplaceAll(apart, "max_replicas: 4", "max_replicas: 2"), "margin")
	}
	grants := func(w *awayWorld) int {
		w.proxy.Point("127.0.0.1:1")
		n := len(w.spent(fmt.Sprintf("%p", w)))
		w.proxy.Point(s.Address())
		w.until("back", func() bool { return !w.isAway() })
		return n
	}
	a, b, c := start(), start(), start()
	if got := []int{grants(b), grants(c)}; got[0] != 10 || got[1] != 0 {
		t.Errorf("the second and the third of two have granted %v, want 10 and nothing", got)
	}
	a.server.Close()
	d := start()
	if got := grants(d); got != 10 {
		t.Errorf("who came after one that ended has granted %d, want 10", got)
	}
	b.server.Close() // it has granted alone, and that still counts
	if got := grants(start()); got != 0 {
		t.Errorf("who came after one whose grants still count has granted %d, want none", got)
	}
}
