package server

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/watermaster-project/watermaster/server/envoy"
	"github.com/watermaster-project/watermaster/server/metrics"
	"github.com/watermaster-project/watermaster/store/memory"
)

// gateway limits what each user may do, and all of them to a path.
const gateway = `
domain: gateway
descriptors:
  - key: user
    rate_limit: {unit: minute, requests_per_unit: 3}
  - key: path
    value: /chat
    rate_limit: {unit: minute, requests_per_unit: 5}
  - key: trial
    shadow_mode: true
    rate_limit: {unit: minute, requests_per_unit: 1}
`

func limitsOf(t testing.TB, files ...string) *envoy.Limits {
	t.Helper()
	var all []envoy.File
	for i, text := range files {
		all = append(all, envoy.File{Name: name("limits", i), Data: []byte(text)})
	}
	l, err := envoy.Parse(all, envoy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// inDomains runs a test in virtual time with a server that has limits of Envoy's besides.
func inDomains(t *testing.T, o EnvoyOptions, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, Options{Config: parse(t, small), Log: memory.Open(memory.Options{}), Envoy: o})
		defer w.close()
		test(w)
	})
}

// said writes an answer so: its code, and each status as code, remaining and seconds.
func said(a *rls.RateLimitResponse, err error) string {
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	b.WriteString(a.OverallCode.String())
	for _, s := range a.Statuses {
		b.WriteString(" | " + s.Code.String())
		if s.CurrentLimit != nil {
			b.WriteString(name(" left", int(s.LimitRemaining)) + name(" s", int(s.DurationUntilReset.GetSeconds())))
		}
	}
	return b.String()
}

func hitting(n uint64, d *common.RateLimitDescriptor) *common.RateLimitDescriptor {
	d.HitsAddend = wrapperspb.UInt64(n)
	return d
}

// TestDomain: all descriptors are charged or none is, and what is told of waits is so.
func TestDomain(t *testing.T) {
	inDomains(t, EnvoyOptions{Limits: limitsOf(t, gateway)}, func(w *world) {
		ask := func(want string, d ...*common.RateLimitDescriptor) {
			t.Helper()
			if got := said(w.shouldRateLimit("gateway", d...)); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		alice, chat := descriptor("user", "alice"), descriptor("path", "/chat")
		ask("OK | OK left-2 s-60 | OK left-4 s-60", alice, chat)
		time.Sleep(10 * time.Second)
		ask("OK | OK left-0 s-60 | OK left-2 s-60", hitting(2, descriptor("user", "alice")), hitting(2, descriptor("path", "/chat")))
		ask("OVER_LIMIT | OVER_LIMIT left-0 s-50 | OK left-2 s-60", alice, chat)
		ask("OK | OK left-2 s-60 | OK left-1 s-60", descriptor("user", "bob"), chat)
		ask("OK | OK", descriptor("nothing", "x"))
		time.Sleep(50 * time.Second)
		ask("OK | OK left-0 s-60", alice)
		ask("OK | OK left-0 s-60", hitting(0, descriptor("user", "alice")))
		ask("OK | OK left-0 s-60", descriptor("trial", "x"))
		ask("OK | OK left-0 s-60", descriptor("trial", "x"))
	})
}

// TestDomainSwitches: those of envoyproxy/ratelimit.
func TestDomainSwitches(t *testing.T) {
	alice, chat := descriptor("user", "alice"), descriptor("path", "/chat")
	for _, row := range []struct {
		name    string
		options EnvoyOptions
		want    string
	}{
		{"none", EnvoyOptions{}, "OVER_LIMIT | OVER_LIMIT left-0 s-60 | OK left-2 s-60"},
		{"charge always", EnvoyOptions{ChargeAlways: true}, "OVER_LIMIT | OVER_LIMIT left-0 s-60 | OK left-1 s-60"},
		{"shadow", EnvoyOptions{Answering: envoy.Answering{Shadow: true}}, "OK | OVER_LIMIT left-0 s-60 | OK left-2 s-60"},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.options.Limits = limitsOf(t, gateway)
			inDomains(t, row.options, func(w *world) {
				for range 3 {
					if _, err := w.shouldRateLimit("gateway", alice, chat); err != nil {
						t.Fatal(err)
					}
				}
				if got := said(w.shouldRateLimit("gateway", alice, chat)); got != row.want {
					t.Errorf("got  %s\nwant %s", got, row.want)
				}
			})
		})
	}
}

