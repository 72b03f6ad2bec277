package policy

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
)

// spell writes charges as metric=amount, followed by the scopes and the way it is counted:
// pool, owner, both; late, refund.
func spell(charges []limiter.Charge) string {
	var words []string
	for _, c := range charges {
		w := fmt.Sprintf("%s=%d", c.Metric, c.Amount)
		switch c.Flags & scopes {
		case toPool:
			w += ":pool"
		case toOwner:
			w += ":owner"
		case scopes:
			w += ":both"
		}
		if c.Flags&late != 0 {
			w += ":late"
		}
		if c.Flags&limiter.Pooled != 0 {
			w += ":pooled"
		}
		if c.Flags&refund != 0 {
			w += ":refund"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

var tokenMetrics = []limiter.Metric{limiter.InputTokens, limiter.OutputTokens, limiter.Tokens}

// What each provider counts when a call of 1000 tokens, 400 of them cached, may produce 500.
func TestPresetsOnAdmission(t *testing.T) {
	for _, c := range []struct{ provider, model, want string }{
		{"openai", "gpt-5", "input_tokens=1000:pool output_tokens=500:pool tokens=1500:pool"},
		{"azure", "gpt-5", "input_tokens=1000:pool output_tokens=500:pool tokens=1500:pool"},
		{"anthropic", "claude-sonnet-5", "input_tokens=600:pool:refund output_tokens=500:pool:late:pooled tokens=1100:pool:late"},
		{"anthropic", "claude-3-5-haiku", "input_tokens=1000:pool:refund output_tokens=500:pool:late:pooled tokens=1500:pool:late"},
		{"gemini", "gemini-3", "input_tokens=1000:pool output_tokens=500:pool tokens=1000:pool"},
		{"bedrock", "us.anthropic.claude-sonnet-5", "input_tokens=1100:pool:refund output_tokens=500:pool:late:pooled tokens=5600:pool:refund"},
		{"mistral", "large", "input_tokens=1000:pool output_tokens=500:pool tokens=1500:pool"},
		{"groq", "llama", "input_tokens=600:pool output_tokens=500:pool tokens=1100:pool"},
		{"deepseek", "v4", "input_tokens=1000:pool output_tokens=500:pool tokens=1500:pool"},
		{"generic", "x", "input_tokens=1000:pool output_tokens=500:pool tokens=1500:pool"},
	} {
		p := single(t, c.provider, c.model, tokenMetrics, nil, config.ChargeOverrides{})
		r := request()
		r.Model, r.CachedInputTokens = c.model, 400
		if got := spell(acquire(t, p, r).Targets[0].Charges); got != c.want {
			t.Errorf("%s, %s:\n got %s\nwant %s", c.provider, c.model, got, c.want)
		}
	}
}

func TestOverrides(t *testing.T) {
	sum, most, input, apart := "sum", "max", "input", "input_and_cap"
	admission, completion := "admission", "completion"
	yes, no := true, false
	half, triple := int64(500), int64(3000)
	for _, c := range []struct {
		name   string
		charge config.ChargeOverrides
		want   string
	}{
		{"max", config.ChargeOverrides{Admission: &most}, "input_tokens=600:pool:refund output_tokens=500:pool:late:pooled tokens=600:pool:refund"},
		{"input", config.ChargeOverrides{Admission: &input}, "input_tokens=600:pool:refund output_tokens=500:pool:late:pooled tokens=600:pool:refund"},
		{"sum", config.ChargeOverrides{Admission: &sum}, "input_tokens=600:pool:refund output_tokens=500:pool:late:pooled tokens=1100:pool:refund"},
		{"early", config.ChargeOverrides{Admission: &apart, OutputOn: &admission}, "input_tokens=600:pool:refund output_tokens=500:pool:refund tokens=1100:pool:refund"},
		{"kept", config.ChargeOverrides{Refund: &no}, "input_tokens=600:pool output_tokens=500:pool:late:pooled tokens=1100:pool:late"},
		{"all", config.ChargeOverrides{Admission: &sum, OutputOn: &completion, Refund: &yes, CachedWeight: &half, Burndown: &triple, FailedCount: &no},
			"input_tokens=800:pool:refund output_tokens=500:pool:late:pooled tokens=2300:pool:refund"},
	} {
		p := single(t, "anthropic", "claude-3-5-haiku", tokenMetrics, nil, c.charge)
		// A weight that is given holds for all models, but nothing else changes that.
		if c.charge.CachedWeight == nil {
			p = single(t, "anthropic", "claude-sonnet-5", tokenMetrics, nil, c.charge)
		}
		r := request()
		r.Model, r.CachedInputTokens = p.targets[0].model, 400
		if got := spell(acquire(t, p, r).Targets[0].Charges); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		if c.name == "all" {
			if tg := p.targets[0]; tg.burndown != 3000 || tg.profile.FailedCount {
				t.Errorf("got burndown %d, failed_count %v", tg.burndown, tg.profile.FailedCount)
			}
		}
	}
}

// A charge is made where a limit may be, for both scopes at once where the rules agree, and in
// order.
func TestChargesGoWhereLimitsAre(t *testing.T) {
	images := limiter.Unit("images")
	all := []limiter.Metric{limiter.Requests, limiter.InputTokens, limiter.OutputTokens, limiter.Tokens, limiter.Cost,
		limiter.Concurrency, limiter.EnqueuedTokens, images}
	for _, c := range []struct {
		name        string
		provider    string
		pool, owner []limiter.Metric
		want        string
	}{
		{"nowhere", "openai", nil, nil, ""},
		{"one", "openai", []limiter.Metric{limiter.Requests}, nil, "requests=1:pool"},
		{"the owner's", "openai", nil, all, "requests=1:owner input_tokens=1000:owner:refund output_tokens=500:owner:refund tokens=1500:owner:refund " +
			"cost=6250:owner:refund concurrency=1:owner enqueued_tokens=1500:owner unit=3:owner:refund"},
		{"apart where nothing is given back", "openai", all, all, "requests=1:both input_tokens=1000:pool input_tokens=1000:owner:refund " +
			"output_tokens=500:pool output_tokens=500:owner:refund tokens=1500:pool tokens=1500:owner:refund cost=6250:pool:late cost=6250:owner:refund " +
			"concurrency=1:both enqueued_tokens=1000:pool enqueued_tokens=1500:owner unit=3:pool unit=3:owner:refund"},
		{"together where it is", "bedrock", all, all, "requests=1:both input_tokens=1500:pool:refund input_tokens=1000:owner:refund " +
			"output_tokens=500:owner:refund output_tokens=500:pool:late:pooled tokens=1500:both:refund cost=6250:pool:late cost=6250:owner:refund " +
			"concurrency=1:both enqueued_tokens=1500:both unit=3:both:refund"},
	} {
		p := single(t, c.provider, "gpt-5", c.pool, c.owner, config.ChargeOverrides{})
		r := request()
		r.Units = map[string]int64{"images": 3, "songs": 9}
		got := acquire(t, p, r).Targets[0].Charges
		if spell(got) != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, spell(got), c.want)
		}
		if !slices.IsSortedFunc(got, func(a, b limiter.Charge) int {
			return (int(a.Metric)-int(b.Metric))*256 + int(a.Flags) - int(b.Flags)
		}) {
			t.Errorf("%s: not in order: %v", c.name, got)
		}
	}

	// A unit that the request leaves out touches no limit; 0 does.
	p := single(t, "openai", "gpt-5", []limiter.Metric{images}, nil, config.ChargeOverrides{})
	r := request()
	if got := spell(acquire(t, p, r).Targets[0].Charges); got != "" {
		t.Errorf("got %s, want nothing", got)
	}
	r.Units = map[string]int64{"images": 0}
	if got := spell(acquire(t, p, r).Targets[0].Charges); got != "unit=0:pool" {
		t.Errorf("got %s, want none of the unit", got)
	}
}

// Limits of any project count, and so do those of the template.
func TestOwnersMetrics(t *testing.T) {
	p := compile(t, acme())
	want := []limiter.Metric{limiter.Requests, limiter.Tokens, limiter.Cost, limiter.Concurrency}
	if !reflect.DeepEqual(p.owner, want) {
		t.Errorf("got %v, want %v", p.owner, want)
	}
}

func TestCost(t *testing.T) {
	price := config.Price{Input: 3_000_000, CachedInput: 300_000, CacheWrite: 3_750_000, Output: 15_000_000}
	for _, c := range []struct {
		name  string
		price config.Price
		use   use
		want  int64
	}{
		{"nothing", price, use{settled: true}, 0},
		{"a part of a micro-dollar is a whole one", config.Price{Input: 1}, use{input: 1, settled: true}, 1},
		{"settled", price, use{input: 1000, cached: 400, written: 100, output: 200, settled: true}, 1500 + 120 + 375 + 3000},
		{"as long as all may be written", price, use{input: 1000, cached: 400, output: 200}, 2250 + 120 + 3000},
		{"writing costs less", config.Price{Input: 3_000_000, CacheWrite: 1}, use{input: 1000}, 3000},
		{"reading is free", config.Price{Input: 3_000_000}, use{input: 1000, cached: 1000}, 0},
		{"saturated", config.Price{Input: maxPrice, CacheWrite: maxPrice, CachedInput: maxPrice, Output: maxPrice},
			use{input: maxTokens, output: maxTokens}, maxAmount},
	} {
		tg := &target{price: c.price}
		if got := tg.cost(&c.use); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

// The largest request with the largest weights stays within what the engine takes.
func TestAmountsAreBounded(t *testing.T) {
	most := int64(maxWeight)
	all := append(slices.Clone(tokenMetrics), limiter.Cost, limiter.EnqueuedTokens)
	p := single(t, "bedrock", "gpt-5", all, all, config.ChargeOverrides{CachedWeight: &most, Burndown: &most})
	p.targets[0].context = 0
	r := request()
	r.InputTokens, r.CachedInputTokens, r.MaxOutputTokens = maxTokens, maxTokens, Some[int64](maxTokens)
	var release limiter.Release
	p.Release(&Settlement{Target: p.TargetID(0), Usage: Usage{
		Input: math.MaxInt64, CachedInput: math.MaxInt64, CacheWrite: math.MaxInt64, Output: math.MaxInt64, HasInput: true, HasOutput: true,
	}}, &release)
	for _, c := range append(acquire(t, p, r).Targets[0].Charges, release.Actual...) {
		if c.Amount <= 0 || c.Amount > maxAmount {
			t.Errorf("%s: got %d", c.Metric, c.Amount)
		}
	}
}
