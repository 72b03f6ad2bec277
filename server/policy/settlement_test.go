package policy

import (
	"testing"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
)

// What each provider has counted when a call of 1000 tokens, 400 of them read from a cache and
// 100 written to it, has produced 200.
func TestPresetsOnRelease(t *testing.T) {
	for _, c := range []struct{ provider, model, want string }{
		{"openai", "gpt-5", "input_tokens=1000:pool output_tokens=200:pool tokens=1200:pool"},
		{"azure", "gpt-5", "input_tokens=1000:pool output_tokens=200:pool tokens=1200:pool"},
		{"anthropic", "claude-sonnet-5", "input_tokens=600:pool output_tokens=200:pool tokens=800:pool"},
		{"anthropic", "claude-haiku-3.5", "input_tokens=1000:pool output_tokens=200:pool tokens=1200:pool"},
		{"gemini", "gemini-3", "input_tokens=1000:pool output_tokens=200:pool tokens=1000:pool"},
		{"bedrock", "claude-sonnet-5", "input_tokens=800:pool output_tokens=200:pool tokens=2600:pool"}, // ten times the output: a debt
		{"bedrock", "llama", "input_tokens=800:pool output_tokens=200:pool tokens=800:pool"},
		{"groq", "llama", "input_tokens=600:pool output_tokens=200:pool tokens=800:pool"},
		{"generic", "x", "input_tokens=1000:pool output_tokens=200:pool tokens=1200:pool"},
	} {
		p := single(t, c.provider, c.model, tokenMetrics, nil, config.ChargeOverrides{})
		in := &Settlement{Lease: limiter.LeaseID{Count: 1}, Target: p.TargetID(0), Usage: tokens(1000, 400, 100, 200)}
		var release limiter.Release
		if got := p.Release(in, &release); got != (Advice{Outcome: Succeeded}) || release.Outcome != limiter.Used || release.Lease != in.Lease {
			t.Errorf("%s: got %+v, %+v", c.provider, got, release)
		}
		if got := spell(release.Actual); got != c.want {
			t.Errorf("%s, %s:\n got %s\nwant %s", c.provider, c.model, got, c.want)
		}
		var report limiter.Report
		if got := p.Report(in, &report); got != (Advice{}) || spell(report.Actual) != c.want || report.Lease != in.Lease {
			t.Errorf("%s: reported %+v with %+v", c.provider, report, got)
		}
	}
}

