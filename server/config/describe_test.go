package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/watermaster-project/watermaster/limiter"
)

func TestDescribe(t *testing.T) {
	c := mustParse(t, priced+`
organizations:
  o:
    units: [images]
    limits: {cost: $0.5/month}
    accounts:
      a:
        provider: groq
        pools:
          p: {models: [m], limits: {requests: {quota: 600/min, burst: 60}, tokens: 1M/day, concurrency: 5}}
      b:
        pools:
          p: {models: [m], limits: {images: 10k/10s}}
    projects: {x: {limits: {tokens: 1M/min}}, "*": {limits: {tokens: 1k/1h30m}}}
`)
	var b strings.Builder
	if err := c.Describe(&b); err != nil {
		t.Fatal(err)
	}
	want := `
ORGANIZATION  SCOPE         LIMIT         QUOTA      EFFECTIVE  WINDOW  SHAPE               ACHIEVABLE
o             organization  cost/month    $0.5       $0.5       month   calendar            100.0%
o             project x     tokens/min    1,000,000  1,000,000  1m      sliding_window      98.4%
o             project *     tokens/1h30m  1,000      1,000      1h30m   sliding_window      100.0%
o             pool a/p      requests/min  600        540        1m      token_bucket of 60  90.0%
o             pool a/p      tokens/day    1,000,000  900,000    24h     token_bucket        90.0%
o             pool a/p      concurrency   5          5          -       stock               100.0%
o             pool b/p      images/10s    10,000     9,000      10s     sliding_window      81.8%

ORGANIZATION  MAX PROJECTS  MAX WAITING  RETRY BUDGET  WITHOUT STATE
o             1,000         10,000       20%           pace: for 1m1s as if the quota had been used evenly

ORGANIZATION  SCOPE         LIMIT         WHEN AWAY    REPLICAS  EACH AT MOST  NOTE
o             organization  cost/month    as accounts  8         $0.00625
o             project x     tokens/min    as accounts  8         12,500
o             project *     tokens/1h30m  as accounts  8         13
o             pool a/p      requests/min  margin       8         nothing  too little to be divided: the pool grants nothing
o             pool a/p      tokens/day    margin       8         12,500
o             pool a/p      concurrency   margin       8         nothing  too little to be divided: the pool grants nothing
o             pool b/p      images/10s    margin       8         125
`
	if got := "\n" + b.String(); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
}

// before and after are a configuration and the same with much renamed.
const (
	before = `
revision: 7
organizations:
  o:
    limits: {tokens: 5M/min}
    accounts:
      old:
        pools:
          p: {models: [m], limits: {requests: [60/min, 1000/h], tokens: 1M/min}}
          q: {models: [n], limits: {requests: 60/min}}
          gone: {models: [k], limits: {requests: 60/min}}
    projects: {x: {limits: {tokens: 1M/min}}, y: {limits: {tokens: 1M/min}}}
`
	after = `
revision: 8
organizations:
  o2:
    was: o
    limits: {tokens: 6M/min}
    accounts:
      new:
        was: old
        start_within: 1s
        pools:
          p: {models: [m], limits: {requests: [{quota: 60/1m, was: requests/min}, 1000/day], tokens: {quota: 1M/min, shape: token_bucket}}}
          q2: {was: q, models: [n], limits: {requests: {quota: 60/min, margin: 5%}}}
    projects: {x2: {was: x, limits: {tokens: 1M/min}}, z: {limits: {tokens: 1M/min}}}
`
)

func TestCompare(t *testing.T) {
	old, new := mustParse(t, before), mustParse(t, after)
	for _, row := range []struct {
		name     string
		from, to *Config
		want     string
	}{
		{"renamed", old, new, `
STATE  ORGANIZATION  SCOPE         LIMIT         NOTE
kept   o2            organization  tokens/min    quota 5,000,000 -> 6,000,000, D 1s -> 1.3s
kept   o2            project x2    tokens/min    D 1s -> 1.3s
new    o2            project z     tokens/min
kept   o2            pool new/p    requests/1m   was requests/min, D 1s -> 1.3s
new    o2            pool new/p    requests/day
new    o2            pool new/p    tokens/min
lost   o             pool old/p    requests/h
lost   o             pool old/p    tokens/min
kept   o2            pool new/q2   requests/min  margin 10% -> 5%, D 1s -> 1.3s
lost   o             project y     tokens/min
lost   o             pool old/gone  requests/min
`},
		{"the revision goes back", new, mustParse(t, strings.Replace(before, "o:", "other:", 1)), `
STATE  ORGANIZATION  SCOPE          LIMIT         NOTE
`},
	} {
		var b strings.Builder
		if err := Compare(&b, row.from, row.to); err != nil {
			t.Fatal(err)
		}
		if got, want := words(b.String()), words(row.want); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", row.name, b.String(), row.want)
		}
		note := "revision 7 is not above 8: it would not take the place of the old\n"
		if got := strings.HasSuffix(b.String(), note); got != (row.to != new) {
			t.Errorf("%s: told that the revision goes back: %v", row.name, got)
		}
	}
}

// words leaves the widths of columns out.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

// The engine knows a pool as account/pool, so renaming either renames it.
func TestConfigure(t *testing.T) {
	c := mustParse(t, after)
	k := c.Configure(&c.Organizations[0])
	type pool struct{ name, was string }
	var got []pool
	for _, p := range k.Pools {
		got = append(got, pool{p.Name, p.Was})
	}
	if want := []pool{{"new/p", "old/p"}, {"new/q2", "old/q"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	a := c.Organizations[0].Accounts[0]
	want := limiter.PoolSpec{Name: "new/p", Was: "old/p", Models: []string{"m"}, Outputs: []limiter.Moments{{}}, StartWithin: a.StartWithin, Limits: a.Pools[0].Limits}
	if !reflect.DeepEqual(k.Pools[0], want) {
		t.Errorf("got %+v, want %+v", k.Pools[0], want)
	}
	if k.Generation != 8 || k.Hash != c.Hash || len(k.Classes) != 3 || k.MaxProjects != 1000 || k.MaxWaiting != 10_000 ||
		len(k.Limits) != 1 || len(k.Projects) != 2 || k.Template != nil {
		t.Errorf("got %+v", k)
	}

	// Pools ascend by the name that the engine knows: a slash comes after a dash.
	c = mustParse(t, "organizations: {o: {accounts: {a: {pools: {p: {models: [m]}}}, a-b: {pools: {p: {models: [m], was: q}}}}}}")
	got = nil
	for _, p := range c.Configure(&c.Organizations[0]).Pools {
		got = append(got, pool{p.Name, p.Was})
	}
	if want := []pool{{"a-b/p", "a-b/q"}, {"a/p", ""}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
