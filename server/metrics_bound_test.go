package server

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/metrics"
	"github.com/watermaster-project/watermaster/store/memory"
)

// projectsIn lists the projects that a scrape tells apart, and the number of series of the
// service.
func projectsIn(s scrape) (names []string, series int) {
	in := regexp.MustCompile(`[{,]project="([^"]+)"`)
	for line := range s {
		if strings.HasPrefix(line, "watermaster_") {
			series++
		}
		if m := in.FindStringSubmatch(line); m != nil {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names), series
}

// sum adds up the series of a metric.
func (s scrape) sum(metric string) (sum float64) {
	for _, v := range s.of(metric) {
		sum += v
	}
	return sum
}

// anybody lets anybody name a project.
const anybody = benched + `
    max_projects: 50_000
`

// useOf makes one call of a project and tells that it started late and used more than it said.
func useOf(t testing.TB, server *Server, project, id string) {
	t.Helper()
	a, err := server.Acquire(t.Context(), ask(id, func(r *pb.AcquireRequest) {
		r.Destination, r.Project = &pb.AcquireRequest_Route{Route: "smart"}, project
	}))
	if err != nil || a.GetGranted() == nil {
		t.Fatal(a, err)
	}
	if _, err := server.Release(t.Context(), &pb.ReleaseRequest{
		LeaseId: a.GetGranted().LeaseId, StartedAfter: durationpb.New(time.Second),
		Consumption: &pb.ReleaseRequest_Usage{Usage: usage(100, 101)},
	}); err != nil {
		t.Fatal(err)
	}
}

// TestMetricsAreBounded: however many projects there are, few are told apart; the configured
// ones always, those that are used most as soon as they are, and the others together. Who
// asks once for many does not make the series change.
func TestMetricsAreBounded(t *testing.T) {
	yaml := strings.Replace(anybody, `      "*":`, "      named: {}\n"+`      "*":`, 1)
	inWorld(t, yaml, memory.Options{}, func(w *world) {
		flood := func(prefix string) {
			for i := range 10_000 {
				useOf(t, w.server, name(prefix, i), name(prefix, i))
			}
		}
		flood("first")
		useOf(t, w.server, "named", "n")
		useOf(t, w.server, "other", "o")
		s := w.scrape()
		first, series := projectsIn(s)
		if len(first) != metrics.MaxProjects+1 || !slices.Contains(first, "named") || !slices.Contains(first, "other") {
			t.Errorf("%d projects are told apart: %v", len(first), first)
		}
		// Two counters of late starts, two others and 15 series of a histogram each; four for each of
		// two limits; and some that do not depend on projects.
		if most := (metrics.MaxProjects+1)*(4+15+2*4) + 300; series > most {
			t.Errorf("%d series, want at most %d", series, most)
		}
		for metric, want := range map[string]float64{
			"watermaster_late_starts_total": 10_002, "watermaster_debt_tokens_total": 10_002, "watermaster_estimate_ratio_count": 10_002,
		} {
			if got := s.sum(metric); got != want {
				t.Errorf("%s is %v in all, want %v", metric, got, want)
			}
		}
		// Two of the organization, of the pool and of each project but named, which has none.
		if got, want := len(s.of("watermaster_limit_quota")), 2*(1+1+metrics.MaxProjects); got != want {
			t.Errorf("%d limits are shown, want %d", got, want)
		}

		flood("second")
		if again, _ := projectsIn(w.scrape()); !slices.Equal(first, again) {
			t.Error("projects that asked once have taken the place of others")
		}
		for i := range 100 {
			useOf(t, w.server, "busy", name("busy", i))
		}
		w.scrape()
		useOf(t, w.server, "busy", "busy")
		s = w.scrape()
		busy, _ := projectsIn(s)
		if len(busy) != len(first) || !slices.Contains(busy, "busy") || !slices.Contains(busy, "named") {
			t.Errorf("%d projects are told apart, want busy among them: %v", len(busy), busy)
		}
		if got := s[`watermaster_late_starts_total{organization="acme",project="busy",sent="true"}`]; got != 1 {
			t.Errorf("%v late starts of busy, want the 1 since it is told apart", got)
		}
	})
}

// TestMetricsOfUnknownNames: what is refused for its name leaves no trace.
func TestMetricsOfUnknownNames(t *testing.T) {
	yaml := strings.Replace(small, `      "*": {}`+"\n", "", 1)
	inWorld(t, yaml, memory.Options{}, func(w *world) {
		w.grant(ask("a"))
		_, before := projectsIn(w.scrape())
		for _, change := range []func(*pb.AcquireRequest){
			func(r *pb.AcquireRequest) { r.Project = "x-project" },
			func(r *pb.AcquireRequest) { r.Organization = "x-organization" },
			class("x-class"),
		} {
			if a, err := w.Acquire(w.t.Context(), ask("b", change)); err == nil {
				t.Errorf("got %v, want an error", a)
			}
		}
		s := w.scrape()
		if _, after := projectsIn(s); after != before {
			t.Errorf("%d series, want the %d of before", after, before)
		}
		for series := range s {
			if strings.Contains(series, "x-") {
				t.Errorf("there is %s", series)
			}
		}
	})
}

// busy is a server of which everything can be seen that there is to scrape.
func busy(t *testing.T, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, Options{Config: parse(t, small), Log: memory.Open(memory.Options{}), SnapshotEvery: 1, Envoy: EnvoyOptions{Limits: limitsOf(t, gateway)}})
		defer w.close()
		if _, err := w.shouldRateLimit("gateway", descriptor("user", "a")); err != nil {
			t.Fatal(err)
		}
		g := w.grant(ask("a"))
		w.releaseAs(&pb.ReleaseRequest{LeaseId: g.LeaseId, Consumption: &pb.ReleaseRequest_Usage{Usage: usage(100, 101)}})
		w.organization().replica.Wait()
		test(w)
	})
}

