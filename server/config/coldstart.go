package config

// ColdStart is what a process that finds no state assumes of the use before it.
type ColdStart int

// The assumptions, from the default on.
const (
	ColdStartPace  ColdStart = iota // the full quota, evenly
	ColdStartWait                   // all of the quota in the last instant
	ColdStartTrust                  // none
)

var coldStarts = []string{"pace", "wait", "trust"}

// String gives the word that stands for it in a file.
func (c ColdStart) String() string {
	if c < 0 || int(c) >= len(coldStarts) {
		return "unknown"
	}
	return coldStarts[c]
}

// coldStart reads `cold_start:`.
func (f fields) coldStart(otherwise ColdStart) ColdStart {
	word := f.choice("cold_start", coldStarts...)
	for i, c := range coldStarts {
		if c == word {
			return ColdStart(i)
		}
	}
	return otherwise
}
