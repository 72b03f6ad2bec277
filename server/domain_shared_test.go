package server

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	goredis "github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// hourly is a domain whose windows do not end while a test runs.
const hourly = `
domain: gateway
descriptors:
  - {key: user, rate_limit: {unit: hour, requests_per_unit: 500}}
  - {key: path, rate_limit: {unit: hour, requests_per_unit: 100000}}
`

// newDomainWorld starts a process with a domain, whose log is in Redis, which it reaches by a
// proxy of its own.
func newDomainWorld(t *testing.T, s *redistest.Server, limits string) *awayWorld {
	t.Helper()
	return newDomainWorldOf(t, s, limits, storeTimeout)
}

// patience is a timeout that no machine is so busy for: where Redis shall not seem to be away.
const patience = 10 * time.Second

func newDomainWorldOf(t *testing.T, s *redistest.Server, limits string, timeout time.Duration) *awayWorld {
	t.Helper()
	proxy := redistest.StartProxy(t, s.Address())
	log, err := redis.Open(t.Context(), proxy.URL(), redis.Options{Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldOf(t, Options{
		Config: parse(t, small), Log: log, SnapshotEvery: 256 << 10, StoreTimeout: timeout, Envoy: EnvoyOptions{Limits: limitsOf(t, limits)},
	})
	t.Cleanup(func() {
		w.close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return &awayWorld{world: w, proxy: proxy}
}

// passes asks for a user, and says whether it passes.
func (w *awayWorld) passes(user string) (bool, error) {
	a, err := w.shouldRateLimit("gateway", descriptor("path", "/"), descriptor("user", user))
	return a.GetOverallCode() == rls.RateLimitResponse_OK, err
}

// TestDomainReplicas: processes that share a store let no more through together than one may.
func TestDomainReplicas(t *testing.T) {
	s := redistest.Start(t)
	worlds := []*awayWorld{newDomainWorldOf(t, s, hourly, patience), newDomainWorldOf(t, s, hourly, patience)}
	var passed, refused, doubtful atomic.Int64 // doubtful: on a busy machine Redis may seem away, and has charged
	var all sync.WaitGroup
	for _, w := range worlds {
		for range 16 {
			all.Go(func() {
				for range 40 {
					ok, err := w.passes("alice")
					for start := time.Now(); status.Code(err) == codes.Unavailable && time.Since(start) < 20*time.Second; ok, err = w.passes("alice") {
						doubtful.Add(1)
						time.Sleep(10 * time.Millisecond)
					}
					switch {
					case err != nil:
						t.Error(err)
					case ok:
						passed.Add(1)
					default:
						refused.Add(1)
					}
				}
			})
		}
	}
	all.Wait()
	n, doubts := passed.Load(), doubtful.Load()
	if n > 500 || n < 500-doubts || n+refused.Load() != 2*16*40 {
		t.Errorf("%d passed, %d were refused and %d are in doubt, want 500 of %d to pass", n, refused.Load(), doubts, 2*16*40)
	}
	a, err := worlds[1].shouldRateLimit("gateway", hitting(0, descriptor("path", "/")))
	if err != nil {
		t.Fatal(err)
	}
	if left := int64(a.Statuses[0].LimitRemaining); left > 100000-n || left < 100000-n-doubts {
		t.Errorf("got %v: what was refused must not be charged elsewhere", a)
	}
}

// TestDomainAway: where Redis does not answer, a call fails within its timeout, and then at once,
// with an error by which Envoy's failure_mode goes; when it is back, counters are as before.
func TestDomainAway(t *testing.T) {
	for _, row := range []struct {
		name       string
		gone, back func(s *redistest.Server)
	}{
		{"stopped", (*redistest.Server).Pause, (*redistest.Server).Continue},
		{"killed", (*redistest.Server).Kill, (*redistest.Server).Restart},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			w := newDomainWorld(t, s, hourly)
			for range 10 {
				if _, err := w.passes("alice"); err != nil {
					t.Fatal(err)
				}
			}
			row.gone(s)
			start := time.Now()
			_, err := w.passes("alice")
			if took := time.Since(start); took > storeTimeout+50*time.Millisecond {
				t.Errorf("the first answer took %v, want it after the timeout of %v", took, storeTimeout)
			}
			wantRetry(t, err)
			var slowest time.Duration
			for range 100 {
				start = time.Now()
				_, err = w.passes("alice")
				slowest = max(slowest, time.Since(start))
				wantRetry(t, err)
			}
			if slowest > 50*time.Millisecond {
				t.Errorf("the slowest answer later took %v, want it at once", slowest)
			}
			row.back(s)
			t.Logf("back after %v", w.until("back", func() bool { _, err := w.passes("bob"); return err == nil }))
			a, err := w.shouldRateLimit("gateway", hitting(0, descriptor("user", "alice")))
			if left := a.GetStatuses()[0].GetLimitRemaining(); err != nil || left > 490 || left < 488 { // what was in doubt may have got there
				t.Errorf("%d are left, %v, want 490 or, of what was in doubt, a little less", left, err)
			}
		})
	}
}

// TestDomainCut: the calls under way when the connection breaks end with an answer or an error of
// the store, and none is charged twice.
func TestDomainCut(t *testing.T) {
	s := redistest.Start(t)
	w := newDomainWorld(t, s, hourly)
	var passed, failed atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for ctx.Err() == nil && passed.Load() < 400 {
				switch _, err := w.passes("alice"); status.Code(err) {
				case codes.OK:
					passed.Add(1)
				case codes.Unavailable:
					failed.Add(1)
					time.Sleep(time.Millisecond)
				default:
					t.Error(err)
				}
			}
		})
	}
	for ctx.Err() == nil && passed.Load() < 400 {
		w.proxy.LoseReplies(1)
		time.Sleep(20 * time.Millisecond)
	}
	all.Wait()
	w.until("back", func() bool { _, err := w.passes("bob"); return err == nil })
	a, err := w.shouldRateLimit("gateway", hitting(0, descriptor("user", "alice")))
	if err != nil {
		t.Fatal(err)
	}
	used := 500 - int64(a.Statuses[0].LimitRemaining)
	t.Logf("%d passed, %d failed, %d are charged", passed.Load(), failed.Load(), used)
	if used < passed.Load() || used > passed.Load()+failed.Load() {
		t.Errorf("%d are charged, want %d, and up to %d that failed", used, passed.Load(), failed.Load())
	}
}

