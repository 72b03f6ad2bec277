package simulate

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/server/config"
)

// parse reads a configuration; what is indented by tabs in the test is by spaces.
func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(strings.ReplaceAll(text, "\t", "  ")), time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// onePool is an account of one pool.
func onePool(account, limits string) string {
	return "organizations:\n  acme:\n    accounts:\n      main:\n        {" + account + ", pools: {p: {models: [m], limits: {" + limits + "}}}}\n"
}

func standin(t testing.TB, account, limits string, shape Shape) (Standin, error) {
	t.Helper()
	all, err := Standins(&parse(t, onePool(account, limits)).Organizations[0], shape, 0)
	if err != nil {
		return Standin{}, err
	}
	return all[0], nil
}

func TestStandinLimits(t *testing.T) {
	const minute = time.Minute
	for _, c := range []struct {
		name, account, limits string
		shape                 Shape
		want                  []provider.Limit
	}{
		{"the quota is whole, whatever the margin", "margin: 10%", "tokens: 1000/min", Auto,
			[]provider.Limit{{Metric: provider.Tokens, Quota: 1000, Window: minute, Shape: provider.Sliding}}},
		{"auto: as configured", "provider: openai", "tokens: {quota: 1000, window: min, burst: 500}, requests: {quota: 9, window: min, shape: sliding_window}", Auto,
			[]provider.Limit{
				{Metric: provider.Requests, Quota: 9, Window: minute, Shape: provider.Sliding},
				{Metric: provider.Tokens, Quota: 1000, Window: minute, Shape: provider.Bucket, Burst: 500},
			}},
		{"bucket", "provider: azure", "tokens: 1000/min", Bucket,
			[]provider.Limit{{Metric: provider.Tokens, Quota: 1000, Window: minute, Shape: provider.Bucket}}},
		{"sliding", "provider: openai", "tokens: 1000/min", Sliding,
			[]provider.Limit{{Metric: provider.Tokens, Quota: 1000, Window: minute, Shape: provider.Sliding}}},
		{"quantised", "provider: openai", "tokens: 1000/min", Quantised,
			[]provider.Limit{{Metric: provider.Tokens, Quota: 1000, Window: minute, Shape: provider.Sliding, Parts: 10, PartShape: provider.Sliding}}},
		{"quantised: a configured tenth stands for itself, and a day is none", "margin: 0%", "tokens: [1000/min, 90/6s, 100000/day]", Quantised,
			[]provider.Limit{
				{Metric: provider.Tokens, Quota: 1000, Window: minute, Shape: provider.Sliding},
				{Metric: provider.Tokens, Quota: 90, Window: 6 * time.Second, Shape: provider.Sliding},
				{Metric: provider.Tokens, Quota: 100_000, Window: 24 * time.Hour, Shape: provider.Sliding},
			}},
		{"a stock has no shape", "provider: deepseek", "concurrency: 40", Fixed,
			[]provider.Limit{{Metric: provider.Concurrency, Quota: 40, Shape: provider.Stock}}},
		{"gemini's tokens are those of the input", "provider: gemini", "tokens: 1000/min", Auto,
			[]provider.Limit{{Metric: provider.InputTokens, Quota: 1000, Window: minute, Shape: provider.Sliding}}},
		{"calendars are our own", "provider: openai", "requests: {quota: 9, window: day, zone: UTC}", Auto, nil},
	} {
		s, err := standin(t, c.account, c.limits, c.shape)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := s.Config.Limits; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: limits\n  got  %v\n  want %v", c.name, got, c.want)
		}
	}
}

func TestStandinPhaseIsSeeded(t *testing.T) {
	cfg := parse(t, onePool("margin: 0%", "tokens: 1000/min"))
	phase := func(seed uint64) time.Duration {
		all, err := Standins(&cfg.Organizations[0], Fixed, seed)
		if err != nil {
			t.Fatal(err)
		}
		return all[0].Config.Limits[0].Phase
	}
	one, again, two := phase(1), phase(1), phase(2)
	if one != again || one == two || one < 0 || one >= time.Minute {
		t.Errorf("phases %v, %v and %v of seeds 1, 1 and 2", one, again, two)
	}
}

