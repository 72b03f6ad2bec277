package redis

import "strings"

// A Level says how much a finding matters.
type Level uint8

const (
	OK   Level = iota // as it should be
	Note              // good to know, or it could not be found out
	Warn              // it works, and something may go wrong that need not
	Fail              // it does not work, or budgets would be exceeded
)

func (l Level) String() string { return [...]string{"ok", "note", "warn", "fail"}[l] }

// A Finding is one thing that was looked at.
type Finding struct {
	Level  Level
	What   string // was looked at
	Found  string
	Change string // what to do, a directive or command where there is one; "": nothing
	Where  string // the servers that this was found at, "a:1, b:2"
}

// A Report is what was found, in the order in which it was looked for.
type Report []Finding

// Worst gives the highest level.
func (r Report) Worst() (worst Level) {
	for _, f := range r {
		worst = max(worst, f.Level)
	}
	return worst
}

// add adds a finding; what was found elsewhere as well is one.
func (r *Report) add(f Finding) {
	for i := range *r {
		old := &(*r)[i]
		if old.Level == f.Level && old.What == f.What && old.Found == f.Found && old.Change == f.Change {
			if f.Where != "" {
				old.Where = strings.TrimPrefix(old.Where+", "+f.Where, ", ")
			}
			return
		}
	}
	*r = append(*r, f)
}
