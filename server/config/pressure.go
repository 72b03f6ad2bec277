package config

import "time"

// levels are the steps of `pressure:`, by height.
var levels = [3]string{"elevated", "high", "saturated"}

// defaultPressure is in force where nothing is said. Levels alone change nothing in a
// worker; what it shall do about them (tool calls, profiles) only its owner knows.
var defaultPressure = [3]PressureStep{{At: 800}, {At: 900, Divert: true}, {At: 1000, Divert: true}}

const defaultRelease = 30 * time.Second

// readPressure reads `pressure:`.
func (r *reader) readPressure(top fields) [3]PressureStep {
	steps := defaultPressure
	all := fields{reader: r, at: top.at}
	if n := top.value("pressure"); n != nil {
		all = r.fields(n, "the pressure", levels[:]...)
	}
	below := PressureStep{ReleaseAfter: defaultRelease}
	for i, level := range levels {
		f := fields{reader: r, at: all.at}
		if n := all.value(level); n != nil {
			f = r.fields(n, "the pressure level "+level, "at", "max_tool_calls", "agent_profile", "divert", "release_after")
		}
		s := &steps[i]
		s.At = int(f.share("at", 3, int64(s.At), 1, 1000))
		s.MaxToolCalls = int(f.whole("max_tool_calls", int64(below.MaxToolCalls), 1, maxPeople))
		s.AgentProfile = f.text("agent_profile", below.AgentProfile)
		s.Divert = s.Divert || below.Divert
		if d := f.flag("divert"); d != nil {
			s.Divert = *d
		}
		s.ReleaseAfter = f.duration("release_after", below.ReleaseAfter, 0, time.Hour)
		if s.At <= below.At {
			r.fail(f.where("at"), "", "%s begins at %s%%: it must be above the level below it, at %s%%",
				level, fraction(int64(s.At), 1), fraction(int64(below.At), 1))
		}
		below = *s
	}
	return steps
}
