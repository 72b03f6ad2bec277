package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
)

// told lists charges as "metric amount scopes", p for the pool, o for the owner, with ! for what
// counts on completion and ~ for what is given back.
func told(charges []limiter.Charge) (list []string) {
	for _, c := range charges {
		s := fmt.Sprintf("%v %d ", c.Metric, c.Amount)
		for _, f := range []struct {
			flag limiter.ChargeFlags
			mark string
		}{{limiter.ToPool, "p"}, {limiter.ToOwner, "o"}, {limiter.OnCompletion, "!"}, {limiter.Refundable, "~"}} {
			if c.Flags&f.flag != 0 {
				s += f.mark
			}
		}
		list = append(list, s)
	}
	return list
}

// TestDrawCharges: what is charged where, by what a gateway tells.
func TestDrawCharges(t *testing.T) {
	images := limiter.Unit("images")
	hits := func(m limiter.Metric, n int64) MetricHits { return MetricHits{m, n} }
	for _, tt := range []struct {
		name string
		draw Draw
		want string // by target
	}{
		{"the owner alone", Draw{Call: true, Tokens: Some[int64](70)}, "requests 1 o, tokens 70 o~, cost 0 o~"},
		{"a pool", Draw{Model: "gpt-5", Account: "azure-weu", Call: true, Tokens: Some[int64](70)},
			"requests 1 po, tokens 70 p, tokens 70 o~, cost 700 o~"}, // at the price of output
		{"a pool, held", Draw{Model: "gpt-5", Account: "azure-weu", Call: true, Held: true},
			"requests 1 po, concurrency 1 o"},
		{"input and output", Draw{Model: "claude-sonnet-5", Metrics: []MetricHits{hits(limiter.InputTokens, 1000), hits(limiter.OutputTokens, 100)}},
			"input_tokens 1000 p, output_tokens 100 p!, tokens 1100 o~, cost 5250 o~"}, // what is not cached may be written to the cache
		{"input alone", Draw{Model: "claude-sonnet-5", Metrics: []MetricHits{hits(limiter.InputTokens, 1000)}}, "input_tokens 1000 p"},
		{"a cost", Draw{Model: "claude-sonnet-5", Metrics: []MetricHits{hits(limiter.Cost, 9)}}, "cost 9 o~"},
		{"a unit", Draw{Account: "openai-main", Model: "gpt-5-mini", Metrics: []MetricHits{hits(images, 3)}}, "unit 3 p"},
		{"the larger of two", Draw{Model: "claude-sonnet-5", Tokens: Some[int64](40), Metrics: []MetricHits{hits(limiter.OutputTokens, 90)}},
			"input_tokens 40 p, output_tokens 90 p!, tokens 40 o~, cost 600 o~"},
		{"what is given back is nothing that is asked for", Draw{Model: "claude-sonnet-5", Tokens: Some[int64](-40)},
			"input_tokens 0 p, output_tokens 0 p!, tokens 0 o~, cost 0 o~"},
		{"a check", Draw{Model: "claude-sonnet-5", Check: true, Tokens: Some[int64](0)},
			"requests 1 po, input_tokens 1 p, output_tokens 1 p!, tokens 1 o~, cost 1 o~"},
	} {
		tt.draw.Project = "search"
		cfg := acme()
		p := compile(t, cfg)
		var cmd limiter.Acquire
		if err := p.Draw(&tt.draw, &cmd); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if len(cmd.Targets) != 1 || !cmd.Unpaced || cmd.MaxWait != 0 {
			t.Errorf("%s: got %+v", tt.name, cmd)
		}
		got := strings.Join(told(cmd.Targets[0].Charges), ", ")
		got = strings.ReplaceAll(got, "p~", "p") // refunds of a pool are the profile's, and tested there
		if got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// TestDrawLeavesNothing: a command that a draw has used serves a worker's request as if it had
// not.
func TestDrawLeavesNothing(t *testing.T) {
	p := compile(t, acme())
	var used, fresh limiter.Acquire
	if err := p.Draw(&Draw{Project: "search", Model: "gpt-5", Tokens: Some[int64](5), Call: true}, &used); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*limiter.Acquire{&used, &fresh} {
		if err := p.Acquire(request(), cmd); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprintf("%+v", used), fmt.Sprintf("%+v", fresh); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestSettleDraw: what a call has used, by what is told at its end.
func TestSettleDraw(t *testing.T) {
	p := single(t, "anthropic", "claude-sonnet-5", []limiter.Metric{limiter.Requests, limiter.InputTokens, limiter.OutputTokens}, []limiter.Metric{limiter.Tokens}, config.ChargeOverrides{})
	id, _ := p.FindTarget("a", "claude-sonnet-5")
	had := []limiter.LeaseCharge{
		{Metric: limiter.Requests, Scope: limiter.ScopePool, Amount: 1},
		{Metric: limiter.InputTokens, Scope: limiter.ScopePool, Amount: 80},
		{Metric: limiter.OutputTokens, Scope: limiter.ScopePool, Amount: 20},
		{Metric: limiter.Tokens, Scope: limiter.ScopeOrganization, Amount: 100},
	}
	hits := func(m limiter.Metric, n int64) Draw { return Draw{Metrics: []MetricHits{{m, n}}} }
	for _, tt := range []struct {
		name           string
		draw           Draw
		settled, other string // of its own lease, of a worker's
	}{
		{"not known", Draw{Tokens: Some[int64](0), Held: true}, "", ""},
		{"one request", Draw{Call: true, Held: true}, "", ""},
		{"a sum", Draw{Call: true, Tokens: Some[int64](60)}, "input_tokens 60 p, output_tokens 60 p, tokens 60 o", "input_tokens 60 p, output_tokens 20 p, tokens 60 o"},
		{"a larger sum", Draw{Call: true, Tokens: Some[int64](600)}, "input_tokens 600 p, output_tokens 600 p, tokens 600 o", "input_tokens 80 p, output_tokens 20 p, tokens 600 o"},
		{"given back", Draw{Tokens: Some[int64](-30)}, "input_tokens 50 p, output_tokens 0 p, tokens 70 o", "input_tokens 50 p, output_tokens 0 p, tokens 70 o"},
		{"both parts", Draw{Metrics: []MetricHits{{limiter.InputTokens, 90}, {limiter.OutputTokens, 5}}}, "input_tokens 90 p, output_tokens 5 p, tokens 95 o", "input_tokens 90 p, output_tokens 5 p, tokens 95 o"},
		{"one part", hits(limiter.OutputTokens, 7), "output_tokens 7 p", "output_tokens 7 p"},
		{"more requests", hits(limiter.Requests, 3), "requests 3 p", "requests 3 p"},
	} {
		var own, worker limiter.Release
		var report limiter.Report
		p.Settle(&tt.draw, id, had, &own)
		p.SettleWorker(&tt.draw, id, had, &worker)
		p.ReportDraw(&tt.draw, id, had, &report)
		for _, x := range []struct {
			who       string
			got, want string
		}{
			{"own", strings.Join(told(own.Actual), ", "), tt.settled},
			{"a worker's", strings.Join(told(worker.Actual), ", "), tt.other},
			{"reported", strings.Join(told(report.Actual), ", "), tt.other},
		} {
			if x.got != x.want {
				t.Errorf("%s, %s: got %q, want %q", tt.name, x.who, x.got, x.want)
			}
		}
	}
	var gone limiter.Release
	p.Settle(&Draw{Tokens: Some[int64](60)}, id+1, had, &gone)
	if len(gone.Actual) != 0 || gone.Outcome != limiter.Used {
		t.Errorf("a target that is not there: got %+v, want as estimated", gone)
	}
}

// TestDrawTargets: whom a draw may go to.
func TestDrawTargets(t *testing.T) {
	p := compile(t, acme())
	for _, tt := range []struct {
		draw Draw
		want string
	}{
		{Draw{}, "owner "},
		{Draw{Model: "gpt-latest"}, "azure-weu/gpt-5 gpt-5,openai-main/gpt-5 gpt-5,openai-main/gpt-5-mini gpt-5-2026-01-01"},
		{Draw{Model: "gpt-5", Account: "azure-weu"}, "azure-weu/gpt-5 gpt-5"},
		{Draw{Account: "claude"}, "claude/sonnet claude-sonnet-5"},
		{Draw{Route: "smart"}, "openai-main/gpt-5 gpt-5,azure-weu/gpt-5 gpt-5,claude/sonnet claude-sonnet-5,openai-main/gpt-5-mini gpt-5-mini"},
		{Draw{Route: "smart", Account: "claude"}, "claude/sonnet claude-sonnet-5"},
	} {
		tt.draw.Project = "p"
		var cmd limiter.Acquire
		if err := p.Draw(&tt.draw, &cmd); err != nil {
			t.Errorf("%+v: %v", tt.draw, err)
			continue
		}
		var got []string
		for _, x := range cmd.Targets {
			got = append(got, x.Pool+" "+x.Model)
		}
		if strings.Join(got, ",") != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.draw, strings.Join(got, ","), tt.want)
		}
	}
	for _, tt := range []struct {
		draw Draw
		want string
	}{
		{Draw{Account: "openai-main"}, `descriptors: account "openai-main" has several pools: add an entry model, one of gpt-5, gpt-5-mini, gpt-5-2026-01-01`},
		{Draw{Account: "claud"}, `unknown account "claud"; the nearest is "claude"`},
		{Draw{Account: "claude", Model: "gpt-5"}, `unknown target "claude/gpt-5"`},
	} {
		tt.draw.Project = "p"
		if err := p.Draw(&tt.draw, &limiter.Acquire{}); err == nil || err.Error() != tt.want {
			t.Errorf("%+v: got %v, want %s", tt.draw, err, tt.want)
		}
	}
}

// TestDefaultProject: for whom a gateway draws that names nobody.
func TestDefaultProject(t *testing.T) {
	named := func(names ...string) (list []limiter.ProjectSpec) {
		for _, n := range names {
			list = append(list, limiter.ProjectSpec{Name: n, Weight: 1})
		}
		return list
	}
	for _, tt := range []struct {
		projects []limiter.ProjectSpec
		template bool
		want     string
	}{
		{named("a", "envoy"), false, "envoy"},
		{named("a"), true, "envoy"},
		{named("a"), false, "a"},
		{named("a", "b"), false, ""},
	} {
		cfg := acme()
		org := &cfg.Organizations[0]
		org.Projects = tt.projects
		if !tt.template {
			org.Template = nil
		}
		if got := compile(t, cfg).DefaultProject(); got != tt.want {
			t.Errorf("%v, %t: got %q, want %q", tt.projects, tt.template, got, tt.want)
		}
	}
}

// TestMetricNames: metrics are known by the names that the configuration has for them.
func TestMetricNames(t *testing.T) {
	p := compile(t, acme())
	for name, want := range map[string]limiter.Metric{"tokens": limiter.Tokens, "images": limiter.Unit("images")} {
		if got, err := p.Metric(name); err != nil || got != want {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	var unknown *NotFound
	if _, err := p.Metric("image"); !errors.As(err, &unknown) || unknown.Nearest != "images" {
		t.Errorf("got %v, want the nearest name", err)
	}
}

// TestDebt: what is charged by force goes where a draw would have gone first, and is over.
func TestDebt(t *testing.T) {
	p := compile(t, acme())
	var via limiter.Acquire
	var cmd limiter.Restore
	d := Draw{Project: "search", Model: "gpt-5", Account: "azure-weu", Call: true, Tokens: Some[int64](70), Lease: limiter.LeaseID{Incarnation: 1, Count: 2}}
	if err := p.Debt(&d, &via, &cmd); err != nil || len(cmd.Leases) != 1 {
		t.Fatalf("got %+v, %v", cmd, err)
	}
	l := cmd.Leases[0]
	if !l.Settled || l.Age != 0 || l.Pool != "azure-weu/gpt-5" || l.Project != "search" || l.Class != "standard" || l.Lease != d.Lease {
		t.Errorf("got %+v", l)
	}
	if !slices.ContainsFunc(l.Charges, func(c limiter.HeldCharge) bool { return c.Metric == limiter.Tokens && c.Amount == 70 && c.Late }) {
		t.Errorf("got %+v", l.Charges)
	}
}