// What is told of a call's end, and what becomes of an estimate of 1000 + 500 tokens.
func TestSettlement(t *testing.T) {
	all := []limiter.Metric{limiter.Requests, limiter.InputTokens, limiter.OutputTokens, limiter.Tokens, limiter.Cost, limiter.Concurrency}
	const (
		used = "input_tokens=10:both output_tokens=20:both tokens=30:both"
		back = "input_tokens=0:owner output_tokens=0:owner tokens=0:owner"
	)
	no := false
	plain, counts, uncounted := config.ChargeOverrides{}, "openai", config.ChargeOverrides{FailedCount: &no}
	metrics := all[:4]
	for _, c := range []struct {
		name     string
		provider string
		charge   config.ChargeOverrides
		in       Settlement
		outcome  limiter.Outcome
		want     string
	}{
		{"succeeded", counts, plain, Settlement{Outcome: Succeeded, Usage: tokens(10, 0, 0, 20)}, limiter.Used, used},
		{"succeeded, in the provider's words", counts, plain,
			Settlement{Outcome: Succeeded, ProviderUsage: map[string]any{"prompt_tokens": 10.0, "completion_tokens": 20.0}}, limiter.Used, used},
		{"our words come first", counts, plain,
			Settlement{Usage: tokens(10, 0, 0, 20), ProviderUsage: map[string]any{"prompt_tokens": 99.0}}, limiter.Used, used},
		{"succeeded, nothing told", counts, plain, Settlement{Outcome: Succeeded}, limiter.Used, ""},
		{"succeeded, not understood", counts, plain, Settlement{Outcome: Succeeded, ProviderUsage: map[string]any{"x": 1.0}}, limiter.Used, ""},
		{"succeeded, output told", counts, plain, Settlement{Usage: Usage{Output: 20, HasOutput: true}}, limiter.Used, "output_tokens=20:both"},
		{"input told", "gemini", plain, Settlement{Usage: Usage{Input: 10, HasInput: true}}, limiter.Used, "input_tokens=10:both tokens=10:pool"},
		{"input told where it includes the cap", "bedrock", plain, Settlement{Usage: Usage{Input: 10, HasInput: true}}, limiter.Used, "input_tokens=10:owner"},
		{"unknown", counts, plain, Settlement{Outcome: Unknown, Usage: tokens(10, 0, 0, 20)}, limiter.Unknown, used},
		{"nothing at all", counts, plain, Settlement{}, limiter.Unknown, ""},
		{"unsent", counts, plain, Settlement{Outcome: Unsent, Usage: tokens(10, 0, 0, 20)}, limiter.Unsent, ""},
		{"unsent, but answered", counts, plain,
			Settlement{Outcome: Unsent, Usage: tokens(10, 0, 0, 20), Observation: Observation{HTTPStatus: 200}}, limiter.Used, used},

		{"refused, and counted", counts, plain, Settlement{Observation: Observation{HTTPStatus: 429}}, limiter.Used, back},
		{"refused, and not counted", counts, uncounted, Settlement{Observation: Observation{HTTPStatus: 429}}, limiter.Used,
			"input_tokens=0:both output_tokens=0:both tokens=0:both"},
		{"refused, as it is told alone", counts, uncounted, Settlement{Outcome: Throttled}, limiter.Used,
			"input_tokens=0:both output_tokens=0:both tokens=0:both"},
		{"failed, and counted", counts, plain, Settlement{Observation: Observation{HTTPStatus: 500}}, limiter.Used, back},
		{"failed, and not counted", counts, uncounted, Settlement{Observation: Observation{HTTPStatus: 400}}, limiter.Used,
			"input_tokens=0:both output_tokens=0:both tokens=0:both"},
		{"failed; what counts on completion was not produced", "anthropic", plain, Settlement{Observation: Observation{HTTPStatus: 500}}, limiter.Used,
			"input_tokens=0:owner output_tokens=0:both tokens=0:both"},
		{"failed with usage", counts, plain, Settlement{Observation: Observation{HTTPStatus: 500}, Usage: tokens(10, 0, 0, 20)}, limiter.Used,
			"input_tokens=10:owner output_tokens=20:owner tokens=30:owner"},
		{"failed in a stream", counts, plain, Settlement{Outcome: Failed, Observation: Observation{HTTPStatus: 200}, Usage: tokens(10, 0, 0, 20)},
			limiter.Used, used},
		{"failed in a stream, nothing told", counts, uncounted, Settlement{Outcome: Failed}, limiter.Used, ""},
		{"refused in a stream", counts, uncounted, Settlement{Observation: Observation{HTTPStatus: 200,
			Body: []byte(`{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"x"}}}`)}}, limiter.Used, ""},
		{"succeeded with the status of an error", counts, uncounted, Settlement{Outcome: Succeeded, Observation: Observation{HTTPStatus: 500}}, limiter.Used, ""},
	} {
		p := single(t, c.provider, "x", metrics, metrics, c.charge)
		c.in.Target = p.TargetID(0)
		var cmd limiter.Release
		p.Release(&c.in, &cmd)
		if got := spell(cmd.Actual); got != c.want || cmd.Outcome != c.outcome {
			t.Errorf("%s:\n got %s, %d\nwant %s, %d", c.name, got, cmd.Outcome, c.want, c.outcome)
		}
	}

	// Costs count by price in both scopes; units where they are told.
	images := limiter.Unit("images")
	p := single(t, "openai", "gpt-5", []limiter.Metric{limiter.Cost, images}, []limiter.Metric{limiter.Cost, images}, plain)
	u := tokens(1000, 400, 0, 100)
	u.Units = map[string]int64{"images": 4}
	var cmd limiter.Release
	p.Release(&Settlement{Target: p.TargetID(0), Usage: u}, &cmd)
	if got, want := spell(cmd.Actual), "cost=1800:both unit=4:both"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	p.Release(&Settlement{Target: p.TargetID(0), Usage: Usage{Units: map[string]int64{"images": -4}}}, &cmd)
	if got, want := spell(cmd.Actual), "unit=0:both"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// After a reload a target may be gone: nothing is settled, closed or lost but the estimate.
func TestUnknownTarget(t *testing.T) {
	p := compile(t, acme())
	cmd := limiter.Release{Actual: make([]limiter.Charge, 3), Gates: make([]limiter.Gate, 3)}
	in := Settlement{Lease: limiter.LeaseID{Count: 9}, Target: 1, Usage: tokens(1, 0, 0, 1),
		Observation: Observation{HTTPStatus: 429, Headers: []Header{{"retry-after", "5"}}}}
	got := p.Release(&in, &cmd)
	if len(cmd.Actual) != 0 || len(cmd.Gates) != 0 || cmd.Lease != in.Lease || cmd.Outcome != limiter.Used {
		t.Errorf("got %+v", cmd)
	}
	if got.Class != FailureThrottled || !got.Retry || got.After < 5e9 {
		t.Errorf("got %+v, want advice nevertheless", got)
	}
}

func TestOutcome(t *testing.T) {
	p := compile(t, acme())
	for _, c := range []struct {
		in   Settlement
		want Outcome
	}{
		{Settlement{}, Unknown},
		{Settlement{Usage: tokens(1, 0, 0, 1)}, Succeeded},
		{Settlement{Observation: Observation{HTTPStatus: 200}}, Succeeded},
		{Settlement{Observation: Observation{HTTPStatus: 429}}, Throttled},
		{Settlement{Observation: Observation{HTTPStatus: 402}}, Failed},
		{Settlement{Observation: Observation{HTTPStatus: 529}}, Failed},
		{Settlement{Observation: Observation{HTTPStatus: 200, Body: []byte(`{"type":"error","error":{"type":"overloaded_error"}}`)}}, Failed},
		{Settlement{Observation: Observation{HTTPStatus: 200, Body: []byte(`{"error":{"type":"rate_limit_error"}}`)}}, Throttled},
		{Settlement{Observation: Observation{HTTPStatus: 429}, Outcome: Unknown}, Unknown},
		{Settlement{Observation: Observation{HTTPStatus: 429}, Outcome: Unsent}, Throttled},
		{Settlement{Outcome: 99}, Unknown},
	} {
		if got := p.Release(&c.in, new(limiter.Release)).Outcome; got != c.want {
			t.Errorf("%+v: got %s, want %s", c.in, got, c.want)
		}
	}
	// A report without a failure derives nothing.
	if got := p.Report(&Settlement{}, new(limiter.Report)); got != (Advice{}) {
		t.Errorf("got %+v", got)
	}
	// Without a lease there is nothing to charge.
	var cmd limiter.Report
	p.Report(&Settlement{Target: p.TargetID(0), Usage: tokens(1, 0, 0, 1)}, &cmd)
	if len(cmd.Actual) != 0 {
		t.Errorf("got %+v", cmd)
	}
}
