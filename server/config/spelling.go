package config

import (
	"fmt"
	"strconv"
)

// maxSpelling bounds the work that is spent on near spellings in one file, in cells of
// the distance's table: a fraction of a second.
const maxSpelling = 100_000_000

// nearest gives the candidate that was probably meant by a word, or "". Once no more
// errors are told it is not looked for.
func (r *reader) nearest(word string, candidates []string) string {
	if r.errors.full() {
		return ""
	}
	return r.spelling.Nearest(word, candidates)
}

// quote shows a piece of the file in a message: escaped, and not at any length.
func quote(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%s…", strconv.Quote(s[:80]))
	}
	return strconv.Quote(s)
}