func TestStandinCharges(t *testing.T) {
	for _, c := range []struct {
		account, limits string
		want            provider.Charge
	}{
		{"margin: 0%", "tokens: 9/min", provider.Charge{CachedPerMille: 1000, Burndown: 1}},
		{"provider: openai", "tokens: 9/min", provider.Charge{CachedPerMille: 1000, Burndown: 1}},
		{"provider: openai, charge: {refund: true}", "tokens: 9/min", provider.Charge{Settle: true, CachedPerMille: 1000, Burndown: 1}},
		{"provider: openai, charge: {admission: max, cached_weight: 0}", "tokens: 9/min", provider.Charge{Estimate: provider.EstimateMax, Burndown: 1}},
		{"provider: openai, charge: {burndown: 3}", "tokens: 9/min", provider.Charge{CachedPerMille: 1000, Burndown: 3}},
		{"provider: openai, charge: {output_on: completion}", "output_tokens: 9/min", provider.Charge{Estimate: provider.EstimateInput, Steps: 8, CachedPerMille: 1000, Burndown: 1}},
		{"provider: anthropic", "output_tokens: 9/min", provider.Charge{Estimate: provider.EstimateInput, Steps: 8, Burndown: 1}},
		{"provider: anthropic", "tokens: 9/min", provider.Charge{Estimate: provider.EstimateInput, Steps: 8, Burndown: 1}},
		{"provider: anthropic, charge: {output_on: admission}", "output_tokens: 9/min", provider.Charge{Settle: true, Burndown: 1}},
		{"provider: bedrock", "tokens: 9/min", provider.Charge{Settle: true, Burndown: 1}},
		{"provider: bedrock", "input_tokens: 9/min, output_tokens: 9/min", provider.Charge{Estimate: provider.EstimateInput, Steps: 8, Burndown: 1}},
		{"provider: deepseek", "tokens: 9/min", provider.Charge{CachedPerMille: 1000, Burndown: 1}},
	} {
		s, err := standin(t, c.account, c.limits, Sliding)
		if err != nil {
			t.Errorf("%s: %v", c.account, err)
		} else if got := s.Config.Charge; got != c.want {
			t.Errorf("%s, %s: charges\n  got  %+v\n  want %+v", c.account, c.limits, got, c.want)
		}
	}
}

func TestStandinsThatCannotBe(t *testing.T) {
	for _, c := range []struct{ account, limits, want string }{
		{"provider: openai, charge: {burndown: 2.5}", "tokens: 9/min", "burndown of 2.5"},
		{"provider: openai, charge: {admission: max, refund: true}", "tokens: 9/min", "leave refund out"},
		{"provider: openai, charge: {burndown: 2}", "tokens: 9/min, output_tokens: 9/min", "burns down"},
	} {
		if _, err := standin(t, c.account, c.limits, Sliding); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.account, err, c.want)
		}
	}
	if _, err := Standins(&config.Organization{}, "round", 0); err == nil || !strings.Contains(err.Error(), "auto bucket sliding fixed quantised") {
		t.Errorf("an unknown shape: error %v, want one that lists the shapes", err)
	}
}

// The weights of a model are those by which policy settles, so that both count alike.
func TestStandinWeighsByModel(t *testing.T) {
	cfg := parse(t, strings.ReplaceAll(onePool("provider: bedrock", "tokens: 9/min"), "[m]", "[anthropic.claude-sonnet-4.5]"))
	all, err := Standins(&cfg.Organizations[0], Auto, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := all[0].Config.Charge.Burndown; got != 5 {
		t.Errorf("burndown %d, want 5", got)
	}
	cfg = parse(t, strings.ReplaceAll(onePool("provider: bedrock", "tokens: 9/min"), "[m]", "[anthropic.claude-sonnet-4.5, nova]"))
	if _, err := Standins(&cfg.Organizations[0], Auto, 0); err == nil || !strings.Contains(err.Error(), "differently") {
		t.Errorf("models of different weights in one pool: error %v", err)
	}
}
