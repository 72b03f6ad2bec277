package config

import "github.com/watermaster-project/watermaster/limiter"

// coldStarts are the words for what a process that finds no state assumes of the use before
// it.
var coldStarts = []limiter.ColdStart{limiter.Pace, limiter.Wait, limiter.Trust}

// coldStart reads `cold_start:`.
func (f fields) coldStart(otherwise limiter.ColdStart) limiter.ColdStart {
	words := make([]string, len(coldStarts))
	for i, c := range coldStarts {
		words[i] = c.String()
	}
	word := f.choice("cold_start", words...)
	for _, c := range coldStarts {
		if c.String() == word {
			return c
		}
	}
	return otherwise
}
