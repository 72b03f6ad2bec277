package envoy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/envoy"
	"github.com/watermaster-project/watermaster/server/policy"
)

var translation = envoy.Translation{
	ProjectKeys: []string{"project", "user", "tenant"}, ModelKeys: []string{"model"},
	OrganizationKeys: []string{"generic_key=all"}, Account: "imported", Metric: "requests",
}

// native translates a file, and reads what it became.
func native(t *testing.T, text string, tr envoy.Translation) (*envoy.Limits, *config.Config, string, []string) {
	t.Helper()
	l, err := envoy.Parse([]envoy.File{{Name: "a", Data: []byte(text)}}, envoy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, without := l.Native(tr)
	var told []string
	for _, p := range without {
		told = append(told, p.String())
	}
	if !strings.Contains(string(out), "organizations:") {
		return l, nil, string(out), told
	}
	cfg, err := config.Parse("native.yaml", out, time.Unix(1, 0))
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, o := range cfg.Organizations {
		if _, err := policy.Compile(cfg, o.Name); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
	}
	return l, cfg, string(out), told
}

// limitsOf shows the limits of an organization: of itself, its projects and its pools.
func limitsOf(o *config.Organization) string {
	var all []string
	add := func(of string, limits []limiter.LimitSpec) {
		text := of + ":"
		for _, l := range limits {
			text += fmt.Sprintf(" %d/%v", l.Quota, l.Window)
		}
		all = append(all, text)
	}
	if len(o.Limits) > 0 {
		add("all", o.Limits)
	}
	for _, p := range o.Projects {
		add(p.Name, p.Limits)
	}
	if o.Template != nil {
		add("*", o.Template.Limits)
	}
	for _, a := range o.Accounts {
		for _, p := range a.Pools {
			if p.Name != "any" {
				add(a.Name+"/"+p.Name, p.Limits)
			}
		}
	}
	return strings.Join(all, "; ")
}

// What each thing of the format becomes.
func TestNative(t *testing.T) {
	for _, row := range []struct {
		rule, text string
		want       string // the limits
		told       string // what is said not to be the same; "": nothing
	}{
		{"a bare key is the template", "{key: user, rate_limit: {unit: minute, requests_per_unit: 60}}", "*: 60/1m0s", ""},
		{"a value is a project; others are let through", "{key: user, value: alice, rate_limit: {unit: day, requests_per_unit: 60}}", "alice: 60/24h0m0s; *:", ""},
		{"a value without a limit is let through", "{key: user, value: alice}, {key: user, rate_limit: {unit: week, requests_per_unit: 60}}", "alice:; *: 60/168h0m0s", ""},
		{"unlimited", "{key: user, value: alice, rate_limit: {unlimited: true}}, {key: user, rate_limit: {unit: month, requests_per_unit: 60}}", "alice:; *: 60/720h0m0s", ""},
		{"a model", "{key: model, value: openai/gpt-5, rate_limit: {unit: second, requests_per_unit: 60}}", "*:; imported/openai-gpt-5: 60/1s", ""},
		{"the organization", "{key: generic_key, value: all, rate_limit: {unit: year, requests_per_unit: 60}}", "all: 60/8760h0m0s; *:", ""},
		{"an entry that not every request has", "{key: generic_key, value: x, rate_limit: {unit: hour, requests_per_unit: 60}}", "", "--organization-key generic_key=x makes it"},
		{"a key of neither", "{key: path, rate_limit: {unit: hour, requests_per_unit: 60}}", "", "path is neither a project nor a model"},
		{"a second project's key", "{key: user, rate_limit: {unit: hour, requests_per_unit: 60}}, {key: tenant, rate_limit: {unit: hour, requests_per_unit: 9}}", "*: 60/1h0m0s", "--project-key tenant takes these instead"},
		{"each model alike", "{key: model, rate_limit: {unit: hour, requests_per_unit: 60}}", "", "name the models"},
		{"several entries", "{key: user, value: a, descriptors: [{key: model, value: m, rate_limit: {unit: hour}}]}", "a:; *:", "a limit of several entries"},
		{"shadow_mode stops nothing", "{key: user, value: a, shadow_mode: true, rate_limit: {unit: hour, requests_per_unit: 1}}, {key: user, rate_limit: {unit: hour, requests_per_unit: 60}}", "a:; *: 60/1h0m0s", "shadow_mode has no equivalent"},
		{"quota_mode stops by itself", "{key: user, value: a, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 1}}", "a: 1/1h0m0s; *:", "quota_mode has no equivalent"},
		{"replaces: both hold", "{key: user, value: a, rate_limit: {unit: hour, requests_per_unit: 2, replaces: [{name: n}]}}, {key: model, value: m, rate_limit: {unit: hour, requests_per_unit: 1, name: n}}", "a: 2/1h0m0s; *:; imported/m: 1/1h0m0s", "replaces has no equivalent"},
		{"a wildcard beside the bare key: who it fits must not get more", "{key: user, value: al*, rate_limit: {unit: hour, requests_per_unit: 1}}, {key: user, rate_limit: {unit: hour, requests_per_unit: 60}}, {key: user, value: bob, rate_limit: {unit: hour, requests_per_unit: 2}}", "bob: 2/1h0m0s", "a wildcard has no equivalent"},
		{"a wildcard that stops nobody", "{key: user, value: al*, rate_limit: {unlimited: true}}, {key: user, rate_limit: {unit: hour, requests_per_unit: 60}}", "*: 60/1h0m0s", "a wildcard has no equivalent"},
		{"a ban beside the bare key", "{key: user, value: al, rate_limit: {unit: hour}}, {key: user, rate_limit: {unit: hour, requests_per_unit: 60}}", "", "cannot be shut out"},
		{"a ban of all others", "{key: user, value: al, rate_limit: {unit: hour, requests_per_unit: 5}}, {key: user, rate_limit: {unit: hour}}", "al: 5/1h0m0s", ""},
		{"a name that cannot be one, beside the bare key", "{key: user, value: 'a b', rate_limit: {unit: hour, requests_per_unit: 1}}, {key: user, rate_limit: {unit: hour, requests_per_unit: 60}}", "", "can be no project's name"},
		{"a joined name", "{key: user_al, rate_limit: {unit: hour, requests_per_unit: 1}}, {key: user, rate_limit: {unit: hour, requests_per_unit: 60}}", "", "user_al is neither"},
		{"a ban of all", "{key: generic_key, value: all, rate_limit: {unit: hour}}, {key: user, rate_limit: {unit: hour, requests_per_unit: 5}}", "", "an organization cannot be shut out"},
		{"a banned model", "{key: model, value: m, rate_limit: {unit: hour}}, {key: model, value: n, rate_limit: {unit: hour, requests_per_unit: 1}}", "*:; imported/n: 1/1h0m0s", "is left out: calls for it are refused as unknown"},
		{"a name that would be ignored", "{key: user, value: x-y, rate_limit: {unit: hour, requests_per_unit: 1}}", "", "can be no project's name"},
		{"two models of one name", "{key: model, value: a/b, rate_limit: {unit: hour, requests_per_unit: 1}}, {key: model, value: a-b, rate_limit: {unit: hour, requests_per_unit: 2}}", "*:; imported/a-b: 2/1h0m0s; imported/a-b-2: 1/1h0m0s", ""},
		{"words that YAML takes for others", "{key: user, value: 'no', rate_limit: {unit: hour, requests_per_unit: 1}}, {key: user, value: 1e3, rate_limit: {unit: hour, requests_per_unit: 2}}", "1e3: 2/1h0m0s; no: 1/1h0m0s; *:", ""},
	} {
		_, cfg, out, told := native(t, "domain: d\ndescriptors: ["+row.text+"]", translation)
		got := ""
		if cfg != nil {
			got = limitsOf(&cfg.Organizations[0])
		}
		if got != row.want {
			t.Errorf("%s: got %s, want %s\n%s", row.rule, got, row.want, out)
		}
		if row.told == "" && len(told) > 0 || row.told != "" && !strings.Contains(strings.Join(told, "\n"), row.told) {
			t.Errorf("%s: told %q, want %q", row.rule, told, row.told)
		}
		for _, p := range told {
			if !strings.Contains(out, "#   a:2: "+strings.SplitN(p, ": ", 2)[1]) {
				t.Errorf("%s: %s is not among the comments:\n%s", row.rule, p, out)
			}
		}
	}
}

// Domains become organizations, whatever they are called.
func TestNativeNames(t *testing.T) {
	var files []envoy.File
	for _, domain := range []string{"a b", "a/b", "a-b", "x:y", "yes", "line\n# break"} {
		files = append(files, envoy.File{Name: domain, Data: fmt.Appendf(nil, "domain: %q\ndescriptors: [{key: user, rate_limit: {unit: day, requests_per_unit: 1}}, {key: \"p\\nath\", rate_limit: {unit: day}}]", domain)})
	}
	l, err := envoy.Parse(files, envoy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, _ := l.Native(translation)
	cfg, err := config.Parse("native.yaml", out, time.Unix(1, 0))
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	var got []string
	for _, o := range cfg.Organizations {
		got = append(got, o.Name)
	}
	if want := []string{"a-b", "a-b-2", "a-b-3", "line---break", "x_y", "yes"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q\n%s", got, want, out)
	}
	for _, text := range []string{`--envoy-domain "a b=a-b-2"`, `--envoy-domain "x:y=x_y"`} {
		if !strings.Contains(string(out), text) {
			t.Errorf("%s is not said:\n%s", text, out)
		}
	}
}

// Where it claims to say the same, it decides the same: of a stream of requests of users for
// models it grants nothing that sliding windows of the directory's limits would refuse, and
// refuses only what they would, were they longer by a hundredth and start_within.
func TestNativeDecidesAlike(t *testing.T) {
	longer := func(window time.Duration) time.Duration { return window + window/100 + time.Millisecond }
	l, cfg, out, told := native(t, `
domain: d
descriptors:
  - {key: user, rate_limit: {unit: second, requests_per_unit: 3}}
  - {key: user, value: alice, rate_limit: {unit: minute, requests_per_unit: 20}}
  - {key: user, value: free}
  - {key: user, value: more, rate_limit: {unlimited: true}}
  - {key: model, value: big, rate_limit: {unit: second, requests_per_unit: 5}}
  - {key: model, value: small, rate_limit: {unit: minute, requests_per_unit: 200}}
  - {key: generic_key, value: all, rate_limit: {unit: hour, requests_per_unit: 600}}
`, translation)
	if len(told) > 0 {
		t.Fatalf("it does not claim to: %q", told)
	}
	p, err := policy.Compile(cfg, "d")
	if err != nil {
		t.Fatal(err)
	}
	e, now := limiter.New(), limiter.Time(1)
	e.Apply(p.Configure(), now, nil)
	now = now.Add(2 * time.Hour) // what is assumed of the time before is over

	random := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	entry := func(key, value string) *common.RateLimitDescriptor {
		return &common.RateLimitDescriptor{Entries: []*common.RateLimitDescriptor_Entry{{Key: key, Value: value}}}
	}
	counted := make(map[any][]limiter.Time)
	var m envoy.Match
	granted := 0
	const requests = 6000
	for i := range requests {
		now = now.Add(time.Duration(random.IntN(20)) * 10 * time.Millisecond)
		user, model := pick("alice", "bob", "carol", "free", "more"), pick("big", "small", "small")
		req := &rls.RateLimitRequest{Domain: "d", Descriptors: []*common.RateLimitDescriptor{
			entry("user", user), entry("model", model), entry("generic_key", "all"),
		}}
		if err := l.Domain("d").Match(req, &m); err != nil {
			t.Fatal(err)
		}
		acquire := limiter.Acquire{}
		if err := p.Acquire(&policy.Request{RequestID: fmt.Sprint(i), Project: user, Model: model, Arrived: now,
			MaxWait: policy.Optional[time.Duration]{Set: true}, Lease: limiter.LeaseID{Incarnation: 1, Count: uint64(i + 1)}}, &acquire); err != nil {
			t.Fatal(err)
		}
		events := e.Apply(&acquire, now, nil)
		got := events[len(events)-1].Kind == limiter.Granted
		within := func(window func(time.Duration) time.Duration) bool {
			for _, c := range m.Hit.Counters {
				n := int64(0)
				for _, at := range counted[c.Counter] {
					if now.Sub(at) < window(c.Window) {
						n++
					}
				}
				if n >= c.Quota {
					return false
				}
			}
			return true
		}
		if exact := func(window time.Duration) time.Duration { return window }; got && !within(exact) || !got && within(longer) {
			t.Fatalf("request %d of %s for %s at %v: granted %v\n%s", i, user, model, now, got, out)
		}
		if got {
			granted++
			for _, c := range m.Hit.Counters {
				counted[c.Counter] = append(counted[c.Counter], now)
			}
		}
		e.Apply(&limiter.Release{Lease: acquire.Lease}, now, nil)
	}
	if granted < requests/20 || granted > requests*19/20 {
		t.Errorf("%d of %d were granted: the limits matter too little, or too much", granted, requests)
	}
}
