package watermaster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

func acquire(t *testing.T, l *Limiter, id string) *Lease {
	t.Helper()
	lease, err := l.Acquire(t.Context(), Request{Model: "gpt-5", RequestID: id, InputTokens: 100})
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

// What Do's function says and how it ends decides the release, of which there is one.
func TestDoReleasesOnce(t *testing.T) {
	failed := errors.New("reset")
	usage := Usage{InputTokens: Tokens(90), OutputTokens: Tokens(0)}
	rows := []struct {
		name    string
		fn      func(*Lease) error
		outcome watermasterv1.Outcome
		usage   bool
		status  uint32
	}{
		{"good", func(l *Lease) error { l.SetUsage(usage); return nil }, watermasterv1.Outcome_OUTCOME_SUCCEEDED, true, 0},
		{"good without usage", func(*Lease) error { return nil }, watermasterv1.Outcome_OUTCOME_SUCCEEDED, false, 0},
		{"failed", func(*Lease) error { return failed }, watermasterv1.Outcome_OUTCOME_UNKNOWN, false, 0},
		{"failed half-way", func(l *Lease) error { l.SetUsage(usage); return failed }, watermasterv1.Outcome_OUTCOME_UNKNOWN, true, 0},
		{"refused", func(l *Lease) error { l.Observe(Observation{Status: 429}); return failed }, watermasterv1.Outcome_OUTCOME_UNSPECIFIED, false, 429},
		{"released itself", func(l *Lease) error { l.Release(End{Outcome: OutcomeUnsent}); return failed }, watermasterv1.Outcome_OUTCOME_UNSENT, false, 0},
		{"panic", func(*Lease) error { panic("bug") }, watermasterv1.Outcome_OUTCOME_UNKNOWN, false, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				f := n.serve(one, &fake{})
				l := n.limiter(one, Options{})
				defer n.end(l)
				func() {
					defer func() { _ = recover() }()
					want := row.fn
					err := l.Do(t.Context(), Request{Model: "m"}, func(_ context.Context, lease *Lease) error {
						time.Sleep(time.Second)
						return want(lease)
					})
					if err != nil && !errors.Is(err, failed) {
						t.Error(err)
					}
				}()
				synctest.Wait()
				released := f.released()
				if len(released) != 1 {
					t.Fatalf("released %v", released)
				}
				in := released[0]
				if in.GetOutcome() != row.outcome || (in.GetUsage() != nil) != row.usage || in.GetObservation().GetHttpStatus() != row.status {
					t.Errorf("released %v", in)
				}
				if row.usage && (in.GetUsage().GetInputTokens() != 90 || in.GetUsage().OutputTokens == nil || in.GetUsage().CachedInputTokens != nil) {
					t.Errorf("usage %v", in.GetUsage())
				}
			})
		})
	}
}

// A grant that took too long on its way is given back, and asked for under the next attempt.
func TestTooLateIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		slow := 2 * time.Second
		f := &fake{within: time.Second}
		f.acquire = func(_ context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			time.Sleep(slow)
			slow = 400 * time.Millisecond
			return f.grant(in), nil
		}
		n.serve(one, f)
		l := n.limiter(one, Options{})
		defer n.end(l)
		sent := 0
		err := l.Do(t.Context(), Request{Model: "m"}, func(_ context.Context, lease *Lease) error {
			sent++
			if lease.Attempt != 1 {
				t.Errorf("attempt %d", lease.Attempt)
			}
			time.Sleep(time.Minute)
			if lease.InTime() || !errors.Is(lease.Start(), ErrTooLate) {
				t.Error("a minute later is in time")
			}
			return nil
		})
		synctest.Wait()
		released := f.released()
		if err != nil || sent != 1 || len(released) != 2 {
			t.Fatal(err, sent, released)
		}
		if in := released[0]; in.GetOutcome() != watermasterv1.Outcome_OUTCOME_UNSENT || in.GetStartedAfter() != nil {
			t.Errorf("too late: %v", in)
		}
		if in := released[1]; in.GetStartedAfter().AsDuration() != 400*time.Millisecond {
			t.Errorf("in time: %v", in)
		}
		if a, b := f.asked()[0], f.asked()[1]; a.GetRequestId() != b.GetRequestId() || b.GetAttempt() != 1 {
			t.Errorf("asked %v, %v", a, b)
		}
	})
}

// A grant that comes as the caller goes is given back.
func TestGrantedToWhoHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ctx, cancel := context.WithCancel(t.Context())
		f := n.serve(one, &fake{})
		l := n.limiter(one, Options{OnPressure: func(Pressure) { cancel() }})
		defer n.end(l)
		if _, err := l.Acquire(ctx, Request{Model: "m"}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		if got := f.released(); len(got) != 1 || got[0].GetOutcome() != watermasterv1.Outcome_OUTCOME_UNSENT {
			t.Errorf("released %v", got)
		}
	})
}

