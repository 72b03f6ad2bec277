package watermaster

import (
	"context"
	"crypto/tls"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

const three = "127.0.0.3:1"

// Calls go to the address with the least in flight, and in turn among equals.
func TestTheLeastLoadedIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		slow := func(ctx context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			time.Sleep(longestBlock)
			return (&fake{}).grant(in), nil
		}
		a, b, c := n.serve(one, &fake{acquire: slow}), n.serve(two, &fake{}), n.serve(three, &fake{})
		l := n.limiter(strings.Join([]string{one, two, three}, " , "), Options{})
		defer n.end(l)
		var wg sync.WaitGroup
		ask := func() {
			if lease, err := l.Acquire(t.Context(), Request{Model: "m"}); err != nil {
				t.Error(err)
			} else {
				defer lease.Release(End{})
			}
		}
		wg.Go(ask) // it stays at the first
		synctest.Wait()
		for range 20 {
			ask()
			synctest.Wait() // for the release
		}
		if x, y, z := a.calls(), b.calls(), c.calls(); x != 1 || y != 20 || z != 20 {
			t.Errorf("asked %d, %d, %d times", x, y, z)
		}
		wg.Wait()
	})
}

// One that is down is gone round at once, and used again when it says that it serves.
func TestAnAddressThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		a, b := n.serve(one, &fake{}), n.serve(two, &fake{})
		l := n.limiter(one+","+two, Options{})
		defer n.end(l)
		ask := func(times int) {
			t.Helper()
			for range times {
				began := time.Now()
				acquire(t, l, "r").Release(End{})
				synctest.Wait()
				if took := time.Since(began); took > 0 {
					t.Errorf("took %v", took)
				}
			}
		}
		ask(4)
		a.stop()
		before := len(b.asked())
		ask(10)
		if got := len(b.asked()) - before; got != 10 {
			t.Errorf("the other was asked %d times", got)
		}
		a = &fake{}
		n.serve(one, a)
		a.health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
		time.Sleep(20 * time.Second)
		ask(10)
		if got := a.calls(); got != 0 {
			t.Errorf("asked %d times though it does not serve", got)
		}
		a.health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING)
		time.Sleep(6 * time.Second)
		checks := a.checked()
		ask(10)
		if got := a.calls(); got != 10 {
			t.Errorf("%d calls of 20", got)
		}
		time.Sleep(time.Minute)
		if a.checked() != checks {
			t.Error("health is asked after though it serves")
		}
	})
}

// One that answers that it cannot decide, or not at all, is gone round, too.
func TestAnAddressThatDoesNotAnswer(t *testing.T) {
	away := func(context.Context, *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
		return nil, errAway
	}
	for name, row := range map[string]struct {
		answer func(context.Context, *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error)
		most   time.Duration
	}{"unavailable": {away, 0}, "silent": {hang, longestBlock + answerWithin}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				a, b := n.serve(one, &fake{acquire: row.answer}), n.serve(two, &fake{})
				a.health.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
				l := n.limiter(one+","+two, Options{})
				defer n.end(l)
				began := time.Now()
				for range 10 {
					acquire(t, l, "r").Release(End{})
				}
				if took := time.Since(began); took != row.most || len(a.asked()) != 1 || len(b.asked()) != 10 {
					t.Errorf("took %v, asked %d and %d times", took, len(a.asked()), len(b.asked()))
				}
			})
		})
	}
}

// The caller's own deadline says nothing of the address.
func TestTheCallersDeadlineIsNotTheAddresss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := n.serve(one, &fake{acquire: hang})
		l := n.limiter(one, Options{})
		defer n.end(l)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Acquire(ctx, Request{Model: "m", RequestID: "r"}); err != context.DeadlineExceeded {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Minute)
		if f.checked() != 0 || l.service.addresses[0].down || l.service.addresses[0].calls != 0 {
			t.Error("the address is taken for down")
		}
	})
}

// The token goes to the service, and what the caller's context has for others does not.
func TestTheTokenIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		var got metadata.MD
		f := &fake{}
		f.acquire = func(ctx context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			got, _ = metadata.FromIncomingContext(ctx)
			return f.grant(in), nil
		}
		n.serve(one, f)
		l := n.limiter(one, Options{Token: "secret"})
		defer n.end(l)
		lease, err := l.Acquire(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer other", "x-other", "1"), Request{Model: "m"})
		if err != nil {
			t.Fatal(err)
		}
		lease.Release(End{})
		if len(got.Get("x-other")) > 0 {
			t.Errorf("got %v", got)
		}
		if a := got.Get("authorization"); len(a) != 1 || a[0] != "Bearer secret" || !strings.HasPrefix(got.Get("user-agent")[0], "watermaster-go/"+version) {
			t.Errorf("got %v", got)
		}
	})
}

func TestOptionsThatCannotBeMeant(t *testing.T) {
	for _, row := range []struct {
		addresses string
		options   Options
		text      string // of the error; empty: there is none
	}{
		{"", Options{Token: "t"}, ""},
		{"127.0.0.1:1,[::1]:2", Options{Token: "t"}, ""},
		{"limits.internal:8081", Options{}, ""},
		{"limits.internal:8081", Options{Token: "t", TLS: &tls.Config{}}, ""},
		{"limits.internal:8081", Options{Token: "t", Insecure: true}, ""},
		{"localhost:8081,limits.internal:8081", Options{Token: "t"}, "plaintext"},
		{"localhost", Options{}, "host:port"},
		{"localhost:", Options{}, "host:port"},
		{" , ", Options{}, "no address"},
		{"", Options{LeaseTTL: time.Millisecond}, "LeaseTTL"},
		{"", Options{MaxWait: 25 * time.Hour}, "MaxWait"},
		{"", Options{MinQuality: 1.5}, "MinQuality"},
		{"", Options{WhenAway: Local{Requests: -1}}, "Local"},
	} {
		l, err := New(row.addresses, row.options)
		if (err == nil) != (row.text == "") || err != nil && !strings.Contains(err.Error(), row.text) {
			t.Errorf("%q, %+v: %v", row.addresses, row.options, err)
		}
		if err == nil {
			l.Close()
		}
	}
}
