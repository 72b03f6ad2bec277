package config

import (
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// zoneYearsAfter is for how long, from the file's modification time, a calendar limit
// knows its zone's offsets.
const zoneYearsAfter = 6

// zone resolves a zone's name to its offsets around the file's modification time. UTC is
// none: that is what the engine takes it for.
//
// "Local" is refused: a file must mean the same on every machine.
func (r *reader) zone(name string) ([]limiter.ZoneOffset, error) {
	bad := &badValue{message: quote(name) + " is not a time zone such as America/Los_Angeles"}
	if name == "" || name == "Local" {
		return nil, bad
	}
	if list, ok := r.zones[name]; ok {
		return list, nil
	}
	if r.errors.full() { // looking up what does not exist takes a while
		return nil, bad
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, bad
	}
	list := offsets(loc, r.modTime.AddDate(-1, 0, 0), r.modTime.AddDate(zoneYearsAfter, 0, 0))
	if len(list) == 1 && list[0].Seconds == 0 {
		list = nil
	}
	if r.zones == nil {
		r.zones = make(map[string][]limiter.ZoneOffset)
	}
	r.zones[name] = list
	return list, nil
}

// offsets lists a zone's offsets from one time to another. The first stands for all time
// before, too.
func offsets(loc *time.Location, from, to time.Time) []limiter.ZoneOffset {
	var list []limiter.ZoneOffset
	for t := from; ; {
		_, seconds := t.In(loc).Zone()
		// Some transitions change only the name, as from war time to peace time.
		if n := len(list); n == 0 || list[n-1].Seconds != int32(seconds) {
			list = append(list, limiter.ZoneOffset{From: limiter.Time(t.UnixNano()), Seconds: int32(seconds)})
		}
		_, end := t.In(loc).ZoneBounds()
		if end.IsZero() || end.After(to) {
			return list
		}
		if !end.After(t) { // by zones that go on by a rule, the last day of a leap year is endless
			end = t.Add(time.Hour)
		}
		t = end
	}
}

// hasZone says whether a calendar limit has offsets that end.
func (c *Config) hasZone() bool {
	for s := range c.scopes() {
		for _, l := range s.limits {
			if len(l.Zone) > 1 {
				return true
			}
		}
	}
	return false
}
