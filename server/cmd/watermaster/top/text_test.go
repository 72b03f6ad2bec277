package top

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		text     string
		width    int
		cut, mid string
	}{
		{"", 0, "", ""},
		{"abc", 3, "abc", "abc"},
		{"abc", 2, "a…", "a…"},
		{"abc", 0, "", ""},
		{"pool/openai/gpt-5", 12, "pool/openai…", "pool/o…gpt-5"},
		{"調査調査調査調査", 16, "調査調査調査調査", "調査調査調査調査"},
		{"調査調査調査調査", 9, "調査調査…", "調査…調査"},
		{"調査調査調査調査", 10, "調査調査…", "調査…調査"},
		{"調査", 1, "…", "…"},
		{"e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301", 8, "e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301…", "e\u0301e\u0301e\u0301e\u0301…e\u0301e\u0301e\u0301"},
	} {
		if got := cut(tt.text, tt.width); got != tt.cut {
			t.Errorf("cut %q to %d: %q, want %q", tt.text, tt.width, got, tt.cut)
		}
		if got := squeeze(tt.text, tt.width); got != tt.mid {
			t.Errorf("squeeze %q to %d: %q, want %q", tt.text, tt.width, got, tt.mid)
		}
	}
}

func TestClean(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"search", "search"},
		{"two words", "two words"},
		{"調査 é e\u0301 🙂", "調査 é e\u0301 🙂"},
		{"\x1b[31m", "?[31m"},
		{"a\nb\tc\rd\x00\x7f\u009b", "a?b?c?d???"},
		{"a\u202eb\u200bc\u200d\u2028", "a?b?c??"},
		{"bad\xff", "bad?"},
		{"☺\ufe0f", "☺"},
		{"a\u00a0b\u3000c", "a?b?c"},
	} {
		if got := clean(tt.text); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestAmount(t *testing.T) {
	for _, tt := range []struct {
		metric string
		v      int64
		want   string
	}{
		{"tokens", 0, "0"}, {"tokens", 9999, "9999"}, {"tokens", 10_000, "10k"}, {"tokens", 12_345, "12.3k"},
		{"tokens", 12_399, "12.3k"}, {"tokens", 199_999, "199k"}, {"tokens", 200_000, "200k"}, {"tokens", 1_234_567, "1.23M"},
		{"tokens", 999_999_999, "999M"}, {"tokens", 1_000_000_000_000, "1T"}, {"tokens", 1<<63 - 1, "9.22E"}, {"tokens", -20_000, "-20k"},
		{"cost", 0, "$0"}, {"cost", 432_100, "$0.432"}, {"cost", 1_000_000, "$1"}, {"cost", 12_340_000, "$12.34"}, {"cost", 500_000_000, "$500"}, {"cost", 12_345_000_000, "$12.3k"},
	} {
		if got := amount(tt.metric, tt.v); got != tt.want {
			t.Errorf("%s %d: %s, want %s", tt.metric, tt.v, got, tt.want)
		}
	}
	for _, tt := range []struct {
		metric string
		v      int64
		want   string
	}{{"tokens", 0, "0"}, {"tokens", 999, "999"}, {"tokens", 1000, "1,000"}, {"tokens", 1_234_567, "1,234,567"}, {"tokens", -100_000, "-100,000"}, {"cost", 12_345_678, "$12.35"}, {"cost", 5_000_000, "$5"}} {
		if got := exact(&pb.LimitHeadroom{Metric: tt.metric}, tt.v); got != tt.want {
			t.Errorf("exactly %s %d: %s, want %s", tt.metric, tt.v, got, tt.want)
		}
	}
}

func TestParts(t *testing.T) {
	for _, tt := range []struct {
		v       float64
		percent string
		slope   string
		bar     string
	}{
		{v: 0, percent: "0%", slope: "0", bar: "░░░░"},
		{v: 0.004, percent: "<1%", slope: "0", bar: "█░░░"},
		{v: 0.5, percent: "50%", slope: "+50", bar: "██░░"},
		{v: 0.999, percent: "99%", slope: "+100", bar: "███░"},
		{v: 1, percent: "100%", slope: "+100", bar: "████"},
		{v: 1.4, percent: "140%", slope: "+140", bar: "████"},
		{v: 1e9, percent: ">9999%", slope: ">+999", bar: "████"},
		{v: -1e9, percent: "0%", slope: "<-999", bar: "░░░░"},
	} {
		if got := percent(tt.v); got != tt.percent {
			t.Errorf("percent of %g: %s, want %s", tt.v, got, tt.percent)
		}
		if got := slope(tt.v); got != tt.slope {
			t.Errorf("slope of %g: %s, want %s", tt.v, got, tt.slope)
		}
		if got := bar(tt.v, 4); got != tt.bar {
			t.Errorf("bar of %g: %s, want %s", tt.v, got, tt.bar)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "0ms"}, {999 * time.Millisecond, "999ms"}, {12*time.Second + 900*time.Millisecond, "12s"},
		{60 * time.Second, "1m"}, {90 * time.Second, "1m30s"}, {59 * time.Minute, "59m"}, {90 * time.Minute, "1h30m"},
		{9*time.Hour + 59*time.Minute, "9h59m"}, {47 * time.Hour, "47h"}, {365 * 24 * time.Hour, "365d"},
	} {
		if got := duration(tt.d); got != tt.want || len(got) > 6 {
			t.Errorf("%s: %s, want %s", tt.d, got, tt.want)
		}
	}
}

func TestSparkline(t *testing.T) {
	hour := make([]float64, 60)
	for i := range hour {
		hour[i] = float64(i) / 59
	}
	peak := make([]float64, 360)
	peak[359-40] = 1 // almost seven minutes ago
	for _, tt := range []struct {
		name string
		step time.Duration
		of   []float64
		want string
	}{
		{"nothing", time.Minute, nil, "          "},
		{"no step", 0, []float64{1}, "          "},
		{"two minutes", time.Minute, []float64{0.5, 0.5}, "         ▄"},
		{"a rise", time.Minute, hour, "▁▂▃▃▄▅▅▆▇█"},
		{"a peak among tens of seconds", 10 * time.Second, peak, "▁▁▁▁▁▁▁▁█▁"},
		{"more than an hour", time.Minute, append([]float64{1, 1, 1}, make([]float64, 60)...), "▁▁▁▁▁▁▁▁▁▁"},
		{"a debt", 5 * time.Minute, []float64{1.4, 0.99}, "         █"},
	} {
		if got := sparkline(&pb.Trend{Utilization: tt.of, Step: durationpb.New(tt.step)}, 10); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestOrders(t *testing.T) {
	h := busy()
	for _, tt := range []struct {
		order  Order
		filter string
		want   string
	}{
		{ByName, "", "cost/day requests/min concurrency tokens/min burst"},
		{ByUse, "", "tokens/min requests/min concurrency cost/day burst"},
		{ByWaiting, "", "tokens/min requests/min concurrency cost/day burst"},
		{ByName, "OPENAI", "concurrency tokens/min"},
		{ByName, "east/gpt-5 req", "requests/min"},
		{ByUse, "nothing", ""},
	} {
		var got []string
		for _, r := range rowsOf(h, 0, tt.order, tt.filter) {
			got = append(got, r.limit.Name)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s %q: %v, want %s", tt.order, tt.filter, got, tt.want)
		}
	}
	h.Limits[4].ByClass[0].Waiting = 5000
	if got := rowsOf(h, 0, ByWaiting, "")[0]; got.name != "burst (tokens)" || got.waiting != 5000 {
		t.Errorf("%s with %d waiting is first, want burst (tokens) with 5000", got.name, got.waiting)
	}
	near := headroom(limit("project/a", "tokens", 1000, 801), limit("project/b", "tokens", 1000, 804))
	if got := rowsOf(near, 0, ByUse, "")[0]; got.scope != "project/a" {
		t.Errorf("%s is first: lines change places within a percent", got.scope)
	}
}