// TestDomainReloadWhile: calls go on, and each is decided, while limits come and go.
func TestDomainReloadWhile(t *testing.T) {
	s := redistest.Start(t)
	w := newDomainWorldOf(t, s, hourly, patience)
	var calls atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for ctx.Err() == nil {
				domain := []string{"gateway", "other"}[i%2]
				if _, err := w.shouldRateLimit(domain, descriptor("user", name("u", i))); err != nil {
					t.Errorf("%s: %v", domain, err)
					return
				}
				calls.Add(1)
			}
		})
	}
	for i := range 20 {
		files := []string{strings.Replace(hourly, "500", fmt.Sprint(100000+i), 1)}
		if i%2 == 0 {
			files = append(files, strings.Replace(hourly, "gateway", "other", 1))
		}
		before := calls.Load()
		if err := w.server.ReloadLimits(ctx, limitsOf(t, files...)); err != nil {
			t.Fatal(err)
		}
		w.until("some calls", func() bool { return calls.Load() > before+20 })
	}
	cancel()
	all.Wait()
}

// TestDomainDrain: a server that drains still decides, and its end cuts nobody off: who is not
// decided is told to ask elsewhere.
func TestDomainDrain(t *testing.T) {
	s := redistest.Start(t)
	w := newDomainWorld(t, s, strings.Replace(hourly, "500", "1000000", 1))
	var passed, late atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for {
				ok, err := w.passes(name("u", i))
				switch {
				case status.Code(err) == codes.Unavailable: // nobody listens any more
					late.Add(1)
					return
				case err != nil || !ok:
					t.Errorf("got %v, %v", ok, err)
					return
				}
				passed.Add(1)
			}
		})
	}
	w.until("some pass", func() bool { return passed.Load() > 100 })
	w.server.Drain()
	before := passed.Load()
	w.until("more pass", func() bool { return passed.Load() > before+100 })
	if err := w.server.ReloadLimits(t.Context(), limitsOf(t, hourly)); err == nil {
		t.Error("limits were exchanged meanwhile")
	}
	w.grpc.GracefulStop()
	all.Wait()
	if late.Load() != 8 {
		t.Errorf("%d callers were told to go elsewhere, want 8", late.Load())
	}
}

// TestDomainWiped: what a Redis has lost the processes that live put back, before anything passes
// again.
func TestDomainWiped(t *testing.T) {
	s := redistest.Start(t)
	worlds := []*awayWorld{newDomainWorld(t, s, hourly), newDomainWorld(t, s, hourly)}
	for i := range 30 {
		if ok, err := worlds[i%2].passes("alice"); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	c := goredis.NewClient(&goredis.Options{Addr: s.Address(), Protocol: 2})
	defer c.Close()
	if err := c.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for i, w := range worlds {
		t.Logf("%d passes again after %v", i, w.until("counted again", func() bool {
			_, err := w.passes("alice")
			if err != nil {
				wantRetry(t, err)
			}
			return err == nil
		}))
	}
	for _, w := range worlds {
		a, err := w.shouldRateLimit("gateway", hitting(0, descriptor("user", "alice")))
		if err != nil {
			t.Fatal(err)
		}
		// A call that failed when the log broke may have been counted.
		if left := a.Statuses[0].LimitRemaining; left > 500-32 || left < 500-34 {
			t.Errorf("%d are left, want %d", left, 500-32)
		}
	}
}
