package watermaster

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

const one, two = "127.0.0.1:1", "127.0.0.2:1"

// What the caller, the context and the options say arrives, the nearest first.
func TestAcquireSaysWhatCallerContextAndOptionsSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := n.serve(one, &fake{})
		l := n.limiter(one, Options{
			Organization: "acme", Project: "search", PriorityClass: "batch", MaxWait: time.Minute, MinQuality: .5,
			Labels: map[string]string{"team": "a", "env": "test"}, Capabilities: []string{"tools"},
		})
		defer n.end(l)
		ctx := WithCall(t.Context(), Call{Project: "chat", AffinityKey: "conversation", MaxWait: time.Second})
		ctx = WithCall(ctx, Call{MaxWait: NoWait, Labels: map[string]string{"team": "b"}})
		lease, err := l.Acquire(ctx, Request{
			Model: "gpt-5", InputTokens: 1200, MaxOutputTokens: Tokens(0), CachedInputTokens: Tokens(7), Units: map[string]int64{"images": 2},
			PriorityClass: "interactive", MinQuality: AnyQuality, Accounts: []string{"a"}, ExcludeAccounts: []string{"b"}, Providers: []string{"openai"},
		})
		if err != nil {
			t.Fatal(err)
		}
		in := f.asked()[0]
		switch c := in.GetConstraints(); {
		case in.GetOrganization() != "acme" || in.GetProject() != "chat" || in.GetPriorityClass() != "interactive" || in.GetModel() != "gpt-5":
			t.Errorf("who asks for what: %v", in)
		case in.GetInputTokens() != 1200 || in.MaxOutputTokens == nil || *in.MaxOutputTokens != 0 || in.GetCachedInputTokens() != 7 || in.GetUnits()["images"] != 2:
			t.Errorf("amounts: %v", in)
		case in.GetMaxWait() == nil || in.GetMaxWait().AsDuration() != 0 || in.GetBlock().AsDuration() != 0 || in.GetLeaseTtl().AsDuration() != 30*time.Second:
			t.Errorf("durations: %v", in)
		case in.GetAffinityKey() != "conversation" || in.GetLabels()["team"] != "b" || in.GetLabels()["env"] != "test":
			t.Errorf("affinity, labels: %v", in)
		case c.MinQuality == nil || *c.MinQuality != 0 || c.GetAccounts()[0] != "a" || c.GetExcludeAccounts()[0] != "b" || c.GetProviders()[0] != "openai" || c.GetCapabilities()[0] != "tools":
			t.Errorf("constraints: %v", c)
		case !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(in.GetRequestId()) || lease.RequestID != in.GetRequestId() || lease.Target.Account != "openai-main" || lease.Target.Model != "gpt-5":
			t.Errorf("lease %+v of %v", lease, in)
		}
		lease.Release(End{})
	})
}

func TestRouteGoesBeforeModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := n.serve(one, &fake{})
		l := n.limiter(one, Options{Route: "smart"})
		defer n.end(l)
		lease, err := l.Acquire(t.Context(), Request{Model: "gpt-5"})
		if err != nil || f.asked()[0].GetRoute() != "smart" || f.asked()[0].GetConstraints() != nil || f.asked()[0].MaxOutputTokens != nil {
			t.Fatal(err, f.asked())
		}
		lease.Release(End{})
	})
}

// A wait is asked for again after its time, under the same key and the same patience.
func TestWaitKeepsThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		answers := []time.Duration{3 * time.Second, 0}
		f := &fake{}
		f.acquire = func(_ context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			if len(answers) == 0 {
				return f.grant(in), nil
			}
			after := answers[0]
			answers = answers[1:]
			return waitAnswer(after), nil
		}
		n.serve(one, f)
		l := n.limiter(one, Options{})
		defer n.end(l)
		began := time.Now()
		lease, err := l.Acquire(t.Context(), Request{Model: "m", RequestID: "r", MaxWait: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer lease.Release(End{})
		if took := time.Since(began); took != 3*time.Second+leastPause {
			t.Errorf("took %v", took)
		}
		if lease.Waited != time.Since(began) {
			t.Errorf("waited %v", lease.Waited)
		}
		for _, in := range f.asked() {
			if in.GetRequestId() != "r" || in.GetAttempt() != 0 || in.GetMaxWait().AsDuration() != time.Minute {
				t.Errorf("asked %v", in)
			}
		}
		if got := time.Since(lease.askedAt); got != 0 { // start_within counts from the ask that was granted
			t.Errorf("asked %v ago", got)
		}
	})
}

