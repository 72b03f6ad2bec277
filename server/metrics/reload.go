package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// reloads count the attempts to put a configuration in force.
type reloads struct {
	mu              sync.Mutex
	ok, failed      uint64
	lastOK, lastBad time.Time // zero: never
	bad             bool      // the latest failed
}

// A reloadSeries is under which names they are shown.
type reloadSeries struct{ attempts, latest, success, failure *prometheus.Desc }

var (
	configSeries    = reloadSeries{configReloads, configLastReload, configLastSuccess, configLastFailure}
	rateLimitSeries = reloadSeries{rateLimitLoads, rateLimitLastLoad, rateLimitLastSuccess, rateLimitLastFailure}
)

// Loaded notes the configuration that the process began with.
func (s *Set) Loaded() {
	s.reloads.mu.Lock()
	defer s.reloads.mu.Unlock()
	s.reloads.lastOK = time.Now()
}

// Reloaded notes an attempt to put another configuration in force.
func (s *Set) Reloaded(err error) { s.reloads.ended(err) }

// LimitsLoaded notes an attempt to put other limits of Envoy's domains in force.
func (s *Set) LimitsLoaded(err error) { s.loads.ended(err) }

func (r *reloads) ended(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bad = err != nil; r.bad {
		r.failed++
		r.lastBad = time.Now()
		return
	}
	r.ok++
	r.lastOK = time.Now()
}

func (r *reloads) collect(to chan<- prometheus.Metric, as *reloadSeries) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to <- counter(as.attempts, r.ok, "ok")
	to <- counter(as.attempts, r.failed, "failed")
	good := 1.0
	if r.bad {
		good = 0
	}
	to <- gauge(as.latest, good)
	to <- gauge(as.success, seconds(r.lastOK))
	to <- gauge(as.failure, seconds(r.lastBad))
}

// seconds gives a time as Prometheus has it; 0: never.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}
