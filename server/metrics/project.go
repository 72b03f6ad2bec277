package metrics

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// MaxProjects bounds the projects of an organization that have series of their own.
const MaxProjects = 100

// other is the project of all that have no series of their own. A project of that name is
// counted with them.
const other = "other"

// A Project counts what is told at the end of its calls.
type Project struct {
	expired  atomic.Uint64
	unsent   atomic.Uint64 // too late, and so not sent
	late     atomic.Uint64 // too late, and sent nevertheless
	owed     atomic.Int64
	estimate histogram
}

func newProject() *Project { return &Project{estimate: ratios.histogram()} }

// Expired counts a lease that ended by its TTL.
func (p *Project) Expired() { p.expired.Add(1) }

// LateStart counts a call whose start_within was over before it was sent, or before it was
// given up.
func (p *Project) LateStart(sent bool) {
	if sent {
		p.late.Add(1)
	} else {
		p.unsent.Add(1)
	}
}

// Used counts a call by the tokens that it has used of those that were estimated. Both are
// within 1 … 2⁵⁰.
func (p *Project) Used(actual, estimated int64) {
	p.estimate.observe((actual*1000 + estimated - 1) / estimated)
	p.owed.Add(max(0, actual-estimated))
}

func (p *Project) collect(to chan<- prometheus.Metric, organization, name string) {
	to <- counter(leasesExpired, p.expired.Load(), organization, name)
	to <- counter(lateStarts, p.unsent.Load(), organization, name, strconv.FormatBool(false))
	to <- counter(lateStarts, p.late.Load(), organization, name, strconv.FormatBool(true))
	to <- counter(debtTokens, uint64(p.owed.Load()), organization, name)
	if !p.estimate.empty() {
		p.estimate.collect(to, estimateRatio, organization, name)
	}
}

// A Use is how often a project was granted of late.
type Use struct {
	Project string
	Grants  uint32
}

// projects tell at most MaxProjects apart: those that the configuration names first, then
// those that are used most.
type projects struct {
	mu       sync.Mutex
	named    map[string]bool
	template bool // others than the named ones may be
	own      map[string]*Project
	others   *Project
}

func newProjects() projects {
	return projects{named: map[string]bool{}, own: map[string]*Project{}, others: newProject()}
}

// get gives the counters of a project.
func (p *projects) get(name string) *Project {
	p.mu.Lock()
	defer p.mu.Unlock()
	if own := p.own[name]; own != nil {
		return own
	}
	if p.may(name) && len(p.own) < MaxProjects {
		p.own[name] = newProject()
		return p.own[name]
	}
	return p.others
}

// may says whether a project can have series of its own.
func (p *projects) may(name string) bool { return name != other && (p.named[name] || p.template) }

// name makes the projects those of a configuration.
func (p *projects) name(named []string, template bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.template = template
	clear(p.named)
	for _, name := range named {
		p.named[name] = true
	}
	maps.DeleteFunc(p.own, func(name string, _ *Project) bool { return !p.may(name) })
	unnamed := slices.DeleteFunc(slices.Sorted(maps.Keys(p.own)), func(name string) bool { return p.named[name] })
	for _, name := range named {
		if p.own[name] != nil || !p.may(name) {
			continue
		}
		if len(p.own) >= MaxProjects {
			if len(unnamed) == 0 {
				break // those that are used most come with time
			}
			delete(p.own, unnamed[0])
			unnamed = unnamed[1:]
		}
		p.own[name] = newProject()
	}
}

// A project takes another's place if it was granted so much more often: a place that changes
// hands all the time would make series without end.
const (
	displaceTimes = 2
	displaceLeast = 16
)

// rank gives places to the projects that are used most, and lists those that have one,
// ascending.
func (p *projects) rank(uses []Use) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	grants := make(map[string]uint32, len(uses))
	var without []string
	for _, u := range uses {
		grants[u.Project] = u.Grants
		if p.own[u.Project] == nil && p.may(u.Project) {
			without = append(without, u.Project)
		}
	}
	first := func(a, b string) int { // who has the better claim
		switch {
		case p.named[a] && !p.named[b]:
			return -1
		case p.named[b] && !p.named[a]:
			return 1
		}
		return cmp.Or(cmp.Compare(grants[b], grants[a]), cmp.Compare(a, b))
	}
	slices.SortFunc(without, first)
	for len(without) > 0 && len(p.own) < MaxProjects {
		p.own[without[0]] = newProject()
		without = without[1:]
	}
	if len(without) > 0 {
		with := slices.SortedFunc(maps.Keys(p.own), func(a, b string) int { return first(b, a) })
		for i := range min(len(with), len(without)) {
			out, in := with[i], without[i]
			if p.named[out] == p.named[in] && grants[in] < max(displaceLeast, displaceTimes*grants[out]) ||
				p.named[out] && !p.named[in] {
				break
			}
			delete(p.own, out)
			p.own[in] = newProject()
		}
	}
	return slices.Sorted(maps.Keys(p.own))
}

func (p *projects) collect(to chan<- prometheus.Metric, organization string) {
	p.mu.Lock()
	own := maps.Clone(p.own)
	p.mu.Unlock()
	for name, project := range own {
		project.collect(to, organization, name)
	}
	p.others.collect(to, organization, other)
}
