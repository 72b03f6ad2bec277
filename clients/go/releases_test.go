package watermaster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

// Releases wait for a service that is away, without hurry, and tell how old they are.
func TestReleasesAreKeptWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := n.serve(one, &fake{})
		l := n.limiter(one, Options{})
		defer n.end(l)
		var leases []*Lease
		for i := range 50 {
			leases = append(leases, acquire(t, l, fmt.Sprint(i)))
		}
		var tries atomic.Int64
		f.change(func() {
			f.release = func(context.Context, *watermasterv1.ReleaseRequest) (*watermasterv1.ReleaseResponse, error) {
				tries.Add(1)
				return nil, errAway
			}
		})
		for _, lease := range leases {
			lease.Release(End{Observation: &Observation{Status: 200}})
		}
		time.Sleep(time.Minute)
		if got := tries.Load(); got > sendersAtOnce+30 {
			t.Errorf("%d tries in a minute", got)
		}
		if s := l.Stats(); s.Releases != 50 || s.Open != 0 {
			t.Errorf("stats %+v", s)
		}
		f.change(func() { f.release, f.releases = nil, nil })
		time.Sleep(6 * time.Second)
		seen := map[string]int{}
		for _, in := range f.released() {
			seen[in.GetLeaseId()]++
			if age := in.GetObservation().GetAge().AsDuration(); age < time.Minute || age > 70*time.Second {
				t.Errorf("age %v", age)
			}
		}
		if len(seen) != 50 || len(f.released()) != 50 {
			t.Errorf("%d delivered by %d calls", len(seen), len(f.released()))
		}
	})
}

// Restarted at the same address the service gets what waited.
func TestReleasesAreDeliveredAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := n.serve(one, &fake{})
		l := n.limiter(one, Options{})
		defer n.end(l)
		lease := acquire(t, l, "r")
		f.stop()
		lease.Release(End{Outcome: OutcomeSucceeded})
		time.Sleep(30 * time.Second)
		again := n.serve(one, &fake{})
		time.Sleep(6 * time.Second)
		if got := again.released(); len(got) != 1 || got[0].GetLeaseId() != "r/0" {
			t.Errorf("released %v", got)
		}
	})
}

// What asking again does not cure is dropped; a service that protects itself is asked a few times.
func TestReleasesThatFail(t *testing.T) {
	for code, want := range map[codes.Code]int{codes.NotFound: 1, codes.Internal: 1, codes.ResourceExhausted: busyTries} {
		t.Run(code.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				f := n.serve(one, &fake{release: func(context.Context, *watermasterv1.ReleaseRequest) (*watermasterv1.ReleaseResponse, error) {
					return nil, status.Error(code, "no")
				}})
				l := n.limiter(one, Options{})
				defer n.end(l)
				acquire(t, l, "r").Release(End{})
				time.Sleep(time.Minute)
				if got := len(f.released()); got != want || l.Stats().Releases != 0 || (l.Stats().Dropped == 0) != (code == codes.NotFound) {
					t.Errorf("sent %d times, want %d; %+v", got, want, l.Stats())
				}
			})
		})
	}
}

func TestTheOldestReleaseIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		l := n.limiter(one, Options{})
		for i := range keptReleases + 100 {
			l.releases.push(&watermasterv1.ReleaseRequest{LeaseId: fmt.Sprint(i)}, time.Time{})
		}
		synctest.Wait()
		if s := l.Stats(); s.Releases != keptReleases || s.Dropped != 100 {
			t.Errorf("stats %+v", s)
		}
		began := time.Now()
		if err := l.Close(); err == nil || time.Since(began) != flushTimeout {
			t.Errorf("closed with %v after %v", err, time.Since(began))
		}
	})
}

// Close releases what is open, delivers what waits, ends those who wait, and leaves nothing
// running: synctest fails where a goroutine is left.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := &fake{every: time.Second}
		f.acquire = func(ctx context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			if in.GetRequestId() == "waits" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return f.grant(in), nil
		}
		f.release = func(context.Context, *watermasterv1.ReleaseRequest) (*watermasterv1.ReleaseResponse, error) {
			time.Sleep(time.Second)
			return &watermasterv1.ReleaseResponse{}, nil
		}
		n.serve(one, f)
		l := n.limiter(one+","+two, Options{})
		defer n.end(l)
		open := acquire(t, l, "open")
		acquire(t, l, "done").Release(End{Outcome: OutcomeSucceeded})
		waited := make(chan error)
		go func() {
			_, err := l.Acquire(t.Context(), Request{Model: "m", RequestID: "waits"})
			waited <- err
		}()
		synctest.Wait()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := <-waited; !errors.Is(err, ErrClosed) {
			t.Errorf("who waited got %v", err)
		}
		outcomes := map[string]watermasterv1.Outcome{}
		for _, in := range f.released() {
			outcomes[in.GetLeaseId()] = in.GetOutcome()
		}
		if len(f.released()) != 2 || outcomes["open/0"] != watermasterv1.Outcome_OUTCOME_UNKNOWN || outcomes["done/0"] != watermasterv1.Outcome_OUTCOME_SUCCEEDED {
			t.Errorf("released %v", outcomes)
		}
		open.Release(End{}) // too late for anything, and harmless
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := l.Acquire(t.Context(), Request{Model: "m"}); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if _, err := l.Headroom(t.Context(), Scope{}); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// A Limiter that was never asked has nothing to end.
func TestCloseUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := newNetwork(t).limiter(one, Options{}).Close(); err != nil {
			t.Error(err)
		}
	})
}