// What was handed over may be used again at once.
func TestNotedValuesAreCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := n.serve(one, &fake{})
		l := n.limiter(one, Options{})
		defer n.end(l)
		for _, noted := range []bool{true, false} {
			lease := acquire(t, l, fmt.Sprint(noted))
			tokens, headers := int64(5), map[string]string{"retry-after": "1"}
			end := End{Usage: &Usage{OutputTokens: &tokens}, Observation: &Observation{Status: 200, Headers: headers}}
			if noted {
				lease.SetUsage(*end.Usage)
				lease.Observe(*end.Observation)
				end = End{}
				tokens, headers["retry-after"] = 6, "2"
			}
			lease.Release(end)
			tokens, headers["retry-after"] = 7, "3"
		}
		synctest.Wait()
		for _, in := range f.released() {
			if in.GetUsage().GetOutputTokens() != 5 || in.GetObservation().GetHeaders()["retry-after"] != "1" {
				t.Errorf("released %v", in)
			}
		}
	})
}

// A grant that was on its way when the caller went is asked for once more, to be given back; one
// whose caller may come back under its id is left.
func TestAMissedGrantIsTakenBack(t *testing.T) {
	for _, row := range []struct {
		id              string
		asked, released int
	}{{"", 2, 1}, {"chosen", 1, 0}} {
		t.Run(row.id, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				ctx, cancel := context.WithCancel(t.Context())
				f := &fake{}
				f.acquire = func(call context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
					if ctx.Err() == nil {
						cancel()
						<-call.Done()
					}
					return f.grant(in), nil
				}
				n.serve(one, f)
				l := n.limiter(one, Options{})
				defer n.end(l)
				if _, err := l.Acquire(ctx, Request{Model: "m", RequestID: row.id}); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
				synctest.Wait()
				asked, released := f.asked(), f.released()
				if len(asked) != row.asked || len(released) != row.released || row.released > 0 &&
					(asked[1].GetRequestId() != asked[0].GetRequestId() || asked[1].GetAttempt() != 0 || asked[1].GetBlock().AsDuration() != 0 ||
						released[0].GetOutcome() != watermasterv1.Outcome_OUTCOME_UNSENT || released[0].GetLeaseId() != asked[0].GetRequestId()+"/0") {
					t.Errorf("asked %v, released %v", asked, released)
				}
			})
		})
	}
}

func TestReleaseForAdvice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := &fake{release: func(context.Context, *watermasterv1.ReleaseRequest) (*watermasterv1.ReleaseResponse, error) {
			return &watermasterv1.ReleaseResponse{Advice: &watermasterv1.Advice{
				Retry: true, RetryAfter: durationpb.New(3 * time.Second), OtherTarget: true, FailureClass: watermasterv1.FailureClass_FAILURE_CLASS_OVERLOADED,
			}}, nil
		}}
		n.serve(one, f)
		l := n.limiter(one, Options{})
		defer n.end(l)
		lease := acquire(t, l, "r")
		advice := lease.ReleaseForAdvice(t.Context(), End{Observation: &Observation{Status: 529, Headers: map[string]string{"retry-after": "3"}, Body: "{}"}})
		if advice == nil || *advice != (Advice{Retry: true, RetryAfter: 3 * time.Second, OtherTarget: true, Class: "OVERLOADED"}) {
			t.Errorf("got %+v", advice)
		}
		if lease.ReleaseForAdvice(t.Context(), End{}) != nil {
			t.Error("a second release has advice")
		}
		lease.Release(End{})
		synctest.Wait()
		released := f.released()
		if o := released[0].GetObservation(); len(released) != 1 || o.GetHttpStatus() != 529 || o.GetHeaders()["retry-after"] != "3" || o.GetBody() != "{}" || o.GetNumber() != 0 || o.GetAge() != nil {
			t.Errorf("released %v", released)
		}
	})
}

// Advice that does not come in two seconds is not waited for; the release is delivered all the same.
func TestAdviceThatDoesNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		var tries atomic.Int64
		f := n.serve(one, &fake{release: func(ctx context.Context, _ *watermasterv1.ReleaseRequest) (*watermasterv1.ReleaseResponse, error) {
			if tries.Add(1) == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return &watermasterv1.ReleaseResponse{}, nil
		}})
		l := n.limiter(one, Options{})
		defer n.end(l)
		lease := acquire(t, l, "r")
		began := time.Now()
		if advice := lease.ReleaseForAdvice(t.Context(), End{Observation: &Observation{Status: 500}}); advice != nil || time.Since(began) > adviceTimeout {
			t.Errorf("%v after %v", advice, time.Since(began))
		}
		time.Sleep(time.Second)
		if got := f.released(); len(got) != 2 || got[1].GetObservation().GetAge().AsDuration() < time.Second {
			t.Errorf("released %v", got)
		}
	})
}