// Whoever gives up while it waits and comes back under the same id has the same key; whoever was
// granted has the next.
func TestKeyIsKeptUntilGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := n.serve(one, &fake{acquire: hang})
		l := n.limiter(one, Options{})
		defer n.end(l)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := l.Acquire(ctx, Request{Model: "m", RequestID: "r"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		f.change(func() { f.acquire = nil })
		var attempts []uint32
		for range 2 {
			lease, err := l.Acquire(t.Context(), Request{Model: "m", RequestID: "r"})
			if err != nil {
				t.Fatal(err)
			}
			lease.Release(End{})
		}
		for _, in := range f.asked() {
			attempts = append(attempts, in.GetAttempt())
		}
		if want := []uint32{0, 0, 1}; !slices.Equal(attempts, want) {
			t.Errorf("attempts %v, want %v", attempts, want)
		}
	})
}

// Two calls at once under one id must not share a grant.
func TestConcurrentCallsOfOneIDAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.serve(one, &fake{})
		l := n.limiter(one, Options{})
		defer n.end(l)
		ids := make(chan string, 20)
		for range cap(ids) {
			go func() {
				lease, err := l.Acquire(WithCall(t.Context(), Call{RequestID: "run"}), Request{Model: "m"})
				if err != nil {
					t.Error(err)
				}
				ids <- lease.ID
				lease.Release(End{})
			}()
		}
		seen := map[string]bool{}
		for range cap(ids) {
			id := <-ids
			if seen[id] {
				t.Errorf("%s twice", id)
			}
			seen[id] = true
		}
	})
}

func TestRefusalsAndErrors(t *testing.T) {
	later := 2 * time.Second
	rows := []struct {
		name   string
		answer *watermasterv1.AcquireResponse
		err    error
		check  func(error) bool
		text   string
	}{
		{"rejected", rejectAnswer(&watermasterv1.Rejected{
			Reason: watermasterv1.Reason_REASON_WAIT_TOO_LONG, RetryAfter: durationpb.New(later), Message: "patience ends",
			Binding: []*watermasterv1.Binding{{Scope: "pool/openai-main/gpt-5", Name: "tpm", Metric: "tokens", Window: durationpb.New(time.Minute), Quota: 200000, Utilization: .99}},
		}), nil, func(err error) bool {
			var r *Rejected
			return errors.As(err, &r) && r.Reason == WaitTooLong && *r.RetryAfter == later && r.Binding[0].Name == "tpm" && r.RequestID == "r"
		}, "watermaster: patience ends (pool/openai-main/gpt-5: tokens 200000 per 60s, 99 % used), ask again after 2s"},
		{"never", rejectAnswer(&watermasterv1.Rejected{Reason: watermasterv1.Reason_REASON_TOO_LARGE}), nil, func(err error) bool {
			var r *Rejected
			return errors.As(err, &r) && r.Reason == TooLarge && r.RetryAfter == nil
		}, "watermaster: TOO_LARGE"},
		{"unknown decision", &watermasterv1.AcquireResponse{}, nil, func(err error) bool {
			var r *Rejected
			return errors.As(err, &r) && r.RetryAfter == nil
		}, "watermaster: UNSPECIFIED"},
		{"bug", nil, status.Error(codes.NotFound, `no model "m"`), func(err error) bool {
			var c *CallError
			return errors.As(err, &c) && c.Code == codes.NotFound
		}, `watermaster: NotFound: no model "m"`},
		{"busy", nil, status.Error(codes.ResourceExhausted, "too many calls"), func(err error) bool {
			var c *CallError
			return errors.As(err, &c) && c.Code == codes.ResourceExhausted
		}, "watermaster: ResourceExhausted: too many calls"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				f := n.serve(one, &fake{acquire: func(context.Context, *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
					return row.answer, row.err
				}})
				l := n.limiter(one, Options{})
				defer n.end(l)
				_, err := l.Acquire(t.Context(), Request{Model: "m", RequestID: "r"})
				if !row.check(err) || err.Error() != row.text {
					t.Errorf("got %v", err)
				}
				if got := len(f.asked()); got != 1 {
					t.Errorf("asked %d times", got)
				}
			})
		})
	}
}

