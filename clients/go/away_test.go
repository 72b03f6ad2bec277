package watermaster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

func hang(ctx context.Context, _ *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Closed waits out the caller's patience, and no longer.
func TestClosed(t *testing.T) {
	for _, row := range []struct{ maxWait, want time.Duration }{{0, awayPatience}, {3 * time.Second, 3 * time.Second}, {NoWait, 0}} {
		t.Run(row.want.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				l := n.limiter(one, Options{MaxWait: row.maxWait})
				defer n.end(l)
				began := time.Now()
				_, err := l.Acquire(t.Context(), Request{Model: "m"})
				var u *Unavailable
				if !errors.As(err, &u) || time.Since(began) != row.want {
					t.Errorf("got %v after %v", err, time.Since(began))
				}
			})
		})
	}
}

// A caller whose service is restarted goes on when it is back, under the same key.
func TestBackWithinThePatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		l := n.limiter(one, Options{})
		defer n.end(l)
		f := &fake{}
		time.AfterFunc(5*time.Second, func() { n.serve(one, f) })
		began := time.Now()
		lease, err := l.Acquire(t.Context(), Request{Model: "m", RequestID: "r"})
		if err != nil {
			t.Fatal(err)
		}
		lease.Release(End{})
		if took := time.Since(began); took > 8*time.Second || f.asked()[0].GetAttempt() != 0 {
			t.Errorf("took %v", took)
		}
	})
}

// Open gives the service a second, the next call nothing, and is back as soon as it answers.
func TestOpen(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(map[bool]string{false: "refuses", true: "is silent"}[silent], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				f := &fake{}
				if silent {
					f.acquire = hang
					n.serve(one, f)
					f.health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
				}
				l := n.limiter(one, Options{WhenAway: Open})
				defer n.end(l)
				for _, want := range []time.Duration{openAfter, 0, 0} {
					began := time.Now()
					ran := false
					err := l.Do(t.Context(), Request{Model: "m"}, func(_ context.Context, lease *Lease) error {
						ran = true
						if lease.ID != "" || lease.Target.Model != "m" || lease.Target.Account != "" || !lease.InTime() {
							t.Errorf("lease %+v", lease)
						}
						lease.SetUsage(Usage{})
						lease.Observe(Observation{})
						return nil
					})
					if took := time.Since(began); err != nil || !ran || took != want {
						t.Errorf("%v after %v, want %v", err, took, want)
					}
				}
				if silent {
					f.change(func() { f.acquire = nil })
					f.health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING)
				} else {
					n.serve(one, f)
				}
				time.Sleep(5 * time.Second)
				lease := acquire(t, l, "r")
				if lease.ID == "" {
					t.Error("without a lease though the service is back")
				}
				lease.Release(End{})
			})
		})
	}
}

// Whoever waits in the queue of a service is not taken for one whose service is away.
func TestOpenWaitsInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ready := time.Now().Add(25 * time.Second)
		f := &fake{}
		f.acquire = func(_ context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			time.Sleep(min(in.GetBlock().AsDuration(), time.Until(ready)))
			if time.Now().Before(ready) {
				return waitAnswer(0), nil
			}
			return f.grant(in), nil
		}
		n.serve(one, f)
		l := n.limiter(one, Options{WhenAway: Open})
		defer n.end(l)
		lease := acquire(t, l, "r")
		if lease.ID == "" || time.Now().Before(ready) || len(f.asked()) > 5 {
			t.Errorf("lease %q after %d calls", lease.ID, len(f.asked()))
		}
		lease.Release(End{})
	})
}

// Local lets so many go in any minute, the others wait for theirs or are refused.
func TestLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		l := n.limiter(one, Options{WhenAway: Local{Requests: 3, Tokens: 1000}, MaxWait: 90 * time.Second})
		defer n.end(l)
		began := time.Now()
		var mu sync.Mutex
		var went []time.Duration
		refused := 0
		var wg sync.WaitGroup
		for range 7 {
			wg.Go(func() {
				lease, err := l.Acquire(t.Context(), Request{Model: "m", InputTokens: 100, MaxOutputTokens: Tokens(100)})
				mu.Lock()
				defer mu.Unlock()
				if r := (*Rejected)(nil); errors.As(err, &r) {
					if r.Reason != LocalLimit || *r.RetryAfter < 118*time.Second || *r.RetryAfter > 120*time.Second {
						t.Errorf("refused %v, %v", r.Reason, *r.RetryAfter)
					}
					refused++
					return
				}
				if err != nil || lease.ID != "" {
					t.Error(lease, err)
				}
				went = append(went, time.Since(began).Round(time.Second))
			})
		}
		wg.Wait()
		slices.Sort(went)
		if want := []time.Duration{1e9, 1e9, 1e9, 61e9, 61e9, 61e9}; refused != 1 || !slices.Equal(went, want) {
			t.Errorf("went at %v, %d refused", went, refused)
		}
		_, err := l.Acquire(t.Context(), Request{Model: "m", InputTokens: 1001})
		if r := (*Rejected)(nil); !errors.As(err, &r) || r.RetryAfter != nil {
			t.Errorf("what never fits: %v", err)
		}
	})
}

// Whoever waits for Local is let go by the service when it is back, and leaves the place to others.
func TestLocalEndsWhenTheServiceIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		l := n.limiter(one, Options{WhenAway: Local{Requests: 1}, MaxWait: time.Hour})
		defer n.end(l)
		acquire(t, l, "first")
		time.AfterFunc(10*time.Second, func() { n.serve(one, &fake{}) })
		began := time.Now()
		lease := acquire(t, l, "second")
		if took := time.Since(began); lease.ID == "" || took > 14*time.Second {
			t.Errorf("%q after %v", lease.ID, took)
		}
		lease.Release(End{})
		if got := len(l.local.log); got != 1 {
			t.Errorf("%d in the log", got)
		}
	})
}

// No minute sees more than it may, whatever comes when; the log says when each went.
func TestLocalWindow(t *testing.T) {
	l := &local{limits: Local{Requests: 5, Tokens: 100}}
	now := time.Unix(0, 0)
	var calls []localCall
	for i := range 200 {
		now = now.Add(time.Duration(i*7919%9000) * time.Millisecond)
		made, refused := l.reserve(now, now.Add(40*time.Second), &Request{InputTokens: int64(i * 31 % 60)})
		if refused == nil && i%11 == 0 {
			made.cancel()
		} else if refused == nil {
			calls = append(calls, *made.call)
		}
	}
	if len(calls) < 50 {
		t.Fatalf("only %d went", len(calls))
	}
	for i, last := range calls {
		tokens, n := int64(0), 0
		for _, c := range calls[:i+1] {
			if last.at.Sub(c.at) < time.Minute {
				tokens, n = tokens+c.tokens, n+1
			}
		}
		if tokens > 100 || n > 5 {
			t.Errorf("%d calls, %d tokens in the minute before %v", n, tokens, last.at)
		}
	}
}
