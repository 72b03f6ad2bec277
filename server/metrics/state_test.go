package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/watermaster-project/watermaster/limiter"
)

func TestWindowOf(t *testing.T) {
	rows := []struct {
		limit limiter.LimitSpec
		want  string
	}{
		{limiter.LimitSpec{Window: time.Second}, "1s"},
		{limiter.LimitSpec{Window: time.Minute}, "1m"},
		{limiter.LimitSpec{Window: 90 * time.Second}, "1m30s"},
		{limiter.LimitSpec{Window: time.Hour, Shape: limiter.TokenBucket}, "1h"},
		{limiter.LimitSpec{Window: 90 * time.Minute}, "1h30m"},
		{limiter.LimitSpec{Window: 24 * time.Hour}, "24h"},
		{limiter.LimitSpec{Shape: limiter.Calendar, Period: limiter.Day}, "day"},
		{limiter.LimitSpec{Shape: limiter.Calendar, Period: limiter.Week}, "week"},
		{limiter.LimitSpec{Shape: limiter.Calendar, Period: limiter.Month}, "month"},
		{limiter.LimitSpec{Shape: limiter.Stock, Window: 1}, ""},
	}
	for _, r := range rows {
		want(t, "a window", windowOf(&r.limit), r.want)
	}
}

// TestView: every kind of limit and gate under its labels; of two limits that would have the
// same ones the fuller is shown.
func TestView(t *testing.T) {
	s := New(func() State { return State{} })
	tokens := limiter.LimitSpec{Name: "a", Metric: limiter.Tokens, Window: time.Minute, Quota: 100}
	bucket := tokens
	bucket.Name, bucket.Shape = "b", limiter.TokenBucket
	v := View{
		Edition: s.Edition(configured(), &configured().Organizations[0]),
		Limits: []limiter.Limit{
			{Scope: limiter.ScopeOrganization, Spec: tokens, Effective: 90, Held: 30, Reserved: 15},
			{Scope: limiter.ScopePool, Owner: "main/gpt", Spec: tokens, Effective: 100, Held: 50},
			{Scope: limiter.ScopePool, Owner: "main/gpt", Spec: bucket, Effective: 100, Held: 75},
			{Scope: limiter.ScopeProject, Owner: "search", Spec: limiter.LimitSpec{Metric: limiter.Unit("images"), Shape: limiter.Stock, Quota: 4}, Effective: 4, Held: 8},
		},
		Pools: []limiter.PoolView{{Name: "main/gpt", Gates: []limiter.GateView{
			{Opens: 1}, {Opens: 5}, {Opens: 9, Blocked: true}, {Opens: -1}, {Opens: 0, Blocked: true}}}},
	}
	err := testutil.CollectAndCompare(shown(func(to chan<- prometheus.Metric) { v.collect(to) }), strings.NewReader(`
# HELP watermaster_limit_utilization_ratio What a limit has held and reserved, as a part of its effective quota. 1 is full; above 1 after debts or a lowered quota.
# TYPE watermaster_limit_utilization_ratio gauge
watermaster_limit_utilization_ratio{account="",metric="images",organization="acme",pool="",project="search",window=""} 2
watermaster_limit_utilization_ratio{account="",metric="tokens",organization="acme",pool="",project="",window="1m"} 0.5
watermaster_limit_utilization_ratio{account="main",metric="tokens",organization="acme",pool="gpt",project="",window="1m"} 0.75
# HELP watermaster_limit_remaining What a limit has left: effective quota less held and reserved, in the metric's unit (cost in micro-USD).
# TYPE watermaster_limit_remaining gauge
watermaster_limit_remaining{account="",metric="images",organization="acme",pool="",project="search",window=""} 0
watermaster_limit_remaining{account="",metric="tokens",organization="acme",pool="",project="",window="1m"} 45
watermaster_limit_remaining{account="main",metric="tokens",organization="acme",pool="gpt",project="",window="1m"} 25
# HELP watermaster_gates_closed Gates of a pool that are closed now: throttled, until a provider's time is over; blocked, for a reason that waiting does not cure.
# TYPE watermaster_gates_closed gauge
watermaster_gates_closed{account="main",cause="blocked",organization="acme",pool="gpt"} 1
watermaster_gates_closed{account="main",cause="throttled",organization="acme",pool="gpt"} 2
`), "watermaster_limit_utilization_ratio", "watermaster_limit_remaining", "watermaster_gates_closed")
	if err != nil {
		t.Error(err)
	}
}

// TestEditions: another configuration goes on with the counters of what keeps its name.
func TestEditions(t *testing.T) {
	s := New(func() State { return State{} })
	cfg := configured()
	first := s.Edition(cfg, &cfg.Organizations[0])
	again := s.Edition(cfg, &cfg.Organizations[0])
	beta := s.Edition(cfg, &cfg.Organizations[1])
	want(t, "a class", again.Class("batch"), first.Class("batch"))
	want(t, "a pool", again.Pool("main/gpt"), first.Pool("main/gpt"))
	for _, e := range []*Edition{first, beta} {
		e.InForce()
	}
	want(t, "a project", again.Project("search"), first.Project("search"))
	if beta.Class("batch") == first.Class("batch") || beta.Pool("main/gpt") == first.Pool("main/gpt") || beta.Project("only") == first.Project("search") {
		t.Error("organizations share counters")
	}
	want(t, "an unknown class", first.Class("none"), nil)
	for _, name := range []string{"", "main", "main/", "main/gpt2", "main:gpt", "gpt/main"} {
		want(t, "the pool "+name, first.Pool(name), nil)
	}
	want(t, "an unknown project without a template", beta.Project("x"), beta.Project("y"))
	want(t, "projects with limits of their own", strings.Join(first.Projects(nil), " "), "billing search other")
	want(t, "without a template", strings.Join(beta.Projects(nil), " "), "only")
}
