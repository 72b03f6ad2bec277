package simulate

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/backoff"
)

var update = flag.Bool("update", false, "write the golden files")

// tight is an account that the samples overload; its tenths are configured for those that
// count in tenths.
const tight = `
organizations:
	acme:
		accounts:
			main:
				margin: 0%
				pools:
					gpt: {models: [gpt-5], limits: {requests: [100/min, 10/6s], tokens: [100k/min, 10k/6s]}}
`

func sample(t testing.TB, text, file string) Options {
	o := options(t, text, samples+file)
	o.Load, o.Seed, o.Alone, o.SDK = 1.5, 3, false, backoff.OpenAIPython
	return o
}

func mustReplay(t testing.TB, o Options) *Outcome {
	t.Helper()
	out, err := Replay(o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	path := "testdata/" + file
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got\n%s\nwant\n%s", path, got, want)
	}
}

func TestText(t *testing.T) {
	out := mustReplay(t, sample(t, tight, "servegen_image.csv"))
	var b bytes.Buffer
	if err := out.Report.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "servegen_image.txt", b.Bytes())
}

func TestTextAlone(t *testing.T) {
	o := sample(t, tight, "azure_2023_conv.csv")
	o.Alone = true
	out := mustReplay(t, o)
	var b bytes.Buffer
	if err := out.Report.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); strings.Contains(s, "ack-off") {
		t.Errorf("nobody asked for back-off:\n%s", s)
	}
}

func TestJSON(t *testing.T) {
	out := mustReplay(t, sample(t, tight, "servegen_image.csv"))
	text, err := json.MarshalIndent(out.Report, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "servegen_image.json", append(text, '\n'))
	var back Report
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, out.Report) {
		t.Errorf("read back\n%+v\nwant\n%+v", back, out.Report)
	}
}

