package simulate

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/limiter/simulate/trace"
	"github.com/watermaster-project/watermaster/server/policy"
)

func newClerk(t testing.TB, text string) *PolicyClerk {
	t.Helper()
	cfg := parse(t, text)
	p, err := policy.Compile(cfg, "acme")
	if err != nil {
		t.Fatal(err)
	}
	standins, err := Standins(&cfg.Organizations[0], Auto, 0)
	if err != nil {
		t.Fatal(err)
	}
	return &PolicyClerk{Policy: p, Model: "m", Standins: standins}
}

func TestClerkAcquires(t *testing.T) {
	c := newClerk(t, "units: [images]\n"+onePool("provider: groq", "requests: 9/min, tokens: 9000/min, images: 10/min"))
	row := trace.Row{Index: 7, Client: "search", Class: "interactive", Input: 1000, Cached: 400, Output: 30, MaxOutput: 200, Images: 2}
	var cmd limiter.Acquire
	if err := c.Acquire(&row, &cmd); err != nil {
		t.Fatal(err)
	}
	if cmd.Project != "search" || cmd.Class != "interactive" || cmd.MaxWait != 10*time.Second || cmd.TTL != leaseTTL {
		t.Errorf("command %+v", cmd)
	}
	want := []limiter.Charge{ // cached input is free at Groq
		{Metric: limiter.Requests, Flags: limiter.ToPool, Amount: 1},
		{Metric: limiter.Tokens, Flags: limiter.ToPool, Amount: 800},
		{Metric: limiter.Unit("images"), Flags: limiter.ToPool, Amount: 2},
	}
	if len(cmd.Targets) != 1 || cmd.Targets[0].Pool != "main/p" || !reflect.DeepEqual(cmd.Targets[0].Charges, want) {
		t.Errorf("targets %+v, want one with %+v", cmd.Targets, want)
	}
}

func TestClerkSettles(t *testing.T) {
	c := newClerk(t, onePool("provider: openai, charge: {refund: true}", "requests: 9/min, tokens: 9000/min"))
	row := trace.Row{Client: "search", Class: "standard", Input: 1000, Output: 30, MaxOutput: 200}
	var cmd limiter.Release
	c.Release(&row, "main/p", "m", provider.Verdict{OK: true, Limit: -1}, &cmd)
	want := []limiter.Charge{{Metric: limiter.Tokens, Flags: limiter.ToPool, Amount: 1030}}
	if cmd.Outcome != limiter.Used || !reflect.DeepEqual(cmd.Actual, want) || len(cmd.Gates) != 0 {
		t.Errorf("release %+v, want %+v used", cmd, want)
	}
}

func TestClerkIsRefused(t *testing.T) {
	c := newClerk(t, onePool("provider: openai", "requests: 9/min, tokens: 9000/min"))
	row := trace.Row{Client: "search", Class: "standard", Input: 1000, MaxOutput: 200}
	for _, k := range []struct {
		name   string
		v      provider.Verdict
		metric limiter.Metric
		gate   time.Duration // 0: none
		again  bool
		least  time.Duration
	}{
		{"for a while", provider.Verdict{Kind: provider.RateLimited, Limit: 1, RetryAfter: 4500*time.Millisecond - 1}, limiter.Tokens, 4500 * time.Millisecond, true, 4500 * time.Millisecond},
		{"for requests", provider.Verdict{Kind: provider.RateLimited, Limit: 0, RetryAfter: 7 * time.Second}, limiter.Requests, 7 * time.Second, true, 7 * time.Second},
		{"for too many at a time", provider.Verdict{Kind: provider.Concurrent, Limit: 0}, 0, 0, true, time.Second},
		{"for ever", provider.Verdict{Kind: provider.TooLarge, Limit: 1, RetryAfter: provider.Never}, 0, 0, false, 0},
	} {
		var cmd limiter.Release
		c.Release(&row, "main/p", "m", k.v, &cmd)
		switch {
		case k.gate == 0 && len(cmd.Gates) != 0:
			t.Errorf("%s: gates %+v, want none", k.name, cmd.Gates)
		case k.gate > 0 && (len(cmd.Gates) != 1 || cmd.Gates[0].Metric != k.metric || cmd.Gates[0].All || cmd.Gates[0].For != k.gate):
			t.Errorf("%s: gates %+v, want one of %v for %v", k.name, cmd.Gates, k.metric, k.gate)
		}
		after, again := c.Retry(&row, 0, k.v)
		if again != k.again || after < k.least {
			t.Errorf("%s: again %v after %v, want %v after at least %v", k.name, again, after, k.again, k.least)
		}
		if _, again := c.Retry(&row, mostAttempts-1, k.v); again {
			t.Errorf("%s: tried again after %d attempts", k.name, mostAttempts)
		}
	}
}

func TestClerkKnowsTheContext(t *testing.T) {
	c := newClerk(t, "models: {m: {context: 500}}\n"+onePool("margin: 0%", "tokens: 9000/min"))
	err := c.Acquire(&trace.Row{Client: "search", Input: 600}, &limiter.Acquire{})
	if large := (*policy.TooLarge)(nil); !errors.As(err, &large) {
		t.Errorf("error %v, want that it is too large", err)
	}
}

// A provider that is stricter than it is thought to be: the calls it refuses are asked for again
// and counted once.
func TestFleetRetries(t *testing.T) {
	cfg := parse(t, onePool("margin: 0%", "requests: 60/min"))
	p, err := policy.Compile(cfg, "acme")
	if err != nil {
		t.Fatal(err)
	}
	e := limiter.New()
	e.Apply(p.Configure(), start, nil)
	strict, err := provider.New(provider.Config{Limits: []provider.Limit{
		{Metric: provider.Requests, Quota: 2, Window: 10 * time.Second, Shape: provider.Sliding},
	}})
	if err != nil {
		t.Fatal(err)
	}
	f := &Fleet{
		Engine: e, Clerk: &PolicyClerk{Policy: p, Model: "m", Standins: []Standin{{Pool: "main/p", Metrics: []provider.Metric{provider.Requests}}}},
		Providers: map[string]*provider.Provider{"main/p": strict},
		Life:      func(*trace.Row) time.Duration { return time.Second },
	}
	r, err := f.Run(func(yield func(trace.Row) bool) {
		for i := range 3 {
			if !yield(trace.Row{Index: i, At: time.Duration(i), Client: "search", Class: "interactive"}) {
				return
			}
		}
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := r.Classes[0]
	if c.Offered != 3 || c.Served != 3 || c.Throttled != 1 || c.Failed != 0 || c.Refused != 0 {
		t.Errorf("tally %+v, want 3 offered and served, one 429", *c)
	}
	if got := c.Wait(1); got < 9*time.Second || got > 15*time.Second {
		t.Errorf("the longest wait is %v, want that of the second attempt", got)
	}
}
