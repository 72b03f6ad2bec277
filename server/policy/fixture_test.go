package policy

import (
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
)

// limits gives one limit for each metric; none of the tests depends on more than that.
func limits(metrics ...limiter.Metric) []limiter.LimitSpec {
	var list []limiter.LimitSpec
	for _, m := range metrics {
		list = append(list, limiter.LimitSpec{Name: m.String() + "/min", Metric: m, Quota: 1000, Window: time.Minute, Jitter: time.Second})
	}
	return list
}

func models(names ...string) []config.PoolModel {
	var list []config.PoolModel
	for _, n := range names {
		list = append(list, config.PoolModel{Name: n})
	}
	return list
}

// acme is the configuration of the tests: the example of the design, with some more
// providers.
func acme() *config.Config {
	account := func(name, provider string, pools ...config.Pool) config.Account {
		return config.Account{Name: name, Provider: provider, StartWithin: 700 * time.Millisecond, Pools: pools}
	}
	azure := account("azure-weu", "azure", config.Pool{
		Name:   "gpt-5",
		Models: []config.PoolModel{{Name: "gpt-5", Attributes: map[string]string{"deployment": "gpt5-prod", "api_version": "2026-09-01"}}},
		Limits: limits(limiter.Requests, limiter.Tokens),
	})
	azure.Attributes = map[string]string{"base_url": "https://weu.example", "api_version": "2026-06-01"}
	return &config.Config{
		Revision: 7,
		Hash:     8,
		Models: []config.Model{
			{Name: "claude-sonnet-5", Context: 200_000, MaxOutput: 64_000, Capabilities: []string{"tools", "vision"},
				Price: config.Price{Input: 3_000_000, CachedInput: 300_000, CacheWrite: 3_750_000, Output: 15_000_000}},
			{Name: "gpt-5", Aliases: []string{"gpt-5-2026-*", "gpt-latest"}, Context: 400_000, MaxOutput: 128_000, Capabilities: []string{"tools"},
				Price: config.Price{Input: 1_250_000, CachedInput: 125_000, CacheWrite: 1_250_000, Output: 10_000_000}},
			{Name: "gpt-5-mini", Aliases: []string{"gpt-5-*"}, Context: 400_000, MaxOutput: 0},
			{Name: "unused"},
		},
		Organizations: []config.Organization{{
			Name:   "acme",
			Limits: limits(limiter.Tokens, limiter.Cost),
			Accounts: []config.Account{
				azure,
				account("claude", "anthropic", config.Pool{Name: "sonnet", Models: models("claude-sonnet-5"),
					Limits: limits(limiter.Requests, limiter.InputTokens, limiter.OutputTokens)}),
				account("openai-main", "openai",
					config.Pool{Name: "gpt-5", Was: "openai-main/gpt-4", Models: models("gpt-5"),
						Limits: limits(limiter.Requests, limiter.Tokens, limiter.Concurrency)},
					config.Pool{Name: "gpt-5-mini", Models: models("gpt-5-mini", "gpt-5-2026-01-01"),
						Limits: limits(limiter.Requests, limiter.Tokens, limiter.Unit("images"))}),
			},
			Projects:    []limiter.ProjectSpec{{Name: "search", Weight: 2, Limits: limits(limiter.Requests)}},
			Template:    &limiter.ProjectSpec{Weight: 1, Limits: limits(limiter.Concurrency)},
			MaxProjects: 1000,
			MaxWaiting:  10_000,
			Units:       []string{"images"},
			Routes: []config.Route{
				{Name: "cheap", Targets: []config.RouteTarget{{Account: "openai-main", Pool: "gpt-5-mini", Model: "gpt-5-mini", Quality: 600}}},
				{Name: "smart", MinQuality: 500, Targets: []config.RouteTarget{
					{Account: "openai-main", Pool: "gpt-5-mini", Model: "gpt-5-mini", Quality: 600, Above: 800},
					{Account: "openai-main", Pool: "gpt-5", Model: "gpt-5", Quality: 1000},
					{Account: "claude", Pool: "sonnet", Model: "claude-sonnet-5", Quality: 950},
					{Account: "azure-weu", Pool: "gpt-5", Model: "gpt-5", Quality: 1000},
				}},
			},
		}},
		Classes: []config.Class{
			{ClassSpec: limiter.ClassSpec{Name: "interactive", Weight: 16}, MaxWait: 10 * time.Second},
			{ClassSpec: limiter.ClassSpec{Name: "standard", Weight: 4}, MaxWait: 2 * time.Minute},
			{ClassSpec: limiter.ClassSpec{Name: "batch", Weight: 1}, MaxWait: time.Hour},
		},
		Pressure: [3]config.PressureStep{
			{At: 800, MaxToolCalls: 8, ReleaseAfter: 10 * time.Second},
			{At: 900, MaxToolCalls: 3, AgentProfile: "lite", Divert: true, ReleaseAfter: 30 * time.Second},
			{At: 1000},
		},
	}
}

func compile(t testing.TB, cfg *config.Config) *Policy {
	t.Helper()
	p, err := Compile(cfg, "acme")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// single gives the policy of one account of a provider, with one pool that limits some metrics
// and an organization that limits others.
func single(t testing.TB, provider, model string, pool, owner []limiter.Metric, charge config.ChargeOverrides) *Policy {
	t.Helper()
	cfg := acme()
	org := &cfg.Organizations[0]
	org.Limits = limits(owner...)
	org.Projects, org.Template.Limits, org.Routes = nil, nil, nil
	org.Accounts = []config.Account{{
		Name: "a", Provider: provider, Charge: charge,
		Pools: []config.Pool{{Name: "p", Models: models(model), Limits: limits(pool...)}},
	}}
	return compile(t, cfg)
}

// request is a valid one.
func request() *Request {
	return &Request{RequestID: "r-1", Project: "search", Model: "gpt-5", InputTokens: 1000, MaxOutputTokens: Some[int64](500)}
}

// acquire gives the command for a request that is accepted.
func acquire(t testing.TB, p *Policy, r *Request) *limiter.Acquire {
	t.Helper()
	var cmd limiter.Acquire
	if err := p.Acquire(r, &cmd); err != nil {
		t.Fatal(err)
	}
	return &cmd
}

const (
	toPool  = limiter.ToPool
	toOwner = limiter.ToOwner
	late    = limiter.OnCompletion
	refund  = limiter.Refundable
)
