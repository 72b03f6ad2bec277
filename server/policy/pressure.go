package policy

import (
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
)

// Level is how hard it has become to get a call through.
type Level uint8

const (
	Normal Level = iota
	Elevated
	High
	Saturated
)

var levelNames = []string{"normal", "elevated", "high", "saturated"}

func (l Level) String() string { return nameOf(levelNames, int(l)) }

// maxUtilization saturates what is told, in 1/1000.
const maxUtilization = 1_000_000

// Utilization gives the use of the limits that matter to a class, the worst of them, in
// 1/1000. limits hold the use of each limit by class, in the order of the classes: the
// heaviest first. own is what would remain if all lighter classes stood aside, total what is.
func Utilization(limits [][]int, class int) (own, total int) {
	for _, uses := range limits {
		o, t := 0, 0
		for c, use := range uses {
			t += max(0, use)
			if c <= class {
				o += max(0, use)
			}
		}
		own, total = max(own, o), max(total, t)
	}
	return own, total
}

// A Load is what presses on a class.
type Load struct {
	Own     int           // 1/1000: use that would remain if lighter classes stood aside
	Total   int           // 1/1000: use by all
	Wait    time.Duration // what a call of the class would wait now
	MaxWait time.Duration // the longest it may
	Waiting int           // calls of the class that wait
}

// utilization is the worse of the use and the part of the patience that waiting takes. Whoever
// has no patience is at its end as soon as there is a wait.
func (l *Load) utilization() int {
	u := int64(max(0, l.Own))
	switch {
	case l.Wait <= 0:
	case l.MaxWait <= 0:
		u = max(u, 1000)
	default:
		u = max(u, int64(l.Wait/max(1, l.MaxWait/1000)))
	}
	return int(min(u, maxUtilization))
}

// Pressure is the level of one class in one organization, with its hysteresis: it rises at
// once, and leaves a level when the use was below its threshold for release_after. It isn't
// safe for concurrent use.
type Pressure struct {
	steps [3]config.PressureStep
	// last is when each step's threshold was last reached; reached says whether ever.
	last    [3]limiter.Time
	reached [3]bool
}

// PressureReading is what a worker is told.
type PressureReading struct {
	Level            Level
	Utilization      int // 1/1000, of the class; may exceed 1000
	TotalUtilization int // 1/1000, of all
	Waiting          int
	MaxToolCalls     int    // 0: says nothing
	AgentProfile     string // "": says nothing
	Divert           bool   // see Request.Divert
}

// NewPressure begins at Normal.
func (p *Policy) NewPressure() Pressure { return Pressure{steps: p.pressure} }

// Steps replaces the steps after a reload; the level is kept where it still exists.
func (s *Pressure) Steps(p *Policy) { s.steps = p.pressure }

// Update takes what presses now and gives what follows. A time before that of an earlier
// call counts as that.
func (s *Pressure) Update(now limiter.Time, load Load) PressureReading {
	r := PressureReading{
		Utilization:      load.utilization(),
		TotalUtilization: min(max(0, load.Total), maxUtilization),
		Waiting:          max(0, load.Waiting),
	}
	for i := range s.steps {
		step := &s.steps[i]
		if step.At <= 0 {
			continue // there is no such step
		}
		if r.Utilization >= step.At {
			s.last[i], s.reached[i] = max(now, s.last[i]), true
			r.Level = Level(i + 1)
		} else if s.reached[i] && now.Sub(s.last[i]) < step.ReleaseAfter {
			r.Level = Level(i + 1)
		}
	}
	// A level that leaves something open takes it from the one below.
	for i := int(r.Level) - 1; i >= 0; i-- {
		step := &s.steps[i]
		if step.At <= 0 {
			continue
		}
		if r.MaxToolCalls == 0 {
			r.MaxToolCalls = step.MaxToolCalls
		}
		if r.AgentProfile == "" {
			r.AgentProfile = step.AgentProfile
		}
		r.Divert = r.Divert || step.Divert
	}
	return r
}
