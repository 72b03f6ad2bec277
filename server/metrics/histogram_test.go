package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// A shown is a collector of one thing.
type shown func(chan<- prometheus.Metric)

func (s shown) Collect(to chan<- prometheus.Metric) { s(to) }
func (s shown) Describe(chan<- *prometheus.Desc)    {}

func TestHistogram(t *testing.T) {
	h := newScale(1e9, 0.001, 0.01, 1).histogram()
	want(t, "empty", h.empty(), true)
	for _, d := range []time.Duration{-time.Second, 0, time.Millisecond, time.Millisecond + 1, time.Second, time.Minute} {
		h.observe(int64(d))
	}
	want(t, "empty", h.empty(), false)
	desc := prometheus.NewDesc("x_seconds", "Help.", []string{"class"}, nil)
	err := testutil.CollectAndCompare(shown(func(to chan<- prometheus.Metric) { h.collect(to, desc, "a") }), strings.NewReader(`
# HELP x_seconds Help.
# TYPE x_seconds histogram
x_seconds_bucket{class="a",le="0.001"} 3
x_seconds_bucket{class="a",le="0.01"} 4
x_seconds_bucket{class="a",le="1"} 5
x_seconds_bucket{class="a",le="+Inf"} 6
x_seconds_sum{class="a"} 61.002000001
x_seconds_count{class="a"} 6
`))
	if err != nil {
		t.Error(err)
	}
}

// TestRatio: what is above 1 by however little is not counted as at most 1.
func TestRatio(t *testing.T) {
	rows := []struct {
		actual, estimated int64
		bound             float64 // of the bucket
		owed              int64
	}{
		{1, 1000, 0.1, 0},
		{100, 1000, 0.1, 0},
		{101, 1000, 0.25, 0},
		{1000, 1000, 1, 0},
		{1_000_001, 1_000_000, 1.05, 1},
		{1 << 50, 1 << 50, 1, 0},
		{1 << 50, 1, 0, 1<<50 - 1}, // beyond all
	}
	for _, r := range rows {
		p := newProject()
		p.Used(r.actual, r.estimated)
		for i := range p.estimate.counts {
			bound := 0.0
			if i < len(ratios.bounds) {
				bound = float64(ratios.bounds[i]) / ratios.unit
			}
			if n := p.estimate.counts[i].Load(); n > 0 && bound != r.bound {
				t.Errorf("%d of %d counts as at most %v, want %v", r.actual, r.estimated, bound, r.bound)
			}
		}
		want(t, "owed", p.owed.Load(), r.owed)
	}
}

// TestCountingAllocatesNothing: it stands where decisions are made.
func TestCountingAllocatesNothing(t *testing.T) {
	s := New(func() State { return State{} })
	e := s.Edition(configured(), &configured().Organizations[0])
	e.InForce()
	got := testing.AllocsPerRun(100, func() {
		c := e.Class("interactive")
		c.Granted(time.Second)
		c.Waiting()
		c.Rejected(3)
		e.Replica.Committed(3, Now(), Now())
		p := e.Project("search")
		p.Used(1200, 1000)
		p.LateStart(true)
		p.Expired()
		e.Pool("main/gpt").Throttled()
	})
	want(t, "allocations", got, 0)
}
