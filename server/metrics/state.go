package metrics

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watermaster-project/watermaster/limiter"
)

// A State is how a server stands at a scrape.
type State struct {
	Revision        int64 // of the configuration in force
	Hash            uint64
	MaxWaiters      int64  // in all organizations
	Lost            int    // organizations
	Unauthenticated uint64 // calls so far
	Denied          uint64 // calls so far
	Organizations   []View
	Domains         bool // Envoy's, there may be
}

// A View is how an organization stands.
type View struct {
	Edition *Edition // in force
	Domain  *Domain  // of Envoy's whose limits it counts; nil: it is one of the configuration
	Panics  uint64   // of the engine, so far
	Cold    string   // what was assumed of the use before it began; "": that was known

	// The engine's state is lost to a fault: the rest is not known.
	Lost bool

	// The log is shared with other processes: else these are not known.
	Shared   bool
	Replicas int  // that were heard of of late, this one included
	Missing  int  // of those, whom a roll call waits for
	Away     bool // the log cannot be reached, and this process decides alone or not at all

	Limits        []limiter.Limit
	Classes       []limiter.ClassView
	Oldest        []time.Duration // by class: how long the one has waited that waits longest
	Pools         []limiter.PoolView
	Leases        int    // in force
	Counters      int    // of Envoy's limits, that are not empty
	Evicted       uint64 // of them so far: forgotten for others while they still counted
	Snapshots     bool   // are put into the log; else these are not known:
	SnapshotBytes int    // of the latest that this process took; 0: none
	TailBytes     int    // in the log behind it
}

func (s *State) collect(to chan<- prometheus.Metric) {
	to <- gauge(configInfo, 1, strconv.FormatInt(s.Revision, 10), fmt.Sprintf("%016x", s.Hash))
	to <- gauge(maxWaiters, float64(s.MaxWaiters))
	to <- gauge(organizationsLost, float64(s.Lost))
	to <- counter(refusedCalls, s.Unauthenticated, "unauthenticated")
	to <- counter(refusedCalls, s.Denied, "denied")
	for i := range s.Organizations {
		s.Organizations[i].collect(to)
	}
}

func (v *View) collect(to chan<- prometheus.Metric) {
	if v.Domain != nil {
		v.Domain.collect(to)
	} else {
		v.Edition.collect(to)
	}
	organization := v.Edition.of.name
	to <- counter(enginePanics, v.Panics, organization)
	if v.Cold != "" {
		to <- gauge(coldStart, 1, organization, v.Cold)
	}
	if v.Lost {
		return
	}
	if v.Shared {
		v.Edition.Replica.collect(to, organization)
		to <- gauge(replicas, float64(v.Replicas), organization)
		to <- gauge(rollCallMissing, float64(v.Missing), organization)
		to <- gauge(storeAway, flag(v.Away), organization)
	}
	if v.Domain != nil {
		to <- gauge(rateLimitCounters, float64(v.Counters), v.Domain.name)
		to <- counter(rateLimitEvicted, v.Evicted, v.Domain.name)
	} else {
		to <- gauge(leases, float64(v.Leases), organization)
	}
	if v.Snapshots {
		to <- gauge(snapshotBytes, float64(v.SnapshotBytes), organization)
		to <- gauge(logTailBytes, float64(v.TailBytes), organization)
	}
	for i := range v.Classes {
		c := &v.Classes[i]
		to <- gauge(waiters, float64(c.Waiting), organization, c.Name)
		to <- gauge(longestWait, v.Oldest[i].Seconds(), organization, c.Name)
	}
	for i := range v.Pools {
		collectGates(to, organization, &v.Pools[i])
	}
	v.collectLimits(to, organization)
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

func collectGates(to chan<- prometheus.Metric, organization string, p *limiter.PoolView) {
	account, pool, _ := strings.Cut(p.Name, "/")
	var throttled, blocked float64
	for _, g := range p.Gates {
		switch {
		case g.Opens <= 0: // it has opened
		case g.Blocked:
			blocked++
		default:
			throttled++
		}
	}
	to <- gauge(gatesClosed, throttled, organization, account, pool, "throttled")
	to <- gauge(gatesClosed, blocked, organization, account, pool, "blocked")
}

// A place is where a limit is shown.
type place struct{ account, pool, project, metric, window string }

func (v *View) placeOf(l *limiter.Limit) (at place) {
	switch l.Scope {
	case limiter.ScopePool:
		at.account, at.pool, _ = strings.Cut(l.Owner, "/")
	case limiter.ScopeProject:
		at.project = l.Owner
	}
	at.metric, at.window = v.Edition.metric(l.Spec.Metric), windowOf(&l.Spec)
	return at
}

// windowOf gives a window as a configuration has it; "" of a stock.
func windowOf(l *limiter.LimitSpec) string {
	switch l.Shape {
	case limiter.Stock:
		return ""
	case limiter.Calendar:
		return [...]string{limiter.Day: "day", limiter.Week: "week", limiter.Month: "month"}[l.Period]
	}
	text := l.Window.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// utilization is what a limit has held and reserved, as a part of its effective quota.
func utilization(l *limiter.Limit) float64 {
	return float64(l.Held+l.Reserved) / float64(max(1, l.Effective))
}

// collectLimits shows the limits. Of two that differ in neither metric nor window, but in
// their shape, the fuller counts.
func (v *View) collectLimits(to chan<- prometheus.Metric, organization string) {
	fullest := map[place]*limiter.Limit{}
	for i := range v.Limits {
		l, at := &v.Limits[i], v.placeOf(&v.Limits[i])
		if other := fullest[at]; other == nil || cmp.Less(utilization(other), utilization(l)) {
			fullest[at] = l
		}
	}
	for i := range v.Limits {
		l, at := &v.Limits[i], v.placeOf(&v.Limits[i])
		if fullest[at] != l {
			continue
		}
		labels := slices.Concat([]string{organization}, []string{at.account, at.pool, at.project, at.metric, at.window})
		to <- gauge(limitUtilization, utilization(l), labels...)
		to <- gauge(limitRemaining, float64(max(0, l.Effective-l.Held-l.Reserved)), labels...)
		to <- gauge(limitQuota, float64(l.Spec.Quota), labels...)
		to <- gauge(limitEffective, float64(l.Effective), labels...)
	}
}
