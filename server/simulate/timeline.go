package simulate

import (
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// bin is how fine the samples are.
const bin = time.Second

// A Timeline samples the queue once a second, and sums up the waits of each minute. Its
// size depends on the span alone: about 10 MB for 12 h.
type Timeline struct {
	Classes []string // the heaviest first
	Samples []Sample
	Minutes []Minute
	pools   []string
	at      int // the bin that runs
	idle    []bool
	waits   [][]time.Duration // of the minute that runs, by class
}

// A Sample is one second.
type Sample struct {
	Waiting []int  // by class, at its end
	idle    []bool // by pool: at some instant nobody waited
}

// A Minute is what the calls have waited that were served in it, by class.
type Minute []Waits

// Waits are those of the calls of a class.
type Waits struct {
	Calls    int
	P99, Max time.Duration
}

func newTimeline(e *limiter.Engine, providers map[string]*provider.Provider) *Timeline {
	t := &Timeline{}
	for _, c := range e.Classes() {
		t.Classes = append(t.Classes, c.Name)
	}
	for _, p := range e.Pools(0) {
		if providers[p.Name] != nil {
			t.pools = append(t.pools, p.Name)
		}
	}
	t.idle = make([]bool, len(t.pools))
	t.waits = make([][]time.Duration, len(t.Classes))
	t.look(e)
	return t
}

// look notes for which pools nobody waits.
func (t *Timeline) look(e *limiter.Engine) {
	_, waiting := e.Counts()
	lightest := t.Classes[len(t.Classes)-1]
	for i, p := range t.pools {
		if t.idle[i] {
			continue
		}
		if waiting > 0 && len(t.pools) > 1 {
			_, _, _, n := e.Use(p, lightest)
			t.idle[i] = n == 0
		} else { // who waits can only wait for the one pool
			t.idle[i] = waiting == 0
		}
	}
}

// waited notes what a call has waited.
func (t *Timeline) waited(class string, wait time.Duration) {
	if i := slices.Index(t.Classes, class); i >= 0 {
		t.waits[i] = append(t.waits[i], wait)
	}
}

// moveTo ends the bins before a time.
func (t *Timeline) moveTo(at time.Duration, e *limiter.Engine) {
	for ; t.at < int(at/bin); t.at++ {
		t.look(e)
		s := Sample{idle: slices.Clone(t.idle)}
		for _, c := range e.Classes() {
			s.Waiting = append(s.Waiting, c.Waiting)
		}
		t.Samples = append(t.Samples, s)
		clear(t.idle)
		if (t.at+1)%int(time.Minute/bin) == 0 {
			t.endMinute()
		}
	}
}

func (t *Timeline) endMinute() {
	m := make(Minute, len(t.Classes))
	for i, w := range t.waits {
		slices.Sort(w)
		if n := len(w); n > 0 {
			m[i] = Waits{n, w[(n*99+99)/100-1], w[n-1]}
		}
		t.waits[i] = w[:0]
	}
	t.Minutes = append(t.Minutes, m)
}

// finish ends the minute that runs.
func (t *Timeline) finish() {
	if slices.ContainsFunc(t.waits, func(w []time.Duration) bool { return len(w) > 0 }) {
		t.endMinute()
	}
}
