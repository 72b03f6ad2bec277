package backoff

import (
	"errors"
	"iter"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/limiter/simulate/trace"
)

func stream(rows ...trace.Row) iter.Seq2[trace.Row, error] {
	return func(yield func(trace.Row, error) bool) {
		for i, row := range rows {
			row.Index = i
			if !yield(row, nil) {
				return
			}
		}
	}
}

func run(t *testing.T, c Config, rows iter.Seq2[trace.Row, error]) *Result {
	t.Helper()
	r, err := Run(c, rows)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tokens(quota int64, shape provider.Shape) provider.Config {
	return provider.Config{
		Limits: []provider.Limit{{Metric: provider.Tokens, Quota: quota, Window: time.Minute, Shape: shape}},
		Charge: provider.Charge{Estimate: provider.EstimateInput},
	}
}

func ask(at time.Duration, input int64, class string) trace.Row {
	return trace.Row{At: at, Input: input, Client: "p", Class: class, MaxOutput: 1}
}

// By hand, no jitter on the way: 60 tokens a minute, a bucket. Each refused call is told
// when it would have fitted, but others come first.
func TestRetryAfterObeyed(t *testing.T) {
	r := run(t, Config{Provider: tokens(60, provider.Bucket), SDK: OpenAIPython}, stream(
		ask(0, 60, "a"),   // admitted
		ask(1*s, 11, "b"), // told 10 s: admitted at 11 s
		ask(2*s, 20, "b"), // told 18 s: back at 20 s, when 60−20+11 = 51 are used: 11 s more, admitted at 31 s
		ask(3*s, 61, "a"), // too large: tells nothing, two short retries, failed
	))
	want := Group{Name: "all", Offered: 4, Served: 3, Failed: 1, TooLarge: 1, Throttled: 1 + 2 + 3, Tokens: 91,
		Wait50: 10 * s, Wait99: 29 * s, WaitMax: 29 * s}
	if r.Total != want {
		t.Errorf("got  %+v\nwant %+v", r.Total, want)
	}
	if len(r.Classes) != 2 || r.Classes[0].Name != "a" || r.Classes[0].Failed != 1 || r.Classes[1].Served != 2 || len(r.Projects) != 1 || r.Projects[0].Offered != 4 {
		t.Errorf("classes %+v\nprojects %+v", r.Classes, r.Projects)
	}
	if r.Span != 3*s || r.End != 31*s || r.Report.Accepted != 3 || r.Report.Calls != 9 || r.Report.Limits[0].Worst.Amount != 91 {
		t.Errorf("span %v, end %v, report %+v", r.Span, r.End, r.Report)
	}
	if !strings.Contains(r.String(), "failed 1 (25.0 %, 1 too large), 429s 6") {
		t.Errorf("printed as %s", r)
	}
}

// Without a Retry-After the two short retries, at most 1.5 s in all, end long before
// there is room.
func TestSilent(t *testing.T) {
	r := run(t, Config{Provider: tokens(60, provider.Fixed), SDK: OpenAIPython, Silent: true}, stream(
		ask(0, 60, "a"),
		ask(57*s, 1, "b"),        // failed by 58.5 s
		ask(59*s+200*ms, 1, "c"), // one of the two comes after the edge
	))
	if got := []int64{r.Classes[0].Served, r.Classes[1].Failed, r.Classes[1].Throttled, r.Classes[2].Served}; !reflect.DeepEqual(got, []int64{1, 1, 3, 1}) {
		t.Errorf("got %v\n%s", got, r)
	}
	if wait := r.Classes[2].WaitMax; wait < 800*ms || wait > 1500*ms {
		t.Errorf("waited %v", wait)
	}
}

// A call holds its slot for as long as Service says.
func TestService(t *testing.T) {
	c := Config{
		Provider: provider.Config{Limits: []provider.Limit{{Metric: provider.Concurrency, Quota: 1, Shape: provider.Stock}}},
		Service:  func(r trace.Row) time.Duration { return time.Duration(r.Output) * s },
		SDK:      GenAI,
	}
	r := run(t, c, stream(
		trace.Row{At: 0, Output: 5},
		trace.Row{At: 5*s - 1, Output: 1}, // failed
		trace.Row{At: 5 * s, Output: 2},   // the completion of that instant came first
	))
	if r.Total.Served != 2 || r.Total.Failed != 1 || r.End != 7*s || r.Report.Limits[0].Worst.Amount != 1 {
		t.Errorf("got %+v, end %v", r.Total, r.End)
	}
	if use := r.Provider.Use(0, 0, 7*s); use != 1 {
		t.Errorf("use %v, want 1", use)
	}
}

// A real trace under twice the load: the fleet is refused, fails and repeats exactly.
func TestOverload(t *testing.T) {
	rows, err := trace.Read("../trace/testdata/azure_2023_conv.csv", trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	looped := func(yield func(trace.Row, error) bool) {
		for row := range trace.Loop(rows, 10*time.Minute) {
			if !yield(row, nil) {
				return
			}
		}
	}
	var demand int64
	for row := range looped {
		row = trace.Fill{}.Apply(row)
		demand += row.Input + row.MaxOutput
	}
	config, err := provider.Preset("openai", provider.Quotas{Requests: 10_000, Tokens: demand / 20})
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Provider: config, SDK: OpenAIPython, Transit: s, Seed: 1,
		Service: func(r trace.Row) time.Duration { return s + time.Duration(r.Output)*20*ms }}
	r := run(t, c, looped)
	g := r.Total
	if g.Failed == 0 || g.Throttled < g.Failed || g.Offered != g.Served+g.Failed || r.Report.Limits[1].Peak.Over() {
		t.Errorf("got %s", r)
	}
	var sum int64
	for _, p := range r.Projects {
		sum += p.Offered
	}
	if len(r.Classes) != 3 || len(r.Projects) != 8 || sum != g.Offered {
		t.Errorf("%d classes, %d projects of %d rows", len(r.Classes), len(r.Projects), sum)
	}
	again := run(t, c, looped)
	again.Provider, r.Provider = nil, nil
	if !reflect.DeepEqual(r, again) {
		t.Errorf("two runs differ:\n%s\n%s", r, again)
	}
	c.Seed = 2
	if other := run(t, c, looped); reflect.DeepEqual(r.Total, other.Total) {
		t.Error("the seed changes nothing")
	}
}

func TestRunErrors(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		config Config
		rows   iter.Seq2[trace.Row, error]
	}{
		"rows":     {Config{}, func(yield func(trace.Row, error) bool) { yield(trace.Row{}, broken) }},
		"order":    {Config{}, stream(trace.Row{At: 2}, trace.Row{At: 1})},
		"transit":  {Config{Transit: -1}, stream()},
		"retries":  {Config{SDK: SDK{Retries: -1}}, stream()},
		"delay":    {Config{SDK: SDK{Retries: 1}}, stream()},
		"provider": {Config{Provider: provider.Config{Bin: 1}}, stream()},
	} {
		if _, err := Run(c.config, c.rows); err == nil {
			t.Errorf("%s: no error", name)
		} else if name == "rows" && !errors.Is(err, broken) {
			t.Errorf("rows: %v", err)
		}
	}
}