// TestDomainReload: what counts the same goes on; a domain comes and goes; what cannot be told
// apart is refused and changes nothing.
func TestDomainReload(t *testing.T) {
	const other = "domain: other\ndescriptors: [{key: user, rate_limit: {unit: hour, requests_per_unit: 1}}]"
	inDomains(t, EnvoyOptions{Limits: limitsOf(t, gateway), Domains: map[string]string{"mesh": "acme"}}, func(w *world) {
		alice := descriptor("user", "alice")
		want := func(domain, want string) {
			t.Helper()
			if got := said(w.shouldRateLimit(domain, alice)); got != want {
				t.Errorf("%s: got  %s\nwant %s", domain, got, want)
			}
		}
		want("gateway", "OK | OK left-2 s-60")
		want("other", "OK | OK")
		if err := w.server.ReloadLimits(w.t.Context(), limitsOf(t, strings.ReplaceAll(gateway, "requests_per_unit: 3", "requests_per_unit: 10"), other)); err != nil {
			t.Fatal(err)
		}
		want("gateway", "OK | OK left-8 s-60")
		want("other", "OK | OK left-0 s-3600")
		want("other", "OVER_LIMIT | OVER_LIMIT left-0 s-3600")
		for _, bad := range []string{"acme", "mesh"} {
			err := w.server.ReloadLimits(w.t.Context(), limitsOf(t, strings.Replace(other, "other", bad, 1)))
			if err == nil || !strings.Contains(err.Error(), bad) {
				t.Errorf("a domain %s: got %v", bad, err)
			}
		}
		want("other", "OVER_LIMIT | OVER_LIMIT left-0 s-3600")
		cfg := parse(t, strings.NewReplacer("revision: 7", "revision: 8", "acme:", "other:").Replace(small))
		if err := w.server.Reload(w.t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "other") {
			t.Errorf("an organization of a domain's name: got %v", err)
		}
		if err := w.server.ReloadLimits(w.t.Context(), limitsOf(t, gateway)); err != nil {
			t.Fatal(err)
		}
		want("other", "OK | OK")
		want("gateway", "OK | OK left-0 s-60")
	})
}

// TestDomainsAtStart: what a request could not tell apart does not start.
func TestDomainsAtStart(t *testing.T) {
	const two = small + `
  beta:
    accounts: {main: {provider: openai, pools: {gpt: {models: [gpt], limits: {requests: 60/min}}}}}
    projects: {search: {}}
`
	for _, row := range []struct {
		options EnvoyOptions
		want    string
	}{
		{EnvoyOptions{Domains: map[string]string{"acme": "beta"}}, "--envoy-domain), and is an organization itself"},
		{EnvoyOptions{Limits: limitsOf(t, strings.Replace(gateway, "gateway", "acme", 1))}, "acme is an organization, and a domain"},
		{EnvoyOptions{Limits: limitsOf(t, gateway), Domains: map[string]string{"gateway": "acme"}}, "--envoy-domain), and has limits"},
		{EnvoyOptions{Domains: map[string]string{"mesh": "nowhere"}}, "organization nowhere (--envoy-domain)"},
	} {
		_, err := New(t.Context(), Options{Config: parse(t, two), Log: memory.Open(memory.Options{}), Envoy: row.options})
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("got %v, want %q", err, row.want)
		}
	}
}

// TestDomainsAreHidden: nobody sees a domain among the organizations of the configuration.
func TestDomainsAreHidden(t *testing.T) {
	inDomains(t, EnvoyOptions{Limits: limitsOf(t, gateway)}, func(w *world) {
		if got := strings.Join(w.server.Organizations(), " "); got != "acme" {
			t.Errorf("organizations: got %s", got)
		}
		_, err := w.Acquire(w.t.Context(), ask("a", of("envoy/gateway")))
		wantCode(t, err, codes.NotFound)
		got := said(w.shouldRateLimit("x", descriptor("organization", "envoy/gateway")))
		if !strings.Contains(got, "NotFound") {
			t.Errorf("by an entry: got %s", got)
		}
		w.grant(ask("a")) // there is but one organization
	})
}

// detailed tells each user apart in the metrics.
const detailed = `
domain: gateway
descriptors:
  - {key: user, detailed_metric: true, rate_limit: {unit: minute, requests_per_unit: 10}}
  - {key: trial, shadow_mode: true, rate_limit: {unit: minute, requests_per_unit: 1}}
`

