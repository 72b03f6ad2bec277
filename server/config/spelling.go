package config

import (
	"fmt"
	"strconv"
)

// maxSpelling bounds the work that is spent on near spellings in one file, in cells of
// the distance's table: a fraction of a second.
const maxSpelling = 100_000_000

// nearest gives the candidate that is spelled most like a word, the first of equals, or
// "" if none is near enough to have been meant.
func (r *reader) nearest(word string, candidates []string) string {
	within := min(3, 1+len(word)/4, len(word)-1)
	best := ""
	if r.errors.full() {
		return ""
	}
	for _, c := range candidates {
		if r.spelling++; r.spelling > maxSpelling {
			return best
		}
		if c == word {
			continue
		}
		if d := r.distance(word, c, within); d <= within {
			best, within = c, d-1
		}
	}
	return best
}

// distance counts the letters to insert, drop, replace or swap with their neighbour to
// make b of a; above within, or out of work, it gives any larger number.
func (r *reader) distance(a, b string, within int) int {
	if len(a)-len(b) > within || len(b)-len(a) > within || len(a) > maxName || len(b) > maxName {
		return within + 1
	}
	if r.spelling += len(a) * len(b); r.spelling > maxSpelling {
		return within + 1
	}
	var table [3][maxName + 1]int
	before, last, row := &table[0], &table[1], &table[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least > within+1 { // a swap may still take one off
			return within + 1
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// quote shows a piece of the file in a message: escaped, and not at any length.
func quote(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%s…", strconv.Quote(s[:80]))
	}
	return strconv.Quote(s)
}
