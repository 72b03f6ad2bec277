package policy

import (
	"testing"

	"github.com/watermaster-project/watermaster/limiter"
)

// routed is a request for a route of four targets, with all that a request may say.
func routed() *Request {
	r := request()
	r.Route, r.Model, r.AffinityKey = "smart", "", "conversation-17"
	r.Units = map[string]int64{"images": 2}
	r.Constraints = Constraints{ExcludeAccounts: []string{"nobody"}, Capabilities: nil, MinQuality: Some(500)}
	return r
}

// In the steady state nothing is allocated, whatever the command was used for before.
func TestNoAllocations(t *testing.T) {
	p := compile(t, acme())
	big, small, model := routed(), routed(), request()
	small.Constraints.Accounts = []string{"claude"}
	var cmd limiter.Acquire
	ask := func() {
		for _, r := range []*Request{big, small, model} {
			if err := p.Acquire(r, &cmd); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask()
	if got := testing.AllocsPerRun(100, ask); got != 0 {
		t.Errorf("Acquire: got %v allocations, want none", got)
	}

	in := Settlement{Target: p.TargetID(1), Usage: tokens(1000, 400, 0, 200), Observation: Observation{
		HTTPStatus: 200, Headers: lines("x-ratelimit-remaining-tokens: 5")}}
	var release limiter.Release
	var report limiter.Report
	settle := func() {
		p.Release(&in, &release)
		p.Report(&in, &report)
	}
	settle()
	if got := testing.AllocsPerRun(100, settle); got != 0 {
		t.Errorf("Release and Report: got %v allocations, want none", got)
	}

	s := p.NewPressure()
	if got := testing.AllocsPerRun(100, func() { s.Update(1, Load{Own: 900}) }); got != 0 {
		t.Errorf("Update: got %v allocations, want none", got)
	}
}

// A command that is used again holds nothing of what it held before.
func TestCommandsAreReused(t *testing.T) {
	p := compile(t, acme())
	var cmd limiter.Acquire
	for _, r := range []*Request{routed(), request(), routed()} {
		if err := p.Acquire(r, &cmd); err != nil {
			t.Fatal(err)
		}
		fresh := acquire(t, p, r)
		if ranked(&cmd) != ranked(fresh) {
			t.Errorf("got %s, want %s", ranked(&cmd), ranked(fresh))
		}
		for i := range cmd.Targets {
			if got, want := spell(cmd.Targets[i].Charges), spell(fresh.Targets[i].Charges); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
}

func BenchmarkAcquire(b *testing.B) {
	p := compile(b, acme())
	for _, c := range []struct {
		name string
		r    *Request
	}{{"model=3targets", request()}, {"route=4targets", routed()}} {
		b.Run(c.name, func(b *testing.B) {
			var cmd limiter.Acquire
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Acquire(c.r, &cmd); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRelease(b *testing.B) {
	p := compile(b, acme())
	target := TargetOf("openai-main/gpt-5", "gpt-5")
	for _, c := range []struct {
		name string
		in   Settlement
	}{
		{"succeeded", Settlement{Target: target, Usage: tokens(1000, 400, 0, 200)}},
		{"provider_usage", Settlement{Target: target, ProviderUsage: map[string]any{"prompt_tokens": 1000.0, "completion_tokens": 200.0}}},
		{"throttled", Settlement{Target: target, Observation: refusals[0].observation()}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var cmd limiter.Release
			b.ReportAllocs()
			for b.Loop() {
				p.Release(&c.in, &cmd)
			}
		})
	}
}
