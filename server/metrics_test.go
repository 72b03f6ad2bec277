package server

import (
	"context"
	"errors"
	"maps"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/codes"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

// exposition gives what a scrape is answered with.
func exposition(t testing.TB, g prometheus.Gatherer) string {
	t.Helper()
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(g, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	if answer.Code != 200 {
		t.Fatalf("a scrape got %d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// A scrape is the values of a scrape, by series.
type scrape map[string]float64

func (w *world) scrape() scrape {
	w.t.Helper()
	s := scrape{}
	for line := range strings.Lines(exposition(w.t, w.server.Metrics())) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			w.t.Fatal(err)
		}
		s[line[:at]] = v
	}
	return s
}

// of gives the series of metrics that are not 0.
func (s scrape) of(names ...string) scrape {
	some := scrape{}
	for series, v := range s {
		name, _, _ := strings.Cut(series, "{")
		if v != 0 && slices.Contains(names, name) {
			some[series] = v
		}
	}
	return some
}

// want compares those series of some metrics that are not 0.
func (s scrape) want(t *testing.T, want scrape, names ...string) {
	t.Helper()
	got := s.of(names...)
	for _, series := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[series]; !ok {
			t.Errorf("%s is %v, want it 0 or not there", series, got[series])
		}
	}
	for _, series := range slices.Sorted(maps.Keys(want)) {
		if got[series] != want[series] {
			t.Errorf("%s is %v, want %v", series, got[series], want[series])
		}
	}
}

// TestMetricsOfDecisions: every answer to Acquire is counted once, by what it says.
func TestMetricsOfDecisions(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		a := w.grant(ask("a"))
		if again := w.grant(ask("a")); again.LeaseId != a.LeaseId {
			t.Fatalf("asked again got another lease")
		}
		first := w.later(w.t.Context(), ask("b", class("interactive"), block(3*time.Second)))
		if got := <-first; got.GetWait() == nil {
			t.Fatalf("got %v, want wait", got)
		}
		second := w.later(w.t.Context(), ask("b", class("interactive"), block(10*time.Second)))
		w.acquire(ask("c", class("batch"), maxWait(0)))
		w.acquire(ask("d", func(r *pb.AcquireRequest) { r.InputTokens = 200_000 })) // of no model
		time.Sleep(4 * time.Second)
		during := w.scrape()
		w.release(a.LeaseId)
		if got := <-second; got.GetGranted() == nil {
			t.Fatalf("got %v, want a grant", got)
		}
		cancelled, cancel := context.WithCancel(w.t.Context())
		gone := w.later(cancelled, ask("e"))
		cancel()
		wantCode(t, (<-gone).err, codes.Canceled)
		for _, unknown := range []func(*pb.AcquireRequest){
			class("x-class"),
			func(r *pb.AcquireRequest) { r.Organization = "x-organization" },
			func(r *pb.AcquireRequest) { r.Destination = &pb.AcquireRequest_Route{Route: "x-route"} },
		} {
			_, err := w.Acquire(w.t.Context(), ask("f", unknown))
			wantCode(t, err, codes.NotFound)
		}
		synctest.Wait()

		of := func(decision, reason, class string) string {
			return `watermaster_decisions_total{decision="` + decision + `",organization="acme",priority_class="` + class + `",reason="` + reason + `"}`
		}
		s := w.scrape()
		s.want(t, scrape{
			of("granted", "", "standard"):                                    1,
			of("granted", "again", "standard"):                               1,
			of("granted", "", "interactive"):                                 1,
			of("wait", "", "interactive"):                                    1,
			of("rejected", "wait_too_long", "batch"):                         1,
			of("rejected", "too_large", "standard"):                          1,
			`watermaster_leases{organization="acme"}`:                        1,
			`watermaster_max_waiters`:                                        100_000,
			`watermaster_config_info{hash="` + hashOf(w) + `",revision="7"}`: 1,
		}, "watermaster_decisions_total", "watermaster_leases", "watermaster_waiters", "watermaster_max_waiters", "watermaster_config_info")
		during.want(t, scrape{
			`watermaster_waiters{organization="acme",priority_class="interactive"}`:              1,
			`watermaster_longest_wait_seconds{organization="acme",priority_class="interactive"}`: 7,
		}, "watermaster_waiters", "watermaster_longest_wait_seconds")

		// The wait counts from the first Acquire, 3 s before the second.
		const waited = "watermaster_wait_seconds"
		for series, want := range map[string]float64{
			waited + `_sum{organization="acme",priority_class="interactive"}`:            7,
			waited + `_count{organization="acme",priority_class="interactive"}`:          1,
			waited + `_bucket{organization="acme",priority_class="interactive",le="5"}`:  0,
			waited + `_bucket{organization="acme",priority_class="interactive",le="10"}`: 1,
			waited + `_bucket{organization="acme",priority_class="standard",le="0.001"}`: 1,
		} {
			if got, ok := s[series]; got != want || !ok {
				t.Errorf("%s is %v, %v, want %v", series, got, ok, want)
			}
		}
		for series := range s {
			if strings.Contains(series, "x-") {
				t.Errorf("a name that is not configured made %s", series)
			}
		}
	})
}