// TestDomainMetrics: what is counted by rule, of which there is a bound.
func TestDomainMetrics(t *testing.T) {
	inDomains(t, EnvoyOptions{Limits: limitsOf(t, detailed)}, func(w *world) {
		ask := func(d ...*common.RateLimitDescriptor) {
			t.Helper()
			if _, err := w.shouldRateLimit("gateway", d...); err != nil {
				t.Fatal(err)
			}
		}
		ask(hitting(9, descriptor("user", "alice")), descriptor("trial", "x"))
		ask(hitting(2, descriptor("user", "alice")), hitting(3, descriptor("trial", "x")))
		ask(hitting(0, descriptor("user", "alice")))
		of := func(metric, rule string) string { return metric + `{domain="gateway",rule="gateway.` + rule + `"}` }
		w.scrape().want(t, scrape{
			`watermaster_ratelimit_requests_total{code="ok",domain="gateway"}`:         2,
			`watermaster_ratelimit_requests_total{code="over_limit",domain="gateway"}`: 1,
			`watermaster_ratelimit_counters{domain="gateway"}`:                         2,
			of("watermaster_ratelimit_hits_total", "user_alice"):                       11,
			of("watermaster_ratelimit_within_limit_hits_total", "user_alice"):          9,
			of("watermaster_ratelimit_near_limit_hits_total", "user_alice"):            1,
			of("watermaster_ratelimit_over_limit_hits_total", "user_alice"):            2,
			of("watermaster_ratelimit_fullest_ratio", "user_alice"):                    0.9,
			of("watermaster_ratelimit_hits_total", "trial"):                            4,
			of("watermaster_ratelimit_within_limit_hits_total", "trial"):               1,
			of("watermaster_ratelimit_near_limit_hits_total", "trial"):                 1,
			of("watermaster_ratelimit_over_limit_hits_total", "trial"):                 3,
			of("watermaster_ratelimit_fullest_ratio", "trial"):                         1,
		}, "watermaster_ratelimit_requests_total", "watermaster_ratelimit_counters", "watermaster_ratelimit_hits_total",
			"watermaster_ratelimit_within_limit_hits_total", "watermaster_ratelimit_near_limit_hits_total",
			"watermaster_ratelimit_over_limit_hits_total", "watermaster_ratelimit_shadow_hits_total", "watermaster_ratelimit_fullest_ratio")
		ask(hitting(5, descriptor("trial", "x")))
		for i := range metrics.MaxRules + 100 {
			ask(descriptor("user", name("u", i)))
		}
		s := w.scrape()
		series := 0
		for label := range s {
			if strings.HasPrefix(label, "watermaster_ratelimit_hits_total{") {
				series++
			}
		}
		if want := metrics.MaxRules + 1; series != want {
			t.Errorf("%d series of hits, want %d", series, want)
		}
		s.want(t, scrape{of("watermaster_ratelimit_shadow_hits_total", "trial"): 5}, "watermaster_ratelimit_shadow_hits_total")
		if got := s[`watermaster_ratelimit_hits_total{domain="gateway",rule="(other)"}`]; got != 102 { // trial and alice have series
			t.Errorf("others have %v hits, want 102", got)
		}
		time.Sleep(3 * time.Minute)
		w.scrape().want(t, scrape{}, "watermaster_ratelimit_fullest_ratio")

		if err := w.server.ReloadLimits(w.t.Context(), limitsOf(t, gateway)); err != nil {
			t.Fatal(err)
		}
		s = w.scrape()
		for label, want := range map[string]bool{"trial": true, `path_/chat`: true} {
			if _, is := s[of("watermaster_ratelimit_hits_total", label)]; is != want {
				t.Errorf("after a reload, a series of %s: %v, want %v", label, is, want)
			}
		}
	})
}

// TestHitAllocates: from the handler on a request allocates its answer, and nothing else.
func TestHitAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools")
	}
	s, err := New(t.Context(), Options{Config: parse(t, small), Log: memory.Open(memory.Options{}), Envoy: EnvoyOptions{Limits: limitsOf(t, benchedDomain)}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := testing.AllocsPerRun(1000, func() {
		if _, err := s.rateLimit.ShouldRateLimit(t.Context(), rateLimitRequests[0]); err != nil {
			t.Fatal(err)
		}
	})
	if got > 6 { // the answer's are four; an engine's window grows now and then
		t.Errorf("%v allocations, want 4", got)
	}
}