func TestSameSeedSameOutcome(t *testing.T) {
	plot := func(out *Outcome) string {
		var b bytes.Buffer
		if err := out.WritePlot(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	o := sample(t, tight, "azure_2023_conv.csv")
	one, two := mustReplay(t, o), mustReplay(t, o)
	if !reflect.DeepEqual(one.Report, two.Report) || plot(one) != plot(two) {
		t.Error("the same seed gave two outcomes")
	}
	o.Seed++
	if other := mustReplay(t, o); reflect.DeepEqual(one.Report.All, other.Report.All) {
		t.Error("another seed gave the same outcome")
	}
}

// What a report adds up must add up, and no provider may refuse a call, whatever its shape.
func TestNeverRefusedByAnyShape(t *testing.T) {
	for _, file := range []string{"azure_2023_conv.csv", "servegen_image.csv", "servegen_r1.csv", "mooncake_synthetic.jsonl"} {
		text := tight
		if strings.HasPrefix(file, "mooncake") { // of larger calls
			text = strings.NewReplacer("100k/min", "2M/min", "10k/6s", "200k/6s").Replace(tight)
		}
		for _, shape := range Shapes() {
			for seed := range uint64(5) {
				o := sample(t, text, file)
				o.Shape, o.Seed, o.Alone = shape, seed, true
				r := mustReplay(t, o).Report
				all := r.All.Watermaster
				if all.Throttled != 0 || all.Failed != 0 {
					t.Errorf("%s, %s, seed %d: %d 429s, %d failed", file, shape, seed, all.Throttled, all.Failed)
				}
				for _, l := range r.Limits {
					if l.Watermaster.Peak > 1 {
						t.Errorf("%s, %s, seed %d: %s at %v of its quota", file, shape, seed, l.Limit, l.Watermaster.Peak)
					}
				}
				checkSums(t, &r)
			}
		}
	}
}

func checkSums(t *testing.T, r *Report) {
	t.Helper()
	for _, groups := range [][]Group{r.Classes, r.Projects} {
		var offered, served, refused int64
		for _, g := range groups {
			offered += g.Offered
			served += g.Watermaster.Served
			refused += g.Watermaster.Refused
		}
		if all := r.All; offered != all.Offered || served != all.Watermaster.Served || refused != all.Watermaster.Refused || offered != served+refused {
			t.Errorf("%d of %d served and %d refused; in all %+v", served, offered, refused, all)
		}
	}
}

// Every preset, with the limits that its provider has, must agree with what policy holds: a stand-in
// that charges more than the limiter thinks would refuse.
func TestPresetsAgree(t *testing.T) {
	for _, c := range []struct{ account, model, limits string }{
		{"provider: openai", "m", "requests: 100/min, tokens: 100k/min"},
		{"provider: azure", "m", "requests: [100/min, 20/10s], tokens: 100k/min"},
		{"provider: anthropic", "claude-sonnet-5", "requests: 100/min, input_tokens: 100k/min, output_tokens: 10k/min"},
		{"provider: anthropic", "claude-haiku-3.5", "tokens: 100k/min"},
		{"provider: gemini", "m", "requests: 100/min, input_tokens: 100k/min"},
		{"provider: gemini", "m", "tokens: 100k/min, output_tokens: 10k/min"},
		{"provider: bedrock", "claude-sonnet-4-5", "tokens: 100k/min"},
		{"provider: bedrock", "claude-sonnet-4-5", "input_tokens: 100k/min, output_tokens: 10k/min"},
		{"provider: mistral", "m", "requests: 100/min, tokens: 100k/min"},
		{"provider: groq", "m", "requests: 100/min, tokens: 100k/min"},
		{"provider: deepseek", "m", "concurrency: 4"},
		{"provider: deepseek", "m", "concurrency: 4, tokens: 100k/min"},
		{"provider: generic", "m", "requests: 100/min, tokens: 100k/min, input_tokens: 90k/min, output_tokens: 20k/min, concurrency: 9"},
		{"provider: openai, charge: {refund: true}", "m", "tokens: 100k/min"},
		{"provider: openai, charge: {admission: max}", "m", "tokens: 100k/min"},
		{"provider: openai, charge: {admission: input}", "m", "tokens: 100k/min, output_tokens: 10k/min"},
		{"provider: openai, charge: {admission: input_and_cap, output_on: completion}", "m", "tokens: 100k/min, output_tokens: 10k/min"},
		{"provider: openai, charge: {output_on: completion}", "m", "tokens: 100k/min, output_tokens: 10k/min"},
		{"provider: openai, charge: {refund: true, burndown: 3}", "m", "tokens: 100k/min"},
		{"provider: anthropic, charge: {output_on: admission}", "m", "output_tokens: 10k/min"},
	} {
		for _, file := range []string{"azure_2023_conv.csv", "servegen_r1.csv"} {
			o := sample(t, strings.ReplaceAll(onePool(c.account, c.limits), "[m]", "["+c.model+"]"), file)
			o.Alone = true
			r := mustReplay(t, o).Report
			if n := r.All.Watermaster.Throttled; n != 0 {
				t.Errorf("%s, %s, %s: %d 429s", c.account, c.limits, file, n)
			}
			for _, l := range r.Limits {
				if l.Watermaster.Peak > 1 && !strings.Contains(c.account, "bedrock") { // output that burns down may exceed its estimate
					t.Errorf("%s, %s, %s: %s at %v of its quota", c.account, c.limits, file, l.Limit, l.Watermaster.Peak)
				}
			}
			checkSums(t, &r)
		}
	}
}

func TestReplayErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"shape", func(o *Options) { o.Shape = "round" }, `unknown shape "round": there are auto bucket sliding fixed quantised`},
		{"route", func(o *Options) { o.Route = "smart" }, `unknown route "smart"`},
		{"model", func(o *Options) { o.Model = "gpt-4" }, `unknown model "gpt-4"`},
		{"both", func(o *Options) { o.Route, o.Model = "a", "b" }, "not both"},
		{"organization", func(o *Options) { o.Organization = "acne" }, `unknown organization "acne": there are acme`},
		{"no file", func(o *Options) { o.Trace = "nowhere.csv" }, "no such file"},
		{"no rows", func(o *Options) { o.Trace = write(t, ownHeader) }, "no rows"},
		{"no rows yet", func(o *Options) { o.Trace, o.Until = write(t, ownHeader), time.Second }, "no rows"},
		{"a broken row", func(o *Options) { o.Trace = write(t, ownHeader+"0,a,batch,x,1\n") }, "trace.csv:2"},
		{"jitter", func(o *Options) { o.Jitter = &Jitter{2, 1} }, "jitter"},
		{"load", func(o *Options) { o.Load = -1 }, "load"},
	} {
		o := sample(t, tight, "azure_2023_conv.csv")
		c.change(&o)
		if _, err := Replay(o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %s", c.name, err, c.want)
		}
	}
}