func hashOf(w *world) string {
	h := strconv.FormatUint(w.server.Config().Hash, 16)
	return strings.Repeat("0", 16-len(h)) + h
}

// TestMetricsOfLimits: limits are shown as GetHeadroom shows them.
func TestMetricsOfLimits(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		w.grant(ask("a"))
		s := w.scrape()
		h, err := w.GetHeadroom(w.t.Context(), &pb.GetHeadroomRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range h.Headroom.Limits {
			account, pool, project := "", "", ""
			switch kind, rest, _ := strings.Cut(l.Scope, "/"); kind {
			case "pool":
				account, pool, _ = strings.Cut(rest, "/")
			case "project":
				project = rest
			}
			_, window, _ := strings.Cut(l.Name, "/")
			if window == "min" {
				window = "1m"
			}
			labels := `{account="` + account + `",metric="` + l.Metric + `",organization="acme",pool="` + pool + `",project="` + project + `",window="` + window + `"}`
			for name, want := range map[string]float64{
				"utilization_ratio": l.Utilization, "remaining": float64(l.Remaining),
				"quota": float64(l.Quota), "effective_quota": float64(l.EffectiveQuota),
			} {
				if got, ok := s["watermaster_limit_"+name+labels]; !ok || got != want {
					t.Errorf("watermaster_limit_%s%s is %v, %v, want %v", name, labels, got, ok, want)
				}
			}
		}
		if n := len(h.Headroom.Limits); n != 7 {
			t.Errorf("%d limits are compared, want 7", n)
		}
	})
}

// TestMetricsOfFaults: what went wrong inside is shown.
func TestMetricsOfFaults(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		names := []string{
			"watermaster_engine_panics_total", "watermaster_organizations_lost", "watermaster_cold_start",
			"watermaster_log_append_failures_total", "watermaster_refused_calls_total",
		}
		cold := scrape{`watermaster_cold_start{assumed="trust",organization="acme"}`: 1}
		w.scrape().want(t, cold, names...)
		w.organization().replica.Probe = func(c limiter.Command) {
			if a, ok := c.(*limiter.Acquire); ok && a.Project == "poison" {
				panic("poison")
			}
		}
		_, err := w.Acquire(w.t.Context(), ask("a", func(r *pb.AcquireRequest) { r.Project = "poison" }))
		wantCode(t, err, codes.Internal)
		cold[`watermaster_engine_panics_total{organization="acme"}`] = 1
		w.scrape().want(t, cold, names...)

		w.log.(*memory.Log).Close()
		_, err = w.Acquire(w.t.Context(), ask("b"))
		wantCode(t, err, codes.Unavailable)
		o := w.organization()
		o.replica.Lock()
		o.replica.Fail(errors.New("as planned"))
		o.replica.Unlock()
		cold["watermaster_log_append_failures_total"] = 1
		cold["watermaster_organizations_lost"] = 1
		s := w.scrape()
		s.want(t, cold, names...)
		if n := len(s.of("watermaster_limit_quota")); n != 0 {
			t.Errorf("%d limits are shown of a state that is lost", n)
		}
	})
}

// TestMetricsOfCalls: calls are counted by what they were answered with.
func TestMetricsOfCalls(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		w.grant(ask("a"))
		_, _ = w.Acquire(w.t.Context(), ask(""))
		_, _ = w.Acquire(w.t.Context(), ask("b", class("none")))
		_, _ = w.GetHeadroom(w.t.Context(), &pb.GetHeadroomRequest{})
		watching, cancel := context.WithCancel(w.t.Context())
		stream, err := w.WatchHeadroom(watching, &pb.WatchHeadroomRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		_ = w.conn.Invoke(w.t.Context(), "/watermaster.v1.LimiterService/Unknown", ask("c"), &pb.AcquireResponse{})
		of := func(code, method, service, kind string) string {
			return `grpc_server_handled_total{grpc_code="` + code + `",grpc_method="` + method + `",grpc_service="watermaster.v1.` + service + `",grpc_type="` + kind + `"}`
		}
		s := w.scrape()
		s.want(t, scrape{
			of("OK", "Acquire", "LimiterService", "unary"):                     1,
			of("InvalidArgument", "Acquire", "LimiterService", "unary"):        1,
			of("NotFound", "Acquire", "LimiterService", "unary"):               1,
			of("OK", "GetHeadroom", "MonitorService", "unary"):                 1,
			of("Canceled", "WatchHeadroom", "MonitorService", "server_stream"): 1,
			`watermaster_log_batch_commands_count`:                             s["watermaster_log_append_seconds_count"],
			`watermaster_log_batch_commands_sum`:                               4, // join, upgrade, configure, acquire
		}, "grpc_server_handled_total", "watermaster_log_batch_commands_count", "watermaster_log_batch_commands_sum")
	})
}