func TestReportsAreNumbered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := n.serve(one, &fake{})
		l := n.limiter(one, Options{Organization: "acme"})
		defer n.end(l)
		lease := acquire(t, l, "r")
		for i := range int64(2) {
			advice, err := lease.Report(t.Context(), &Usage{OutputTokens: &i}, &Observation{Status: 200})
			if err != nil || !advice.Retry || advice.RetryAfter != time.Second || advice.Class != "THROTTLED" {
				t.Error(advice, err)
			}
		}
		lease.Release(End{Observation: &Observation{Status: 200}})
		if _, err := l.Report(t.Context(), "openai-main", "gpt-5", Observation{Status: 429}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if a, b, c := f.reports[0].GetObservation(), f.reports[1].GetObservation(), f.released()[0].GetObservation(); a.GetNumber() != 1 || b.GetNumber() != 2 || c.GetNumber() != 3 {
			t.Error(a, b, c)
		}
		if in := f.reports[2]; in.GetLeaseId() != "" || in.GetOrganization() != "acme" || in.GetAccount() != "openai-main" || in.GetModel() != "gpt-5" || in.GetObservation().GetNumber() != 0 {
			t.Errorf("reported %v", in)
		}
		if l.Pressure().Level != PressureHigh {
			t.Errorf("pressure %v", l.Pressure())
		}
	})
}

// A lease that nobody holds is released; the service cannot know what its call has done. Not in a
// bubble: the collector runs outside of it.
func TestGarbageIsReleased(t *testing.T) {
	n := newNetwork(t)
	released := make(chan *watermasterv1.ReleaseRequest, 3)
	n.serve(one, &fake{every: time.Hour, release: func(_ context.Context, in *watermasterv1.ReleaseRequest) (*watermasterv1.ReleaseResponse, error) {
		released <- in
		return &watermasterv1.ReleaseResponse{}, nil
	}})
	l := n.limiter(one, Options{})
	defer n.end(l)
	kept := acquire(t, l, "kept")
	func() { acquire(t, l, "dropped").SetUsage(Usage{OutputTokens: Tokens(5)}) }()
	stop := time.After(10 * time.Second)
	for done := false; !done; {
		runtime.GC()
		select {
		case in := <-released:
			if in.GetLeaseId() != "dropped/0" || in.GetOutcome() != watermasterv1.Outcome_OUTCOME_UNKNOWN || in.GetUsage().GetOutputTokens() != 5 {
				t.Errorf("released %v", in)
			}
			done = true
		case <-stop:
			t.Fatal("not released")
		case <-time.After(time.Millisecond):
		}
	}
	kept.Release(End{Outcome: OutcomeSucceeded})
	if in := <-released; in.GetLeaseId() != "kept/0" || in.GetOutcome() != watermasterv1.Outcome_OUTCOME_SUCCEEDED {
		t.Errorf("released %v", in)
	}
}

// Leases that are due about together take one Renew for each 256.
func TestRenewalsAreBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := n.serve(one, &fake{every: 10 * time.Second})
		l := n.limiter(one, Options{})
		defer n.end(l)
		var leases []*Lease
		for i := range 300 {
			leases = append(leases, acquire(t, l, fmt.Sprint(i)))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(9 * time.Second)
		if got := f.renewed(); len(got) != 0 {
			t.Fatalf("%d renewals before they are due", len(got))
		}
		time.Sleep(time.Second)
		got := f.renewed()
		ids := map[string]int{}
		for _, in := range got {
			for _, id := range in.GetLeaseIds() {
				ids[id]++
			}
		}
		if len(got) != 2 || len(ids) != 300 || ids["7/0"] != 1 {
			t.Errorf("%d calls for %d leases", len(got), len(ids))
		}
		for _, lease := range leases[1:] {
			lease.Release(End{Outcome: OutcomeSucceeded})
		}
		time.Sleep(25 * time.Second)
		if got := f.renewed()[2:]; len(got) != 2 || !slices.Equal(got[1].GetLeaseIds(), []string{"0/0"}) {
			t.Errorf("renewed %v", got)
		}
		if s := l.Stats(); s.Open != 1 || s.Releases != 0 {
			t.Errorf("stats %+v", s)
		}
		leases[0].Release(End{})
	})
}

// A Renew that fails is tried again each second, and a lease that is gone no more; both are
// released in the end.
func TestRenewalsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		answers := []error{errAway, status.Error(codes.Internal, "x"), nil}
		f := n.serve(one, &fake{every: 10 * time.Second, renew: func(in *watermasterv1.RenewRequest) (*watermasterv1.RenewResponse, error) {
			err := answers[0]
			answers = answers[1:]
			return &watermasterv1.RenewResponse{Renewals: []*watermasterv1.Renewal{{LeaseId: in.GetLeaseIds()[0], Gone: true}}}, err
		}})
		l := n.limiter(one, Options{})
		defer n.end(l)
		lease := acquire(t, l, "r")
		time.Sleep(13 * time.Second)
		if got := len(f.renewed()); got != 3 {
			t.Errorf("renewed %d times", got)
		}
		time.Sleep(time.Minute)
		if got := len(f.renewed()); got != 3 {
			t.Errorf("renewed %d times though it is gone", got)
		}
		lease.Release(End{})
		synctest.Wait()
		if got := f.released(); len(got) != 1 {
			t.Errorf("released %v", got)
		}
	})
}