func TestUntilAndRows(t *testing.T) {
	o := sample(t, tight, "azure_2023_conv.csv")
	o.Rows = 10
	if got := mustReplay(t, o).Report.All.Offered; got != 10 {
		t.Errorf("%d calls of 10 rows", got)
	}
	o.Rows, o.Until = 0, 10*time.Second
	r := mustReplay(t, o).Report
	if r.Arrivals.Duration() >= o.Until || r.All.Offered == 0 || r.All.Offered == 49 {
		t.Errorf("%d calls over %v", r.All.Offered, r.Arrivals.Duration())
	}
}

func TestProgress(t *testing.T) {
	o := sample(t, tight, "azure_2023_conv.csv")
	last := map[string]Progress{}
	o.Progress = func(p Progress) { last[p.Phase] = p }
	out := mustReplay(t, o)
	for _, phase := range []string{"replay", "back-off"} {
		if p := last[phase]; p.Done != 1 || p.Calls != out.Report.All.Offered || p.At != out.ended {
			t.Errorf("%s ends at %+v, want all of %d calls over %v", phase, p, out.Report.All.Offered, out.ended)
		}
	}
}

func TestNotes(t *testing.T) {
	for _, c := range []struct {
		name, text string
		shape      Shape
		jitter     *Jitter
		want       string // "": none of these
	}{
		{"all is well", tight, Auto, nil, ""},
		{"jitter beyond D", tight, Auto, &Jitter{Max: 3 * time.Second}, "the jitter of up to 3s is more than start_within + transit, 1s"},
		{"a limit that no stand-in has", strings.Replace(tight, "requests: [100/min, 10/6s]", "requests: {quota: 1000, window: day, zone: UTC}", 1), Auto, nil,
			"main/gpt: the stand-in does not count requests/day"},
		{"limits of the organization", strings.Replace(tight, "\t\taccounts:", "\t\tlimits: {tokens: 50k/min}\n\t\taccounts:", 1), Auto, nil, "the organization has limits of its own"},
		{"buckets that are none", onePool("provider: openai, margin: 0%", "tokens: 20k/min"), Sliding, nil, "configured as token_bucket"},
		{"tenths that are not configured", onePool("margin: 0%", "tokens: 100k/min"), Quantised, nil, "configure a second limit of a tenth"},
	} {
		o := sample(t, c.text, "servegen_image.csv")
		o.Shape, o.Jitter = c.shape, c.jitter
		notes := strings.Join(mustReplay(t, o).Report.Notes, "\n")
		if c.want == "" && strings.Count(notes, "\n") > 0 || !strings.Contains(notes, c.want) {
			t.Errorf("%s: notes\n%s\nwant one that says %q", c.name, notes, c.want)
		}
	}
}

// Without a limiter the calls of a route are spread over its pools by what they sustain.
func TestBaselineOverPools(t *testing.T) {
	text := onePool("margin: 0%", "tokens: 15k/min") + "      other: {margin: 0%, pools: {p: {models: [m], limits: {tokens: 5k/min}}}}\n"
	o := sample(t, text, "azure_2023_conv.csv")
	o.Load = 8
	out := mustReplay(t, o)
	r := out.Report
	var calls [2]int64
	for i, pool := range out.pools {
		calls[i] = out.baseline.providers[pool].Report().Limits[0].Offered
	}
	if len(out.pools) != 2 || calls[0] == 0 || calls[1] == 0 {
		t.Fatalf("pools %v were offered %v tokens", out.pools, calls)
	}
	b := r.All.BackOff
	if b.Served+b.Failed != r.All.Offered || r.All.Watermaster.Throttled != 0 || b.Throttled == 0 {
		t.Errorf("back-off served %d and failed %d of %d; 429s %d and %d", b.Served, b.Failed, r.All.Offered, r.All.Watermaster.Throttled, b.Throttled)
	}
}