// TestMetricsOfReloads: what keeps its name goes on, what is renamed begins anew, and the
// former name is gone.
func TestMetricsOfReloads(t *testing.T) {
	count := func(w *world) {
		w.releaseAs(&pb.ReleaseRequest{LeaseId: w.grant(ask(name("r", int(w.organization().leases.Load())))).LeaseId, Outcome: pb.Outcome_OUTCOME_THROTTLED})
		w.release(w.grant(ask(name("s", int(w.organization().leases.Load())), class("batch"))).LeaseId)
	}
	granted := func(organization, class string) string {
		return `watermaster_decisions_total{decision="granted",organization="` + organization + `",priority_class="` + class + `",reason=""}`
	}
	throttled := func(organization, pool string) string {
		return `watermaster_provider_throttled_total{account="main",organization="` + organization + `",pool="` + pool + `"}`
	}
	names := []string{"watermaster_decisions_total", "watermaster_provider_throttled_total"}
	inWorld(t, small, memory.Options{}, func(w *world) {
		steps := []struct {
			name string
			yaml string
			want scrape
		}{
			{"the quota", edited(8, "requests: 60/min", "requests: 90/min"),
				scrape{granted("acme", "standard"): 2, granted("acme", "batch"): 2, throttled("acme", "gpt"): 2}},
			{"the pool's name", edited(9, "gpt: {models: [gpt], limits:", "gpt5: {was: gpt, models: [gpt], limits:"),
				scrape{granted("acme", "standard"): 3, granted("acme", "batch"): 3, throttled("acme", "gpt5"): 1}},
			{"and back", edited(10, "gpt: {models: [gpt], limits:", "gpt: {was: gpt5, models: [gpt], limits:"),
				scrape{granted("acme", "standard"): 4, granted("acme", "batch"): 4, throttled("acme", "gpt"): 3}},
			{"the organization's name", edited(11, "  acme:\n", "  apex:\n    was: acme\n"),
				scrape{granted("apex", "standard"): 1, granted("apex", "batch"): 1, throttled("apex", "gpt"): 1}},
			{"and back", edited(12, "  acme:\n", "  acme:\n    was: apex\n"),
				scrape{granted("acme", "standard"): 5, granted("acme", "batch"): 5, throttled("acme", "gpt"): 4}},
		}
		count(w)
		for _, s := range steps {
			w.reload(s.yaml)
			count(w)
			got := w.scrape()
			got.want(t, s.want, names...)
			if t.Failed() {
				t.Fatalf("after a change of %s", s.name)
			}
		}
		for series := range w.scrape() {
			if strings.Contains(series, "apex") || strings.Contains(series, "gpt5") {
				t.Errorf("a former name is shown: %s", series)
			}
		}
	})
}

// TestMetricsOfConfiguration: attempts to reload are counted as the caller tells them.
func TestMetricsOfConfiguration(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		begin := float64(time.Now().Unix())
		names := []string{
			"watermaster_config_reloads_total", "watermaster_config_last_reload_successful",
			"watermaster_config_last_reload_success_timestamp_seconds", "watermaster_config_last_reload_failure_timestamp_seconds",
		}
		want := scrape{names[1]: 1, names[2]: begin}
		w.scrape().want(t, want, names...)
		time.Sleep(time.Minute)
		w.server.Reloaded(errors.New("line 3: unknown key"))
		want = scrape{names[2]: begin, names[3]: begin + 60, names[0] + `{result="failed"}`: 1}
		w.scrape().want(t, want, names...)
		time.Sleep(time.Minute)
		w.server.Reloaded(nil)
		want = scrape{names[1]: 1, names[2]: begin + 120, names[3]: begin + 60, names[0] + `{result="failed"}`: 1, names[0] + `{result="ok"}`: 1}
		w.scrape().want(t, want, names...)
	})
}
