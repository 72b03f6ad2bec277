package provider

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Quotas are the quotas of an account, each per the window of the preset's limit: a
// minute, but for Mistral's requests, which are per second. 0 means no such limit.
type Quotas struct {
	Requests, Tokens, InputTokens, OutputTokens, Concurrency int64
}

func (q Quotas) of(m Metric) int64 {
	return [metrics]int64{q.Requests, q.Tokens, q.InputTokens, q.OutputTokens, q.Concurrency}[m]
}

// A preset is what is known of a provider, as of November 2026. Limits carry no quota.
type preset struct {
	name   string
	config Config
}

// perMinute are limits per minute of one shape.
func perMinute(s Shape, of ...Metric) (limits []Limit) {
	for _, m := range of {
		limits = append(limits, Limit{Metric: m, Window: time.Minute, Shape: s})
	}
	return limits
}

// The presets. Where a provider does not say how it counts a minute, the window slides,
// which is the strictest reading; where it does not say that it corrects an estimate,
// the estimate stands.
var presets = []preset{
	// A bucket fits every published error body. Refused requests count.
	{"openai", Config{
		Limits:        perMinute(Bucket, Requests, Tokens),
		Charge:        Charge{Estimate: EstimateSum, CachedPerMille: 1000},
		CountRejected: true,
	}},
	// A running estimate that begins anew each minute; requests also by 10 s.
	{"azure", Config{
		Limits: []Limit{
			{Metric: Requests, Window: time.Minute, Shape: Fixed, Parts: 6, PartShape: Fixed},
			{Metric: Tokens, Window: time.Minute, Shape: Fixed},
		},
		Charge:        Charge{Estimate: EstimateSum, CachedPerMille: 1000},
		CountRejected: true,
	}},
	// Buckets; output counts as it is produced, max_tokens not at all; cache reads are free.
	{"anthropic", Config{
		Limits: perMinute(Bucket, Requests, InputTokens, OutputTokens),
		Charge: Charge{Estimate: EstimateInput, Steps: 8},
	}},
	// Input alone is limited. Failed requests count.
	{"gemini", Config{
		Limits:        perMinute(Sliding, Requests, InputTokens),
		Charge:        Charge{Estimate: EstimateInput, CachedPerMille: 1000},
		CountRejected: true,
	}},
	// Reserves input + max_tokens, then settles at input + 5 × output, which may be more.
	{"bedrock", Config{
		Limits: perMinute(Sliding, Requests, Tokens),
		Charge: Charge{Estimate: EstimateSum, Settle: true, Burndown: 5},
	}},
	{"mistral", Config{
		Limits: []Limit{
			{Metric: Requests, Window: time.Second, Shape: Sliding},
			{Metric: Tokens, Window: time.Minute, Shape: Sliding},
		},
		Charge: Charge{Estimate: EstimateSum, CachedPerMille: 1000},
	}},
	// As OpenAI; cached input is free.
	{"groq", Config{
		Limits: perMinute(Bucket, Requests, Tokens),
		Charge: Charge{Estimate: EstimateSum},
	}},
	// Calls in flight, from arrival until the response is complete.
	{"deepseek", Config{
		Limits: []Limit{{Metric: Concurrency, Shape: Stock}},
		Charge: Charge{Estimate: EstimateInput, CachedPerMille: 1000},
	}},
}

// Presets lists the names that Preset knows.
func Presets() (names []string) {
	for _, p := range presets {
		names = append(names, p.name)
	}
	return names
}

// Preset gives the configuration of a provider by name, with the quotas of an account.
// It may be changed before it is given to New. A quota for something that the provider
// does not limit is an error.
func Preset(name string, q Quotas) (Config, error) {
	i := slices.IndexFunc(presets, func(p preset) bool { return p.name == name })
	if i < 0 {
		return Config{}, fmt.Errorf("provider: no preset %q: there are %s", name, strings.Join(Presets(), ", "))
	}
	c := presets[i].config
	known := c.Limits
	c.Limits = nil
	for m := range metrics {
		if quota := q.of(m); quota != 0 {
			k := slices.IndexFunc(known, func(l Limit) bool { return l.Metric == m })
			if k < 0 {
				return Config{}, fmt.Errorf("provider: %s has no limit of %v", name, m)
			}
			l := known[k]
			l.Quota = quota
			c.Limits = append(c.Limits, l)
		}
	}
	return c, nil
}
