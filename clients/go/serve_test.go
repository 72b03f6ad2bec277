package watermaster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/watermaster-project/watermaster/clients/go/internal/process"
)

const quickstart = "../../examples/quickstart/config.yaml"

func open(t *testing.T, addresses string, o Options) *Limiter {
	t.Helper()
	l, err := New(addresses, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// held is what the limits of a metric hold in the pool.
func held(t *testing.T, l *Limiter, metric string) (sum int64) {
	t.Helper()
	h, err := l.Headroom(t.Context(), Scope{Account: "openai-main"})
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range h.GetLimits() {
		if limit.GetMetric() == metric && strings.HasPrefix(limit.GetScope(), "pool/") {
			sum += limit.GetHeld() + limit.GetReserved()
		}
	}
	return sum
}

// What a call declares is held, and a failure comes with advice.
func TestServedCall(t *testing.T) {
	l := open(t, serve(t, quickstart, "127.0.0.1:0").Address, Options{Organization: "acme", Project: "search"})
	err := l.Do(t.Context(), Request{Route: "smart", InputTokens: 1200, MaxOutputTokens: Tokens(500)}, func(_ context.Context, lease *Lease) error {
		if lease.Target.Account != "openai-main" || lease.Target.Provider != "openai" || lease.Target.Model != "gpt-5" || lease.StartWithin <= 0 {
			t.Errorf("lease %+v", lease)
		}
		if got := held(t, l, "tokens"); got <= 0 || got > 1700 { // it drains with time
			t.Errorf("%d tokens are held", got)
		}
		lease.SetUsage(Usage{InputTokens: Tokens(1000), OutputTokens: Tokens(7)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if advice := acquireServed(t, l).ReleaseForAdvice(t.Context(), End{Observation: &Observation{Status: 401, Body: "{}"}}); advice == nil || advice.Retry || advice.Class != "INVALID" {
		t.Errorf("advice %+v", advice)
	}
	if l.Pressure().Level != PressureNormal {
		t.Errorf("pressure %+v", l.Pressure())
	}
}

func acquireServed(t *testing.T, l *Limiter) *Lease {
	t.Helper()
	lease, err := l.Acquire(t.Context(), Request{Model: "gpt-5", InputTokens: 10, MaxOutputTokens: Tokens(10)})
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

func TestServedRefusals(t *testing.T) {
	l := open(t, serve(t, quickstart, "127.0.0.1:0").Address, Options{Organization: "acme", Project: "search"})
	refused := func(r Request) *Rejected {
		_, err := l.Acquire(t.Context(), r)
		var out *Rejected
		if !errors.As(err, &out) {
			t.Fatalf("got %v", err)
		}
		return out
	}
	if r := refused(Request{Model: "gpt-5", InputTokens: 300_000, MaxOutputTokens: Tokens(1)}); r.Reason != TooLarge || r.RetryAfter != nil || len(r.Binding) == 0 {
		t.Errorf("got %+v", r)
	}
	if r := refused(Request{Model: "gpt-5", Accounts: []string{"openai-main"}, ExcludeAccounts: []string{"openai-main"}}); r.Reason != NoTarget {
		t.Errorf("got %+v", r)
	}
	acquire := Request{Model: "gpt-5", InputTokens: 150_000, MaxOutputTokens: Tokens(1)}
	if _, err := l.Acquire(t.Context(), acquire); err != nil {
		t.Fatal(err)
	}
	acquire.MaxWait = NoWait
	if r := refused(acquire); r.Reason != WaitTooLong || r.RetryAfter == nil || r.Binding[0].Metric != "tokens" || r.Binding[0].Window != time.Minute || !strings.Contains(r.Error(), "tokens 200000 per 60s") {
		t.Errorf("got %+v", r)
	}
	for code, r := range map[codes.Code]Request{
		codes.NotFound:        {Model: "gpt-55", InputTokens: 1},
		codes.InvalidArgument: {InputTokens: 1},
	} {
		_, err := l.Acquire(t.Context(), r)
		if c := (*CallError)(nil); !errors.As(err, &c) || c.Code != code {
			t.Errorf("%v: got %v", code, err)
		}
	}
}

// Who waits in the queue goes when another's lease ends; a service that was killed is waited for.
func TestServedQueueAndRestart(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.yaml")
	written, err := os.ReadFile(quickstart)
	if err != nil {
		t.Fatal(err)
	}
	limited := strings.Replace(string(written), "requests: 300/min", "requests: 300/min, concurrency: 1", 1)
	if err := os.WriteFile(config, []byte(limited), 0o600); err != nil {
		t.Fatal(err)
	}
	server := serve(t, config, "127.0.0.1:0")
	l := open(t, server.Address, Options{Organization: "acme", Project: "search"})
	first := acquireServed(t, l)
	if first.hold.every == 0 || held(t, l, "concurrency") != 1 {
		t.Errorf("renewed every %v, %d held", first.hold.every, held(t, l, "concurrency"))
	}
	queued := make(chan *Lease)
	go func() { queued <- acquireServed(t, l) }()
	select {
	case <-queued:
		t.Fatal("two at once")
	case <-time.After(100 * time.Millisecond):
	}
	first.Release(End{Outcome: OutcomeSucceeded})
	second := <-queued
	server.Kill()
	go func() { queued <- acquireServed(t, l) }()
	second.Release(End{Outcome: OutcomeSucceeded}) // its lease is lost with the process
	serve(t, config, server.Address)
	third := <-queued
	if third.ID == "" || held(t, l, "concurrency") != 1 {
		t.Errorf("lease %+v", third)
	}
	third.Release(End{Outcome: OutcomeSucceeded})
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// serve runs the service until the test ends.
func serve(t *testing.T, config, address string) *process.Process {
	t.Helper()
	p, err := process.Serve(config, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}
