package config

import (
	"hash/fnv"
	"os"
	"reflect"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/watermaster-project/watermaster/limiter"
)

// acme is what testdata/acme.yaml says. The quotas of azure-weu and claude slide; those of
// openai-main are buckets.
func acme() *Config {
	const second, minute = time.Second, time.Minute
	own := func(name string, m limiter.Metric, quota int64) limiter.LimitSpec {
		return limiter.LimitSpec{Name: name, Metric: m, Quota: quota, Window: minute, Jitter: second}
	}
	sliding := func(name string, m limiter.Metric, quota int64, window time.Duration) limiter.LimitSpec {
		return limiter.LimitSpec{Name: name, Metric: m, Quota: quota, Window: window, Margin: 100_000, Jitter: second}
	}
	bucket := func(name string, m limiter.Metric, quota int64, window time.Duration) limiter.LimitSpec {
		l := sliding(name, m, quota, window)
		l.Shape, l.Burst = limiter.TokenBucket, quota
		return l
	}
	account := Account{Margin: 100_000, StartWithin: 700 * time.Millisecond, Transit: 300 * time.Millisecond}
	azure, claude, openai := account, account, account
	azure.Name, azure.Provider = "azure-weu", "azure"
	azure.Attributes = map[string]string{"base_url": "https://weu.example", "api_version": "2026-06-01"}
	azure.Pools = []Pool{{
		Name:   "gpt-5",
		Models: []PoolModel{{Name: "gpt-5", Attributes: map[string]string{"deployment": "gpt5-prod"}}},
		Limits: []limiter.LimitSpec{
			sliding("requests/min", limiter.Requests, 6000, minute),
			sliding("requests/10s", limiter.Requests, 1000, 10*second),
			sliding("tokens/min", limiter.Tokens, 1_000_000, minute),
		},
	}}
	claude.Name, claude.Provider = "claude", "anthropic"
	claude.Pools = []Pool{{
		Name:   "sonnet",
		Models: []PoolModel{{Name: "claude-sonnet-5"}},
		Limits: []limiter.LimitSpec{
			sliding("requests/min", limiter.Requests, 4000, minute),
			sliding("input_tokens/min", limiter.InputTokens, 2_000_000, minute),
			sliding("output_tokens/min", limiter.OutputTokens, 400_000, minute),
		},
	}}
	openai.Name, openai.Provider = "openai-main", "openai"
	openai.Pools = []Pool{{
		Name:   "gpt-5",
		Models: []PoolModel{{Name: "gpt-5"}},
		Limits: []limiter.LimitSpec{
			bucket("requests/min", limiter.Requests, 10_000, minute),
			bucket("requests/day", limiter.Requests, 500_000, 24*time.Hour),
			bucket("tokens/min", limiter.Tokens, 2_000_000, minute),
			{Name: "concurrency", Metric: limiter.Concurrency, Shape: limiter.Stock, Quota: 400, Margin: 100_000, Jitter: second},
		},
	}, {
		Name:   "gpt-5-mini",
		Models: []PoolModel{{Name: "gpt-5-mini"}},
		Limits: []limiter.LimitSpec{
			bucket("requests/min", limiter.Requests, 30_000, minute),
			bucket("tokens/1m", limiter.Tokens, 10_000_000, minute),
		},
	}}
	return &Config{
		Models: []Model{{
			Name: "gpt-5", Aliases: []string{"gpt-5-2026-*"}, Context: 400_000, MaxOutput: 128_000,
			Capabilities: []string{"tools"},
			Price:        Price{Input: 1_250_000, CachedInput: 125_000, CacheWrite: 1_250_000, Output: 10_000_000},
		}},
		Organizations: []Organization{{
			Name: "acme",
			Limits: []limiter.LimitSpec{
				own("tokens/min", limiter.Tokens, 3_000_000),
				{Name: "cost/day", Metric: limiter.Cost, Shape: limiter.Calendar, Quota: 500_000_000, Jitter: second},
			},
			Accounts: []Account{azure, claude, openai},
			Projects: []limiter.ProjectSpec{
				{Name: "search", Weight: 2, Limits: []limiter.LimitSpec{own("tokens/min", limiter.Tokens, 1_000_000)}},
			},
			Template: &limiter.ProjectSpec{Weight: 1, Limits: []limiter.LimitSpec{
				{Name: "concurrency", Metric: limiter.Concurrency, Shape: limiter.Stock, Quota: 50, Jitter: second},
			}},
			MaxProjects: 1000, RetryBudget: 200, MaxReplicas: 8, ColdStart: limiter.Pace,
			MaxWaiting: 10_000,
			Routes: []Route{{Name: "smart", MinQuality: 900, Targets: []RouteTarget{
				{Account: "openai-main", Pool: "gpt-5", Model: "gpt-5", Quality: 1000},
				{Account: "azure-weu", Pool: "gpt-5", Model: "gpt-5", Quality: 1000},
				{Account: "claude", Pool: "sonnet", Model: "claude-sonnet-5", Quality: 950},
				{Account: "openai-main", Pool: "gpt-5-mini", Model: "gpt-5-mini", Quality: 600, Above: 800},
			}}},
		}},
		Classes: []Class{
			{limiter.ClassSpec{Name: "interactive", Weight: 16, Reserve: 50_000}, 10 * second},
			{limiter.ClassSpec{Name: "standard", Weight: 4, Paced: true}, 2 * minute},
			{limiter.ClassSpec{Name: "batch", Weight: 1, MaxWaiting: 5000, Paced: true}, time.Hour},
		},
		Pressure: [3]PressureStep{
			{At: 800, MaxToolCalls: 8, ReleaseAfter: 30 * second},
			{At: 900, MaxToolCalls: 3, AgentProfile: "lite", Divert: true, ReleaseAfter: 30 * second},
			{At: 1000, MaxToolCalls: 3, AgentProfile: "lite", Divert: true, ReleaseAfter: 30 * second},
		},
		Credentials: []Credential{{
			Name: "console", Certificates: []string{"console.acme.example"}, Organization: "acme",
			Services: []string{"monitor", "admin"},
		}, {
			Name: "search-workers", SHA256: []Digest{digest("7d2a3a4b9d52c7d7e2a5c3b8d2f1f0e1a6b5c4d3e2f10918273645546372819a")},
			Organization: "acme", Projects: []string{"search", "ads-*"}, PriorityClasses: []string{"interactive", "standard"},
			Services: []string{"limiter", "monitor"},
		}},
		Warnings: []Problem{
			{"testdata/acme.yaml", 14, 33, `the model "gpt-5-mini" has no price: no limit of cost counts it`, ""},
			{"testdata/acme.yaml", 23, 29, `the model "claude-sonnet-5" has no price: no limit of cost counts it`, ""},
		},
	}
}

func TestAcme(t *testing.T) {
	const file = "testdata/acme.yaml"
	got, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	hash := fnv.New64a()
	hash.Write(data)
	want := acme()
	want.Revision, want.Hash, want.source = info.ModTime().UnixNano(), hash.Sum64(), &source{data}
	// Part by part, for a difference in all of it cannot be read.
	parts := func(c *Config) map[string]any {
		o := c.Organizations[0]
		m := map[string]any{
			"revision": c.Revision, "hash": c.Hash, "models": c.Models, "classes": c.Classes,
			"pressure": c.Pressure, "warnings": c.Warnings, "credentials": c.Credentials, "limits": o.Limits, "projects": o.Projects,
			"template": o.Template, "routes": o.Routes,
		}
		for _, a := range o.Accounts {
			m["account "+a.Name] = a
		}
		return m
	}
	g := parts(got)
	for part, w := range parts(want) {
		if !reflect.DeepEqual(g[part], w) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", part, g[part], w)
		}
	}
	if !t.Failed() && !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}
