package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// A histogram counts whole numbers by size. It is without a lock, and costs as much as two
// counters.
type histogram struct {
	scale  *scale
	counts []atomic.Uint64 // by bucket, and those above all at the end
	sum    atomic.Int64
}

// A scale is a histogram's buckets.
type scale struct {
	unit   float64 // how many make 1 of what is shown: 1e9 where nanoseconds are seconds
	bounds []int64 // upper, inclusive, ascending
}

// newScale makes a scale of bounds as they are shown.
func newScale(unit float64, bounds ...float64) *scale {
	s := &scale{unit: unit}
	for _, b := range bounds {
		s.bounds = append(s.bounds, int64(b*unit+0.5))
	}
	return s
}

func (s *scale) histogram() histogram {
	return histogram{scale: s, counts: make([]atomic.Uint64, len(s.bounds)+1)}
}

// observe counts one of a size; below 0 it is as 0.
func (h *histogram) observe(size int64) {
	i := 0
	for i < len(h.scale.bounds) && size > h.scale.bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(max(0, size))
}

// empty says whether nothing has been counted.
func (h *histogram) empty() bool {
	for i := range h.counts {
		if h.counts[i].Load() > 0 {
			return false
		}
	}
	return true
}

// collect shows it under a name.
func (h *histogram) collect(to chan<- prometheus.Metric, d *prometheus.Desc, labels ...string) {
	buckets := make(map[float64]uint64, len(h.scale.bounds))
	var all uint64
	for i, b := range h.scale.bounds {
		all += h.counts[i].Load()
		buckets[float64(b)/h.scale.unit] = all
	}
	all += h.counts[len(h.scale.bounds)].Load()
	to <- prometheus.MustNewConstHistogram(d, all, float64(h.sum.Load())/h.scale.unit, buckets, labels...)
}

// The scales. Nanoseconds are shown as seconds, thousandths as ratios.
var (
	waits = newScale(1e9, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
	takes = newScale(1e9, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 25)
	// An append to memory takes a microsecond, one to a disk or over a network a thousand.
	steps     = newScale(1e9, 0.000005, 0.00002, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
	commands  = newScale(1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
	rollCalls = newScale(1e9, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 10, 30, 60, 300, 3600) // `after_loss: exact` takes up to a hold
	ratios    = newScale(1000, 0.1, 0.25, 0.5, 0.75, 0.9, 1, 1.05, 1.1, 1.25, 1.5, 2, 5)
)
