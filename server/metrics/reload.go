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

// Loaded notes the configuration that the process began with.
func (s *Set) Loaded() {
	s.reloads.mu.Lock()
	defer s.reloads.mu.Unlock()
	s.reloads.lastOK = time.Now()
}

// Reloaded notes an attempt to put another configuration in force.
func (s *Set) Reloaded(err error) {
	r := &s.reloads
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

func (r *reloads) collect(to chan<- prometheus.Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to <- counter(configReloads, r.ok, "ok")
	to <- counter(configReloads, r.failed, "failed")
	good := 1.0
	if r.bad {
		good = 0
	}
	to <- gauge(configLastReload, good)
	to <- gauge(configLastSuccess, seconds(r.lastOK))
	to <- gauge(configLastFailure, seconds(r.lastBad))
}

// seconds gives a time as Prometheus has it; 0: never.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}