// TestMetricsAreWellNamed: names, units and help texts are as Prometheus has them, and what
// is exported is what was described.
func TestMetricsAreWellNamed(t *testing.T) {
	busy(t, func(w *world) {
		r := prometheus.NewPedanticRegistry()
		r.MustRegister(w.server.metrics)
		problems, err := testutil.GatherAndLint(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	})
}

// aCertificate is one that ends in 2033, was renewed twice, and once not.
type aCertificate struct{}

func (aCertificate) NotAfter() time.Time { return time.Unix(2_000_000_000, 0) }
func (aCertificate) Reloads() int64      { return 2 }
func (aCertificate) Failures() int64     { return 1 }

// TestMetricsOfCertificate: what is told of a certificate, and nothing where there is none.
func TestMetricsOfCertificate(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		if text := exposition(t, w.server.Metrics()); strings.Contains(text, "watermaster_certificate") {
			t.Error("a server without TLS tells of a certificate")
		}
		w.server.SetCertificate(aCertificate{})
		text := exposition(t, w.server.Metrics())
		for _, line := range []string{
			"watermaster_certificate_not_after_timestamp_seconds 2e+09\n",
			"watermaster_certificate_reloads_total 2\n", "watermaster_certificate_reload_failures_total 1\n",
		} {
			if !strings.Contains(text, "\n"+line) {
				t.Errorf("not told: %s", line)
			}
		}
	})
}

// TestMetricsAreDocumented: METRICS.md has every metric that is exported, be it only of a log
// that is shared, and no file of the repository names one that is not.
func TestMetricsAreDocumented(t *testing.T) {
	exported := map[string]bool{}
	busy(t, func(w *world) {
		w.server.SetCertificate(aCertificate{})
		for line := range strings.Lines(exposition(t, w.server.Metrics())) {
			if f := strings.Fields(line); f[0] == "#" && f[1] == "TYPE" {
				exported[f[2]] = true
			}
		}
		all := make(chan *prometheus.Desc)
		go func() { w.server.metrics.Describe(all); close(all) }()
		named := regexp.MustCompile(`fqName: "([^"]+)"`)
		for d := range all {
			exported[named.FindStringSubmatch(d.String())[1]] = true
		}
	})
	manual, err := os.ReadFile("METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	own := 0
	for name := range exported {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		if own++; !strings.Contains(string(manual), "`"+name+"`") {
			t.Errorf("METRICS.md does not tell `%s`", name)
		}
	}
	if own < 35 || len(exported) == own {
		t.Errorf("%d metrics of our own of %d compare little", own, len(exported))
	}
	named := regexp.MustCompile(`\bwatermaster_[a-z_]+`)
	err = filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		for _, name := range named.FindAllString(string(text), -1) {
			base := name
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if !exported[name] && !exported[base] {
				t.Errorf("%s names %s, which is not exported", path, name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestScrapeUnderLoad: scrapes and calls do not get into each other's way.
func TestScrapeUnderLoad(t *testing.T) {
	s, err := New(t.Context(), Options{Config: parse(t, anybody), Log: memory.Open(memory.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := &world{t: t, server: s}
	g := s.Metrics()
	var calls, scrapes sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		scrapes.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					if n == 0 {
						t.Error("nothing was scraped")
					}
					return
				default:
					exposition(t, g)
				}
			}
		})
	}
	const workers, each = 4, 300
	for k := range workers {
		calls.Go(func() {
			for i := range each {
				id := name(name("r", k), i)
				useOf(t, w.server, name("project", i%150), id)
			}
		})
	}
	for i := range int64(20) { // other editions meanwhile
		cfg := parse(t, anybody)
		cfg.Revision += i + 1
		if err := s.Reload(t.Context(), cfg); err != nil {
			t.Error(err)
		}
		s.Reloaded(nil)
	}
	calls.Wait()
	close(stop)
	scrapes.Wait()
	got := w.scrape()
	if n := got.sum("watermaster_late_starts_total"); n > workers*each {
		t.Errorf("%v late starts of %d calls", n, workers*each)
	}
	if n := got[`watermaster_decisions_total{decision="granted",organization="acme",priority_class="standard",reason=""}`]; n != workers*each {
		t.Errorf("%v grants, want %d", n, workers*each)
	}
}
