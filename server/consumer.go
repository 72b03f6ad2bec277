package server

import (
	"cmp"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// maxConsumers bounds the projects that are told apart in an organization. With more of
// them those that were granted least of late make room for others.
const maxConsumers = 256

// consumers tell which projects use the limits of pools and of the organization. They serve
// those who look; no decision reads them.
type consumers struct {
	projects []consumer
	index    map[string]int // in projects, by name
	hand     int            // where to look next for one that makes room
	byLimit  []*consumption // by LimitID; nil: of a project
}

// A consumer is a project that is told apart.
type consumer struct {
	project string
	grants  uint32 // of late: halved whenever it was passed over
}

// A consumption is what projects use of one limit: of a stock what they hold; otherwise
// what they were charged in this span of a window's length and in the one before.
type consumption struct {
	key    limitKey
	stock  bool
	window time.Duration
	start  limiter.Time // of this span
	list   []amounts    // as consumers.projects
}

type amounts struct{ now, before int64 }

// A share is what a project has of a limit.
type share struct {
	project string
	held    int64
}

// A limitKey names a limit beyond a configuration.
type limitKey struct {
	scope  limiter.Scope
	owner  string
	metric limiter.Metric
	name   string
}

func keyOf(l *limiter.Limit) limitKey {
	return limitKey{l.Scope, l.Owner, l.Spec.Metric, l.Spec.Name}
}

// configure follows the engine to another configuration. What is counted at limits that
// stay is kept.
func (s *consumers) configure(e *limiter.Engine) {
	old := map[limitKey]*consumption{}
	for _, c := range s.byLimit {
		if c != nil {
			old[c.key] = c
		}
	}
	s.byLimit = nil
	limits := e.Limits(e.Now())
	for i := range limits {
		l := &limits[i]
		if l.Scope == limiter.ScopeProject {
			continue
		}
		c := old[keyOf(l)]
		if c == nil {
			c = &consumption{key: keyOf(l), start: e.Now(), list: make([]amounts, maxConsumers)}
		}
		c.stock, c.window = l.Spec.Shape == limiter.Stock, windowOf(&l.Spec)
		for int(l.ID) >= len(s.byLimit) {
			s.byLimit = append(s.byLimit, nil)
		}
		s.byLimit[l.ID] = c
	}
}

// windowOf gives a limit's window, 0 for a stock; of a calendar limit, the longest that it
// can be.
func windowOf(l *limiter.LimitSpec) time.Duration {
	const day = 24 * time.Hour
	switch l.Shape {
	case limiter.Stock:
		return 0
	case limiter.SlidingWindow, limiter.TokenBucket:
		return l.Window
	}
	return [...]time.Duration{limiter.Day: day, limiter.Week: 7 * day, limiter.Month: 31 * day}[l.Period]
}

// at gives the consumption that a charge belongs to; nil: it is a project's own.
func (s *consumers) at(c *limiter.LeaseCharge) *consumption {
	if c.Scope == limiter.ScopeProject || int(c.Limit) >= len(s.byLimit) {
		return nil
	}
	return s.byLimit[c.Limit]
}

// find gives a project's place; < 0: it has none.
func (s *consumers) find(project string) int {
	if i, ok := s.index[project]; ok {
		return i
	}
	return -1
}

// enter gives a project a place.
func (s *consumers) enter(project string) int {
	if i, ok := s.index[project]; ok {
		s.projects[i].grants++
		return i
	}
	if s.index == nil {
		s.index = map[string]int{}
	}
	i := len(s.projects)
	if i < maxConsumers {
		s.projects = append(s.projects, consumer{project, 1})
		s.index[project] = i
		return i
	}
	for i = s.hand; s.projects[i].grants > 1; i = (i + 1) % maxConsumers {
		s.projects[i].grants /= 2
	}
	s.hand = (i + 1) % maxConsumers
	delete(s.index, s.projects[i].project)
	for _, c := range s.byLimit {
		if c != nil {
			c.list[i] = amounts{}
		}
	}
	s.projects[i] = consumer{project, 1}
	s.index[project] = i
	return i
}

// add counts what a grant charges.
func (s *consumers) add(now limiter.Time, project string, charges []limiter.LeaseCharge) {
	k := s.enter(project)
	for i := range charges {
		if c := s.at(&charges[i]); c != nil {
			c.add(now, k, charges[i].Amount)
		}
	}
}

// settle corrects what a grant was counted as; late: its stocks were given back before.
func (s *consumers) settle(now limiter.Time, project string, before, after []limiter.LeaseCharge, late bool) {
	k := s.find(project)
	if k < 0 {
		return
	}
	for i := range after {
		c := s.at(&after[i])
		switch {
		case c == nil || i >= len(before):
		case !c.stock:
			c.add(now, k, after[i].Amount-before[i].Amount)
		case !late:
			c.add(now, k, -after[i].Amount)
		}
	}
}

// expire takes back the stocks of a lease.
func (s *consumers) expire(now limiter.Time, project string, charges []limiter.LeaseCharge) {
	k := s.find(project)
	for i := range charges {
		if c := s.at(&charges[i]); k >= 0 && c != nil && c.stock {
			c.add(now, k, -charges[i].Amount)
		}
	}
}

// turn begins another span when this one is over.
func (c *consumption) turn(now limiter.Time) {
	past := now.Sub(c.start)
	if c.stock || past < c.window {
		return
	}
	far := past >= 2*c.window
	for i := range c.list {
		c.list[i].before, c.list[i].now = c.list[i].now, 0
		if far {
			c.list[i].before = 0
		}
	}
	c.start = now.Add(-(past % max(1, c.window)))
}

func (c *consumption) add(now limiter.Time, project int, amount int64) {
	c.turn(now)
	a := &c.list[project]
	a.now = max(0, a.now+amount)
}

// top gives the projects that use a limit most, as parts of what it holds in all.
func (s *consumers) top(id limiter.LimitID, now limiter.Time, held int64, n int) []share {
	if int(id) >= len(s.byLimit) || s.byLimit[id] == nil {
		return nil
	}
	c := s.byLimit[id]
	c.turn(now)
	left := 1 - float64(now.Sub(c.start))/float64(max(1, c.window))
	var parts []share
	var sum float64
	for i, a := range c.list[:len(s.projects)] {
		amount := a.now
		if !c.stock {
			amount += int64(left * float64(a.before))
		}
		if amount > 0 {
			sum += float64(amount)
			parts = append(parts, share{s.projects[i].project, amount})
		}
	}
	slices.SortFunc(parts, func(a, b share) int {
		return cmp.Or(cmp.Compare(b.held, a.held), cmp.Compare(a.project, b.project))
	})
	parts = parts[:min(n, len(parts))]
	for i := range parts {
		if !c.stock {
			parts[i].held = int64(float64(parts[i].held)/sum*float64(held) + 0.5)
		}
	}
	return slices.DeleteFunc(parts, func(p share) bool { return p.held == 0 })
}