// A service that goes on to say `wait` after the patience has ended does not hold the caller.
func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := n.serve(one, &fake{acquire: func(context.Context, *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			return waitAnswer(20 * time.Second), nil
		}})
		l := n.limiter(one, Options{})
		defer n.end(l)
		began := time.Now()
		_, err := l.Acquire(t.Context(), Request{Model: "m", MaxWait: 5 * time.Second})
		var r *Rejected
		if !errors.As(err, &r) || r.Reason != WaitTooLong || *r.RetryAfter != 20*time.Second {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took < 5*time.Second || took > 5*time.Second+2*leastPause {
			t.Errorf("took %v", took)
		}
		if got := len(f.asked()); got > 3 {
			t.Errorf("asked %d times", got)
		}
	})
}

func TestCancelledWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		f := n.serve(one, &fake{acquire: func(context.Context, *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			return waitAnswer(time.Minute), nil
		}})
		l := n.limiter(one+","+two, Options{})
		defer n.end(l)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		if _, err := l.Acquire(ctx, Request{Model: "m"}); !errors.Is(err, context.Canceled) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		if got := len(f.asked()); got != 1 {
			t.Errorf("asked %d times", got)
		}
	})
}

func TestPressureIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		calls := uint32(3)
		levels := []*watermasterv1.Pressure{
			{Level: watermasterv1.PressureLevel_PRESSURE_LEVEL_NORMAL}, {Level: watermasterv1.PressureLevel_PRESSURE_LEVEL_NORMAL, Utilization: .5},
			{Level: watermasterv1.PressureLevel_PRESSURE_LEVEL_HIGH, Utilization: .95, Waiting: 4, MaxToolCalls: &calls, AgentProfile: new("thrifty")},
		}
		f := &fake{}
		f.acquire = func(_ context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			out := f.grant(in)
			out.Pressure, levels = levels[0], levels[1:]
			return out, nil
		}
		n.serve(one, f)
		var told []string
		l := n.limiter(one, Options{OnPressure: func(p Pressure) { told = append(told, p.Level.String()) }})
		defer n.end(l)
		for range 3 {
			lease, err := l.Acquire(t.Context(), Request{Model: "m"})
			if err != nil {
				t.Fatal(err)
			}
			if lease.Pressure.Level != l.Pressure().Level {
				t.Errorf("lease %v, limiter %v", lease.Pressure, l.Pressure())
			}
			lease.Release(End{})
		}
		if want := []string{"NORMAL", "HIGH"}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
		if p := l.Pressure(); p.Waiting != 4 || *p.MaxToolCalls != 3 || p.AgentProfile != "thrifty" || p.Utilization != .95 {
			t.Errorf("got %+v", p)
		}
	})
}

// A caller's deadline reaches the service as a cancellation, for it keeps the place of a call
// whose deadline has passed; what may have been granted just then is given back.
func TestDeadlineWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ended := make(chan error, 1)
		f := &fake{}
		f.acquire = func(ctx context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			if in.GetBlock().AsDuration() == 0 {
				return f.grant(in), nil
			}
			if deadline, _ := ctx.Deadline(); time.Until(deadline) < longestBlock {
				t.Errorf("the service is to give up in %v", time.Until(deadline))
			}
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		}
		n.serve(one, f)
		l := n.limiter(one, Options{})
		defer n.end(l)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Acquire(ctx, Request{Model: "m"}); err != context.DeadlineExceeded {
			t.Errorf("got %v", err)
		}
		if err := <-ended; err != context.Canceled {
			t.Errorf("the service was told %v", err)
		}
		synctest.Wait()
		if got := f.released(); len(got) != 1 || got[0].GetOutcome() != watermasterv1.Outcome_OUTCOME_UNSENT {
			t.Errorf("released %v", got)
		}
	})
}

// A service whose clock is ahead finds the caller's deadline passed first: the context has ended
// when the error is told.
func TestDeadlineThatTheServiceSeesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.serve(one, &fake{acquire: func(context.Context, *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			time.Sleep(time.Second - 10*time.Millisecond)
			return nil, status.Error(codes.DeadlineExceeded, "too late")
		}})
		l := n.limiter(one, Options{})
		defer n.end(l)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Acquire(ctx, Request{Model: "m", RequestID: "r"}); err != context.DeadlineExceeded || ctx.Err() == nil {
			t.Errorf("got %v, the context has %v", err, ctx.Err())
		}
	})
}
