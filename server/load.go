package server

import (
	"sync/atomic"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/policy"
)

// A load is what presses on a class where a request may go: in the pool that presses least.
type load struct {
	pool    string // "": none was looked at
	use     policy.Load
	reading policy.PressureReading
}

// loads keep, for each pool and class, how the pressure has been.
type loads struct {
	edition  *edition
	heavier  map[string]string // the next heavier class, by class; "" of the heaviest
	pressure map[poolClass]*policy.Pressure
	epoch    uint64 // counts configurations; ids of limits are those of one
}

type poolClass struct{ pool, class string }

// reset begins another epoch, with the edition that is in force.
func (s *loads) reset(e *limiter.Engine, in *edition) {
	s.epoch++
	s.edition = in
	s.heavier = map[string]string{}
	last := ""
	for _, c := range e.Classes() {
		s.heavier[c.Name], last = last, c.Name
	}
	if s.pressure == nil {
		s.pressure = map[poolClass]*policy.Pressure{}
	}
	for key, p := range s.pressure {
		_, known := in.maxWait[key.class]
		if _, there := in.poolScopes[key.pool]; !there || !known {
			delete(s.pressure, key)
			continue
		}
		p.Steps(in.policy)
	}
}

// join looks at another pool where a request may go.
func (s *loads) join(e *limiter.Engine, l *load, pool, class string) {
	own, total, wait, waiting := e.Use(pool, class)
	if l.pool != "" && (own > l.use.Own || own == l.use.Own && wait >= l.use.Wait) {
		return
	}
	if h := s.heavier[class]; waiting > 0 && h != "" {
		_, _, _, heavier := e.Use(pool, h)
		waiting -= heavier
	}
	l.pool = pool
	l.use = policy.Load{Own: own, Total: total, Wait: wait, Waiting: waiting}
}

// read ends the look: it says what a caller of the class is told.
func (s *loads) read(e *limiter.Engine, l *load, class string) {
	if l.pool == "" {
		return
	}
	key := poolClass{l.pool, class}
	p := s.pressure[key]
	if p == nil {
		state := s.edition.policy.NewPressure()
		p = &state
		s.pressure[key] = p
	}
	l.use.MaxWait = s.edition.maxWait[class]
	l.reading = p.Update(e.Now(), l.use)
}

// A diversion says whether those who ask for a route are sent to the targets with
// when_above first: the others are under pressure that asks for it.
type diversion struct {
	preferred []string                // pools of the targets without when_above
	classes   map[string]*atomic.Bool // by class
}

// judge looks anew. The caller holds organization.state.
func (d *diversion) judge(o *organization, class string) {
	var l load
	for _, pool := range d.preferred {
		o.loads.join(o.engine(), &l, pool, class)
	}
	o.loads.read(o.engine(), &l, class)
	if on := d.classes[class]; on != nil {
		on.Store(l.reading.Divert)
	}
}

// newDiversions makes the diversions of the routes that have targets with when_above.
func newDiversions(o *config.Organization, classes []config.Class) map[string]*diversion {
	all := map[string]*diversion{}
	for i := range o.Routes {
		r := &o.Routes[i]
		d := &diversion{classes: map[string]*atomic.Bool{}}
		for _, t := range r.Targets {
			if t.Above == 0 {
				d.preferred = append(d.preferred, t.Account+"/"+t.Pool)
			}
		}
		if n := len(d.preferred); n == 0 || n == len(r.Targets) {
			continue
		}
		for _, c := range classes {
			d.classes[c.Name] = &atomic.Bool{}
		}
		all[r.Name] = d
	}
	return all
}

// on says whether it is on for a class; "" is the standard one.
func (d *diversion) on(class string) bool {
	if class == "" {
		class = standardClass
	}
	b := d.classes[class]
	return b != nil && b.Load()
}

// standardClass is the class of a request that names none.
const standardClass = "standard"
