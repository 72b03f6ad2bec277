package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// priced begins files whose model has a price.
const priced = "models: {m: {price: {input: 1, output: 2}}}\n"

// A limit becomes what the engine counts, by what it says and by whose it is.
func TestLimit(t *testing.T) {
	const (
		sliding  = limiter.SlidingWindow
		bucket   = limiter.TokenBucket
		calendar = limiter.Calendar
		stock    = limiter.Stock
		minute   = time.Minute
	)
	losAngeles, err := (&reader{modTime: written}).zone("America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		provider, limit string
		want            limiter.LimitSpec
	}{
		{"generic", "tokens: 2M/min", limiter.LimitSpec{Name: "tokens/min", Shape: sliding, Quota: 2e6, Window: minute}},
		{"generic", "tokens: 2_000_000 / 1m", limiter.LimitSpec{Name: "tokens/1m", Shape: sliding, Quota: 2e6, Window: minute}},
		{"openai", "tokens: 2M/min", limiter.LimitSpec{Name: "tokens/min", Shape: bucket, Quota: 2e6, Burst: 2e6, Window: minute}},
		{"groq", "requests: 2M/day", limiter.LimitSpec{Name: "requests/day", Shape: bucket, Quota: 2e6, Burst: 2e6, Window: day}},
		{"anthropic", "requests: 2M/week", limiter.LimitSpec{Name: "requests/week", Shape: sliding, Quota: 2e6, Window: week}},
		{"openai", "tokens: {quota: 2M, window: min, shape: sliding_window}",
			limiter.LimitSpec{Name: "tokens/min", Shape: sliding, Quota: 2e6, Window: minute}},
		{"anthropic", "tokens: {quota: 2M/min, shape: token_bucket}",
			limiter.LimitSpec{Name: "tokens/min", Shape: bucket, Quota: 2e6, Burst: 2e6, Window: minute}},
		{"anthropic", "requests: {quota: 600/min, burst: 60}",
			limiter.LimitSpec{Name: "requests/min", Shape: bucket, Quota: 600, Burst: 60, Window: minute}},
		{"openai", "concurrency: 400", limiter.LimitSpec{Name: "concurrency", Shape: stock, Quota: 400}},
		{"openai", "enqueued_tokens: {quota: 90M, shape: stock, name: queue}",
			limiter.LimitSpec{Name: "queue", Shape: stock, Quota: 90e6}},
		{"openai", "cost: $500/day", limiter.LimitSpec{Name: "cost/day", Shape: calendar, Quota: 500e6, Period: limiter.Day}},
		{"openai", "cost: 0.5/week", limiter.LimitSpec{Name: "cost/week", Shape: calendar, Quota: 500_000, Period: limiter.Week}},
		{"openai", "cost: $1k/month", limiter.LimitSpec{Name: "cost/month", Shape: calendar, Quota: 1000e6, Period: limiter.Month}},
		{"openai", "cost: $5/10min", limiter.LimitSpec{Name: "cost/10min", Shape: sliding, Quota: 5e6, Window: 10 * minute}},
		{"openai", "cost: {quota: $5, window: day, shape: sliding_window}",
			limiter.LimitSpec{Name: "cost/day", Shape: sliding, Quota: 5e6, Window: day}},
		{"openai", "tokens: 2M/month", limiter.LimitSpec{Name: "tokens/month", Shape: calendar, Quota: 2e6, Period: limiter.Month}},
		{"gemini", "requests: {quota: 1000, window: day, zone: America/Los_Angeles}",
			limiter.LimitSpec{Name: "requests/day", Shape: calendar, Quota: 1000, Zone: losAngeles}},
		{"gemini", "requests: {quota: 1000, period: week}",
			limiter.LimitSpec{Name: "requests/week", Shape: calendar, Quota: 1000, Period: limiter.Week}},
		{"gemini", "requests: {quota: 1000/day, shape: calendar, zone: UTC, name: rpd}",
			limiter.LimitSpec{Name: "rpd", Shape: calendar, Quota: 1000}},
		{"azure", "requests: {quota: 1000/10s, margin: 2.5%, was: requests/1s}",
			limiter.LimitSpec{Name: "requests/10s", Was: "requests/1s", Shape: sliding, Quota: 1000, Window: 10 * time.Second, Margin: 25_000}},
		{"openai", "images: 50/min", limiter.LimitSpec{Name: "images/min", Shape: bucket, Quota: 50, Burst: 50, Window: minute}},
	} {
		file := priced + fmt.Sprintf("organizations: {o: {units: [images], accounts: {a: {provider: %s, start_within: 500ms, "+
			"pools: {p: {models: [m], limits: {%s}}}}}}}\n", row.provider, row.limit)
		c, err := Parse("f", []byte(file), written)
		if err != nil {
			t.Errorf("%s: %v", row.limit, err)
			continue
		}
		want := row.want
		metric, _, _ := strings.Cut(row.limit, ":")
		var ok bool
		if want.Metric, ok = limiter.BuiltinMetric(metric); !ok {
			want.Metric = limiter.Unit(metric)
		}
		want.Jitter = 800 * time.Millisecond
		if !strings.Contains(row.limit, "margin") {
			want.Margin = 100_000
		}
		if got := c.Organizations[0].Accounts[0].Pools[0].Limits[0]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s at %s: got\n%+v\nwant\n%+v", row.limit, row.provider, got, want)
		}
	}
}

// Limits of one's own keep nothing free, slide, and reckon with the slowest account.
func TestOwnLimits(t *testing.T) {
	c := mustParse(t, `
organizations:
  o:
    limits: {tokens: 5M/min, requests: {quota: 10/min, margin: 50%}}
    accounts:
      a: {provider: openai, margin: 20%, start_within: 3s, transit: 1s, pools: {p: {models: [m], limits: {tokens: 1M/min}}}}
      b: {provider: groq, pools: {p: {models: [m], limits: {tokens: 1M/min}}}}
`)
	o := &c.Organizations[0]
	for _, row := range []struct {
		name   string
		got    limiter.LimitSpec
		shape  limiter.Shape
		margin uint32
		jitter time.Duration
	}{
		{"organization's requests", o.Limits[0], limiter.SlidingWindow, 500_000, 4 * time.Second},
		{"organization's tokens", o.Limits[1], limiter.SlidingWindow, 0, 4 * time.Second},
		{"tokens at a", o.Accounts[0].Pools[0].Limits[0], limiter.TokenBucket, 200_000, 4 * time.Second},
		{"tokens at b", o.Accounts[1].Pools[0].Limits[0], limiter.TokenBucket, 100_000, time.Second},
	} {
		if row.got.Shape != row.shape || row.got.Margin != row.margin || row.got.Jitter != row.jitter {
			t.Errorf("%s: got %+v, want %+v", row.name, row.got, row)
		}
	}
}

// What is left of a quota is what the engine will let through, small ones included.
func TestEffective(t *testing.T) {
	for _, row := range []struct {
		quota  int64
		margin uint32
		want   int64
	}{
		{100, 0, 100}, {100, 100_000, 90}, {5, 100_000, 5}, {19, 100_000, 18}, {1, 999_999, 1}, {7, million, 0},
		{maxQuota, 1, maxQuota - maxQuota/million},
	} {
		if got := effective(&limiter.LimitSpec{Quota: row.quota, Margin: row.margin}); got != row.want {
			t.Errorf("%d less %d ppm: got %d, want %d", row.quota, row.margin, got, row.want)
		}
	}
}

func mustParse(t *testing.T, file string) *Config {
	t.Helper()
	c, err := Parse("f", []byte(file), written)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
