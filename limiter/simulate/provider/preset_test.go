package provider

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// One call of 1,000 input (400 cached), max 500, that produces 300: what each provider
// counts at once and in the end. 0 quota: not limited there.
func TestPresets(t *testing.T) {
	for _, c := range []struct {
		name              string
		quotas            Quotas
		limits            []string
		admitted, settled []int64
	}{
		{"openai", Quotas{Requests: 600, Tokens: 1e6},
			[]string{"600 requests per 1m0s, bucket", "1000000 tokens per 1m0s, bucket"}, []int64{1, 1500}, []int64{1, 1500}},
		{"azure", Quotas{Requests: 600, Tokens: 1e6},
			[]string{"600 requests per 1m0s, fixed", "100 requests per 10s, fixed", "1000000 tokens per 1m0s, fixed"}, []int64{1, 1, 1500}, []int64{1, 1, 1500}},
		{"anthropic", Quotas{Requests: 50, InputTokens: 1e6, OutputTokens: 1e5},
			[]string{"50 requests per 1m0s, bucket", "1000000 input_tokens per 1m0s, bucket", "100000 output_tokens per 1m0s, bucket"}, []int64{1, 600, 0}, []int64{1, 600, 300}},
		{"gemini", Quotas{Requests: 50, InputTokens: 1e6},
			[]string{"50 requests per 1m0s, sliding", "1000000 input_tokens per 1m0s, sliding"}, []int64{1, 1000}, []int64{1, 1000}},
		{"bedrock", Quotas{Tokens: 1e6}, []string{"1000000 tokens per 1m0s, sliding"}, []int64{1100}, []int64{2100}},
		{"mistral", Quotas{Requests: 5, Tokens: 1e6},
			[]string{"5 requests per 1s, sliding", "1000000 tokens per 1m0s, sliding"}, []int64{1, 1500}, []int64{1, 1500}},
		{"groq", Quotas{Tokens: 8000}, []string{"8000 tokens per 1m0s, bucket"}, []int64{1100}, []int64{1100}},
		{"deepseek", Quotas{Concurrency: 500}, []string{"500 concurrency"}, []int64{1}, []int64{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := Preset(c.name, c.quotas)
			if err != nil {
				t.Fatal(err)
			}
			p := newProvider(t, config)
			p.Arrive(0, Call{ID: 1, Input: 1000, Cached: 400, MaxOutput: 500, Output: 300, Life: 8 * s})
			counted := func(want []int64) {
				t.Helper()
				var limits []string
				var got []int64
				for _, l := range p.Report().Limits {
					limits = append(limits, l.Limit.String())
					got = append(got, l.Accepted)
				}
				if !slices.Equal(limits, c.limits) || !slices.Equal(got, want) {
					t.Errorf("got %q %d\nwant %q %d", limits, got, c.limits, want)
				}
			}
			counted(c.admitted)
			p.Complete(8*s, 1, 300)
			counted(c.settled)
		})
	}
}

func TestPresetErrors(t *testing.T) {
	if _, err := Preset("opanai", Quotas{}); err == nil || !strings.Contains(err.Error(), "openai, azure") {
		t.Errorf("an unknown name: %v", err)
	}
	if _, err := Preset("deepseek", Quotas{Tokens: 1}); err == nil {
		t.Error("DeepSeek has no limit of tokens")
	}
	a, _ := Preset("openai", Quotas{Tokens: 1})
	a.Limits[0].Quota = 99
	if b, _ := Preset("openai", Quotas{Tokens: 1}); b.Limits[0].Quota != 1 {
		t.Error("a preset was changed through its copy")
	}
	if len(Presets()) != 8 {
		t.Errorf("presets %v", Presets())
	}
}

// The judge shares no code with what it judges.
func TestImports(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range tree.Imports {
			if strings.Contains(i.Path.Value, ".") {
				t.Errorf("%s imports %s: the standard library alone", file, i.Path.Value)
			}
		}
	}
}

// One arrival and its completion, at Anthropic's three limits with output in eight steps.
func BenchmarkCall(b *testing.B) {
	config, _ := Preset("anthropic", Quotas{Requests: 60_000, InputTokens: 1e8, OutputTokens: 1e8})
	p, err := New(config)
	if err != nil {
		b.Fatal(err)
	}
	const open = 1000
	var i uint64
	b.ReportAllocs()
	for b.Loop() {
		now := time.Duration(i) * ms
		p.Arrive(now, Call{ID: i, Input: 1000, Output: 300, Life: open * ms})
		if i >= open {
			p.Complete(now, i-open, 300)
		}
		i++
	}
}
