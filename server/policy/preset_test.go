package policy

import (
	"slices"
	"testing"

	"github.com/watermaster-project/watermaster/server/config"
)

// A configuration may name just the providers that have a preset.
func TestPresetsAreTheProviders(t *testing.T) {
	known := config.Providers()
	slices.Sort(known)
	if got := Presets(); !slices.Equal(got, known) {
		t.Errorf("got %v, want %v", got, known)
	}
	if _, ok := Preset("nobody"); ok {
		t.Error("nobody has a preset")
	}
}

func TestPresetsAreComplete(t *testing.T) {
	for _, name := range Presets() {
		p, _ := Preset(name)
		if p.AsOf == "" || p.Burndown < 1000 || p.CacheWriteWeight < 1000 || !p.FailedCount {
			t.Errorf("%s: %+v: it is dated, and nothing counts less than documented", name, p)
		}
		for _, w := range slices.Concat(p.CachedWeights, p.Burndowns) {
			if checkWeight("", w.Weight) != nil || w.Part == "" || w.Part != plain(w.Part) {
				t.Errorf("%s: %+v", name, w)
			}
		}
	}
}

func TestBurndown(t *testing.T) {
	p, _ := Preset("bedrock")
	for _, c := range []struct {
		model string
		want  int64
	}{
		{"anthropic.claude-3-5-sonnet-20241022-v2:0", 1000},
		{"us.anthropic.claude-3-7-sonnet-20250219-v1:0", 5000},
		{"claude-3.7-sonnet", 5000},
		{"us.anthropic.claude-sonnet-4-20250514-v1:0", 5000},
		{"claude-sonnet-4.5", 5000},
		{"anthropic.claude-haiku-4-5-20251001-v1:0", 5000},
		{"Claude-Opus-4.7", 5000},
		{"claude-opus-4-8", 15_000},
		{"claude-sonnet-5", 10_000},
		{"claude-opus-5", 10_000},
		{"claude-fable-5.1", 10_000},
		{"openai.gpt-5.6", 10_000},
		{"meta.llama4", 1000},
	} {
		if got := p.burndown(c.model); got != c.want {
			t.Errorf("%s: got %d, want %d", c.model, got, c.want)
		}
	}
	if got := p.burndown("my-profile", "claude-opus-4-8"); got != 15_000 {
		t.Errorf("by the second name: got %d", got)
	}
}
