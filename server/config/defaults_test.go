package config

import (
	"reflect"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// least is as little as a configuration can say.
const least = "organizations: {o: {accounts: {a: {pools: {p: {models: [m], limits: {requests: 60/min}}}}}}}\n"

func TestDefaults(t *testing.T) {
	c := mustParse(t, least)
	a := Account{
		Name: "a", Provider: "generic", Margin: 100_000,
		StartWithin: 700 * time.Millisecond, Transit: 300 * time.Millisecond,
		Pools: []Pool{{Name: "p", Models: []PoolModel{{Name: "m"}}, Limits: []limiter.LimitSpec{{
			Name: "requests/min", Quota: 60, Window: time.Minute, Margin: 100_000, Jitter: time.Second,
		}}}},
	}
	want := []Organization{{
		Name: "o", Accounts: []Account{a}, Template: &limiter.ProjectSpec{Weight: 1}, MaxProjects: 1000, MaxWaiting: 10_000, RetryBudget: 200, MaxReplicas: 8, ColdStart: limiter.Pace,
	}}
	if !reflect.DeepEqual(c.Organizations, want) {
		t.Errorf("got\n%+v\nwant\n%+v", c.Organizations, want)
	}
	classes := []Class{
		{limiter.ClassSpec{Name: "interactive", Weight: 16, Reserve: 50_000}, 10 * time.Second},
		{limiter.ClassSpec{Name: "standard", Weight: 4, Paced: true}, 2 * time.Minute},
		{limiter.ClassSpec{Name: "batch", Weight: 1, MaxWaiting: 5000, Paced: true}, time.Hour},
	}
	if !reflect.DeepEqual(c.Classes, classes) {
		t.Errorf("got\n%+v\nwant\n%+v", c.Classes, classes)
	}
	release := 30 * time.Second
	pressure := [3]PressureStep{
		{At: 800, ReleaseAfter: release},
		{At: 900, Divert: true, ReleaseAfter: release},
		{At: 1000, Divert: true, ReleaseAfter: release},
	}
	if c.Pressure != pressure {
		t.Errorf("got\n%+v\nwant\n%+v", c.Pressure, pressure)
	}
	if len(c.Warnings) != 0 {
		t.Errorf("got warnings %v", c.Warnings)
	}
}

func TestClasses(t *testing.T) {
	c := mustParse(t, least+`
priority_classes:
  low: {paced: false}
  standard: {weight: 8, paced: true, max_wait: 0s}
  also: {weight: 8, reserve: 0.5}
  mid: {weight: 2, max_wait: 3day, max_waiting: 1k}
`)
	want := []Class{
		{limiter.ClassSpec{Name: "standard", Weight: 8, Paced: true}, 0},
		{limiter.ClassSpec{Name: "also", Weight: 8, Reserve: 500_000}, 2 * time.Minute},
		{limiter.ClassSpec{Name: "mid", Weight: 2, MaxWaiting: 1000, Paced: true}, 72 * time.Hour},
		{limiter.ClassSpec{Name: "low", Weight: 1}, 2 * time.Minute},
	}
	if !reflect.DeepEqual(c.Classes, want) {
		t.Errorf("got\n%+v\nwant\n%+v", c.Classes, want)
	}
}

// A level says what the level below it says, where it says nothing.
func TestPressure(t *testing.T) {
	c := mustParse(t, least+"pressure: {elevated: {at: 0.705, divert: true, max_tool_calls: 9, release_after: 1s}, saturated: {divert: false, at: 99%}}\n")
	want := [3]PressureStep{
		{At: 705, Divert: true, MaxToolCalls: 9, ReleaseAfter: time.Second},
		{At: 900, Divert: true, MaxToolCalls: 9, ReleaseAfter: time.Second},
		{At: 990, MaxToolCalls: 9, ReleaseAfter: time.Second},
	}
	if c.Pressure != want {
		t.Errorf("got\n%+v\nwant\n%+v", c.Pressure, want)
	}
}

func TestProjects(t *testing.T) {
	for _, row := range []struct {
		projects string
		named    []limiter.ProjectSpec
		template *limiter.ProjectSpec
	}{
		{"", nil, &limiter.ProjectSpec{Weight: 1}},
		{"projects: {b: , a: {weight: 3, was: c}}", []limiter.ProjectSpec{{Name: "a", Was: "c", Weight: 3}, {Name: "b", Weight: 1}}, nil},
		{"projects: {'*': {weight: 2}}", nil, &limiter.ProjectSpec{Weight: 2}},
		{"projects: {}", nil, nil},
	} {
		o := mustParse(t, inOrganization(row.projects)).Organizations[0]
		if !reflect.DeepEqual(o.Projects, row.named) || !reflect.DeepEqual(o.Template, row.template) {
			t.Errorf("%s: got %+v, %+v; want %+v, %+v", row.projects, o.Projects, o.Template, row.named, row.template)
		}
	}
}

func TestCharge(t *testing.T) {
	c := mustParse(t, inAccount("charge: {admission: max, refund: false, cached_weight: 10%, burndown: 5, output_on: completion, failed_count: true}"))
	admission, refund, cached, burndown, output, failed := "max", false, int64(100), int64(5000), "completion", true
	want := ChargeOverrides{&admission, &refund, &cached, &burndown, &output, &failed}
	if got := c.Organizations[0].Accounts[0].Charge; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	c = mustParse(t, inAccount("margin: 0%"))
	if got := c.Organizations[0].Accounts[0].Charge; got != (ChargeOverrides{}) {
		t.Errorf("got %+v, want nothing replaced", got)
	}
}

func TestUnits(t *testing.T) {
	c := mustParse(t, "units: [images]\norganizations:\n"+
		"  a: {units: [audio_seconds, images], limits: {images: 5/min, audio_seconds: 9/h}, accounts: {x: {pools: {p: {models: [m]}}}}}\n"+
		"  b: {accounts: {x: {pools: {p: {models: [m], limits: {images: 5/min}}}}}}\n")
	for i, want := range [][]string{{"audio_seconds", "images"}, {"images"}} {
		if o := c.Organizations[i]; !reflect.DeepEqual(o.Units, want) {
			t.Errorf("%s: got %v, want %v", o.Name, o.Units, want)
		}
	}
	o := &c.Organizations[0]
	for _, row := range []struct {
		metric limiter.Metric
		want   string
	}{{limiter.Unit("images"), "images"}, {limiter.Tokens, "tokens"}, {limiter.Unit("unheard_of"), "unit"}} {
		if got := o.MetricName(row.metric); got != row.want {
			t.Errorf("metric %d: got %s, want %s", row.metric, got, row.want)
		}
	}
}

// What is legal and yet suspect.
func TestWarnings(t *testing.T) {
	for _, row := range []struct{ file, want string }{
		{atTop(""), "f:1:44: the pool a/p has no limits: all calls to it go ahead"},
		{"models: {gpt-5: {context: 5, max_output: 6}}\n" + least, "f:1:30: the model gpt-5 has a max_output above its context"},
		{"models: {m-5: {}}\norganizations: {o: {accounts: {a: {pools: {p: {models: [m-4], limits: {requests: 60/min}}}}}}}\n",
			"f:2:57: the model \"m-4\" is not in `models`, where \"m-5\" is: its size and price are unknown"},
		{priced + "organizations: {o: {accounts: {a: {pools: {p: {models: [m, n], limits: {cost: $5/day}}}}}}}\n",
			`f:2:60: the model "n" has no price: no limit of cost counts it`},
	} {
		c := mustParse(t, row.file)
		if len(c.Warnings) != 1 || c.Warnings[0].String() != row.want {
			t.Errorf("got %v, want %s", c.Warnings, row.want)
		}
	}
}

// A model is known by its name, its aliases, and the longest prefix of one.
func TestModelIndex(t *testing.T) {
	r := &reader{modTime: written}
	root := r.parse([]byte("models: {a: {aliases: ['x*', y]}, b: {aliases: ['xx*']}, xxx: {}, c: {aliases: ['*']}}"))
	r.readModels(r.fields(root, "it", "models"))
	for _, row := range []struct{ name, want string }{
		{"a", "a"}, {"y", "a"}, {"x", "a"}, {"xy", "a"}, {"xx", "b"}, {"xxy", "b"}, {"xxx", "xxx"}, {"other", "c"},
	} {
		if got, _ := r.models.find(row.name); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}
