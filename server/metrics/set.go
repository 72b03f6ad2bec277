package metrics

import (
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// A Set is all that one server counts. It is a prometheus.Collector.
type Set struct {
	Log           Log
	Calls         Calls
	HandlerPanics atomic.Uint64 // that were survived

	look        func() State
	reloads     reloads
	loads       reloads     // of the limits of Envoy's domains
	certificate Certificate // nil: no TLS

	mu            sync.Mutex
	organizations map[string]*organization // also former ones
	domains       map[string]*Domain       // likewise
}

// New makes a set; look says at a scrape how the server stands.
func New(look func() State) *Set {
	return &Set{
		Log:           Log{append: steps.histogram(), read: steps.histogram(), apply: steps.histogram(), commands: commands.histogram()},
		look:          look,
		organizations: map[string]*organization{},
		domains:       map[string]*Domain{},
	}
}

// Gatherer gives all that there is to scrape: the set, the Go runtime and the process. It has
// nothing to do with the default registry.
func (s *Set) Gatherer() prometheus.Gatherer {
	r := prometheus.NewRegistry()
	r.MustRegister(s, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

func (s *Set) organization(name string) *organization {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.organizations[name]
	if o == nil {
		o = &organization{name: name, projects: newProjects(), classes: map[string]*Class{}, pools: map[string]*Pool{}}
		o.replica.log, o.replica.rollCalls = &s.Log, rollCalls.histogram()
		s.organizations[name] = o
	}
	return o
}

// Describe implements prometheus.Collector.
func (s *Set) Describe(to chan<- *prometheus.Desc) {
	for _, d := range described {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Set) Collect(to chan<- prometheus.Metric) {
	state := s.look()
	state.collect(to)
	s.Log.collect(to)
	s.Calls.collect(to)
	s.reloads.collect(to, &configSeries)
	if state.Domains {
		s.loads.collect(to, &rateLimitSeries)
	}
	s.collectCertificate(to)
	to <- counter(handlerPanics, s.HandlerPanics.Load())
	to <- build
}

// build says what was built.
var build = func() prometheus.Metric {
	version, commit, goVersion := "", "", ""
	if b, ok := debug.ReadBuildInfo(); ok {
		version, goVersion = b.Main.Version, b.GoVersion
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	return gauge(buildInfo, 1, version, commit, goVersion)
}()

func counter(d *prometheus.Desc, n uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}
