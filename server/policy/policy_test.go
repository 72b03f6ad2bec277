package policy

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
)

func TestConfigure(t *testing.T) {
	cfg := acme()
	p := compile(t, cfg)
	got := p.Configure()
	// Draws that touch no provider have a pool of their own, and the hash tells that it is there.
	whole := func() *limiter.Configure {
		c := cfg.Configure(&cfg.Organizations[0])
		c.Pools = append(c.Pools, limiter.PoolSpec{Name: OwnerPool, Models: []string{""}, StartWithin: 10 * time.Minute})
		c.Hash++
		return c
	}
	if want := whole(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	var pools []string
	for _, s := range got.Pools {
		pools = append(pools, s.Name)
	}
	want := []string{"azure-weu/gpt-5", "claude/sonnet", "openai-main/gpt-5", "openai-main/gpt-5-mini", OwnerPool}
	if !slices.Equal(pools, want) {
		t.Errorf("got pools %v, want %v", pools, want)
	}

	// What a caller does to it stays with the caller.
	got.Pools[0].Name, got.Classes[0].Name, got.Template.Weight, got.Limits[0].Quota = "x", "x", 99, 99
	if again := p.Configure(); !reflect.DeepEqual(again, whole()) {
		t.Errorf("a command that was changed changed the next: %+v", again)
	}
}

func TestCompileRefuses(t *testing.T) {
	text, weight := "summ", int64(-1)
	for _, c := range []struct {
		name   string
		change func(*config.Organization)
		want   string
	}{
		{"provider", func(o *config.Organization) { o.Accounts[0].Provider = "azur" }, `unknown provider "azur"; the nearest is "azure"`},
		{"target", func(o *config.Organization) { o.Routes[0].Targets[0].Model = "gtp-5-mini" }, `the nearest is "openai-main/gpt-5-mini"`},
		{"pool", func(o *config.Organization) { o.Routes[0].Targets[0].Pool = "gpt-5" }, `unknown target`},
		{"quality", func(o *config.Organization) { o.Routes[0].Targets[0].Quality = 1001 }, `quality`},
		{"admission", func(o *config.Organization) { o.Accounts[0].Charge.Admission = &text }, `"summ" is none of sum, max, input, input_and_cap`},
		{"output_on", func(o *config.Organization) { o.Accounts[0].Charge.OutputOn = &text }, `"summ" is none of admission, completion`},
		{"burndown", func(o *config.Organization) { o.Accounts[0].Charge.Burndown = &weight }, `charge.burndown: -1`},
		{"cached_weight", func(o *config.Organization) { o.Accounts[0].Charge.CachedWeight = &weight }, `charge.cached_weight: -1`},
		{"units", func(o *config.Organization) { o.Units = nil }, `a unit without a name`},
		{"twice", func(o *config.Organization) { o.Accounts = append(o.Accounts, o.Accounts[0]) }, `same digest`},
	} {
		cfg := acme()
		c.change(&cfg.Organizations[0])
		_, err := Compile(cfg, "acme")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	cfg := acme()
	cfg.Models[0].Price.Output = -1
	var invalid *Invalid
	if _, err := Compile(cfg, "acme"); !errors.As(err, &invalid) || invalid.Field != "models.claude-sonnet-5.price" {
		t.Errorf("got %v, want a price that can't be", err)
	}
	var missing *NotFound
	if _, err := Compile(acme(), "acne"); !errors.As(err, &missing) || *missing != (NotFound{"organization", "acne", "acme"}) {
		t.Errorf("got %v, want the nearest organization", err)
	}
}

// An id stands in leases and in the log of others: it must never change.
func TestTargetID(t *testing.T) {
	if got, want := TargetOf("openai-main/gpt-5", "gpt-5"), TargetID(0x1f931de3); got != want {
		t.Errorf("got %#x, want %#x", uint32(got), uint32(want))
	}
	p := compile(t, acme())
	if got, want := p.Targets(), 5; got != want {
		t.Fatalf("got %d targets, want %d", got, want)
	}
	for i := range p.Targets() {
		got, ok := p.Target(p.TargetID(i))
		if !ok || got.ID != TargetOf(got.Pool, got.Model) {
			t.Errorf("target %d: %+v is not found by its id", i, got)
		}
	}
	if _, ok := p.Target(1); ok {
		t.Error("an unknown id is found")
	}
}

func TestTarget(t *testing.T) {
	p := compile(t, acme())
	got, _ := p.Target(TargetOf("azure-weu/gpt-5", "gpt-5"))
	want := Target{
		ID: TargetOf("azure-weu/gpt-5", "gpt-5"), Account: "azure-weu", Pool: "azure-weu/gpt-5", Provider: "azure", Model: "gpt-5", Quality: 1000,
		Attributes: map[string]string{"base_url": "https://weu.example", "api_version": "2026-09-01", "deployment": "gpt5-prod"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for _, c := range []struct {
		pool, model string
		quality     int
	}{
		{"openai-main/gpt-5-mini", "gpt-5-mini", 600},
		{"claude/sonnet", "claude-sonnet-5", 950},
		{"openai-main/gpt-5-mini", "gpt-5-2026-01-01", 1000}, // no route has it
	} {
		if got, _ := p.Target(TargetOf(c.pool, c.model)); got.Quality != c.quality {
			t.Errorf("%s: got quality %d, want %d", c.model, got.Quality, c.quality)
		}
	}
}

func TestFindTarget(t *testing.T) {
	p := compile(t, acme())
	for _, c := range []struct {
		account, model string
		want           TargetID
	}{
		{"azure-weu", "gpt-5", TargetOf("azure-weu/gpt-5", "gpt-5")},
		{"azure-weu", "gpt-5-2026-02-02", TargetOf("azure-weu/gpt-5", "gpt-5")},
		{"openai-main", "gpt-5-2026-01-01", TargetOf("openai-main/gpt-5-mini", "gpt-5-2026-01-01")}, // its own name
		{"claude", "gpt-5", 0},
		{"nobody", "gpt-5", 0},
		{"claude", "", 0},
	} {
		got, ok := p.FindTarget(c.account, c.model)
		if got != c.want || ok != (c.want != 0) {
			t.Errorf("%s at %s: got %#x %v, want %#x", c.model, c.account, uint32(got), ok, uint32(c.want))
		}
	}
}

// No metric of the engine may be charged without the policy's knowing it.
func TestEveryMetricHasAnAmount(t *testing.T) {
	for _, name := range limiter.BuiltinMetrics() {
		m, _ := limiter.BuiltinMetric(name)
		p := single(t, "generic", "gpt-5", []limiter.Metric{m}, []limiter.Metric{m}, config.ChargeOverrides{})
		cmd := acquire(t, p, request())
		if len(cmd.Targets[0].Charges) == 0 || cmd.Targets[0].Charges[0].Amount == 0 {
			t.Errorf("%s: got %v, want an amount", name, cmd.Targets[0].Charges)
		}
	}
}
