package server

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/metrics"
	"github.com/watermaster-project/watermaster/server/policy"
)

// Metrics gathers all metrics of the server, its process and the Go runtime, for a handler of
// promhttp. METRICS.md tells them.
func (s *Server) Metrics() prometheus.Gatherer { return s.metrics.Gatherer() }

// SetCertificate adds the server's certificate to the metrics. It comes before the first scrape.
func (s *Server) SetCertificate(c metrics.Certificate) { s.metrics.SetCertificate(c) }

// Reloaded notes that it was tried to put another configuration in force, be it that the file
// could not be read, and how it ended. It is called once for each attempt, Reload included.
func (s *Server) Reloaded(err error) { s.metrics.Reloaded(err) }

// LimitsLoaded notes that it was tried to put other limits of Envoy's domains in force, be it
// that the files could not be read, and how it ended. It is called once for each attempt, that
// of New and ReloadLimits included.
func (s *Server) LimitsLoaded(err error) { s.metrics.LimitsLoaded(err) }

// stand tells how the server stands.
func (s *Server) stand() metrics.State {
	d := s.directory.Load()
	s.healthLock.Lock()
	lost := s.lost
	s.healthLock.Unlock()
	state := metrics.State{
		Revision: d.config.Revision, Hash: d.config.Hash, MaxWaiters: s.maxWaiting, Lost: lost,
		Unauthenticated: uint64(s.unauthenticated.Load()), Denied: uint64(s.denied.Load()),
		Domains: d.limits != nil,
	}
	all := d.all()
	state.Organizations = make([]metrics.View, len(all))
	for i, o := range all {
		state.Organizations[i] = o.stand()
	}
	return state
}

// stand tells how the organization stands. Nothing is decided while the replica's lock is held, so that
// costs the same however many projects and leases there are.
func (o *organization) stand() metrics.View {
	o.refresh()
	counts := o.edition.Load().counts
	o.replica.Lock()
	uses := o.consumers.uses()
	o.replica.Unlock()
	projects := counts.Projects(uses)

	o.replica.Lock()
	defer o.replica.Unlock()
	v := metrics.View{Edition: counts, Domain: o.domain, Panics: uint64(o.replica.Panics()), Lost: o.replica.Lost()}
	if o.began.Cold {
		v.Cold = o.began.Assumed.String()
	}
	if o.replica.Lost() {
		return v
	}
	if v.Shared = o.replica.Shared(); v.Shared {
		_, v.Away = o.isAway()
	}
	now := max(o.now(), o.engine().Now())
	if o.domain == nil {
		v.Limits = o.engine().LimitsOf(now, projects)
		v.Pools = slices.DeleteFunc(o.engine().Pools(now), func(p limiter.PoolView) bool { return p.Name == policy.OwnerPool })
		v.Classes = o.engine().Classes()
		v.Oldest = o.oldest(now, v.Classes)
	}
	v.Leases, _ = o.engine().Counts()
	v.Counters, v.Evicted = o.engine().Counters()
	v.TailBytes, v.SnapshotBytes = o.replica.Tail()
	v.Snapshots = o.snapshots
	if v.Shared {
		v.Replicas = heard(o.engine().Peers(nil), now)
		_, v.Missing, _ = o.engine().RollCall()
	}
	return v
}

// heard counts the processes that were heard of of late.
func heard(peers []limiter.Peer, now limiter.Time) (n int) {
	for i := range peers {
		if peers[i].Heard.Add(quietFor) >= now {
			n++
		}
	}
	return n
}

// quietFor is after how long a process that is not heard of may have gone.
const quietFor = 10 * time.Second

// uses tells how often projects were granted of late.
func (s *consumers) uses() []metrics.Use {
	list := make([]metrics.Use, len(s.projects))
	for i := range s.projects {
		list[i] = metrics.Use{Project: s.projects[i].project, Grants: s.projects[i].grants}
	}
	return list
}

// oldest tells, by class, how long the request has waited that waits longest. The caller
// holds the replica's lock.
func (o *organization) oldest(now limiter.Time, classes []limiter.ClassView) []time.Duration {
	oldest := make([]time.Duration, len(classes))
	for _, p := range o.places {
		for i := range classes {
			if classes[i].Name == p.class {
				oldest[i] = max(oldest[i], now.Sub(p.since))
				break
			}
		}
	}
	return oldest
}
