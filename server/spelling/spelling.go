package spelling

// maxName is the longest name that is compared, in bytes: none in a configuration is longer.
const maxName = 128

// enough is the work that Nearest may spend: some milliseconds.
const enough = 1_000_000

// Nearest gives the candidate that is spelled most like a word, the first of equals, or
// "" if none is near enough to have been meant.
func Nearest(word string, candidates []string) string {
	s := Search{Work: enough}
	return s.Nearest(word, candidates)
}

// A Search looks for near spellings with a bounded amount of work.
type Search struct {
	Work int // how many cells of the distance's table may still be filled
}

// Nearest gives the candidate that is spelled most like a word, the first of equals, or ""
// if none is near enough to have been meant, or none was found before the work was spent.
// A candidate that is the word itself does not count.
func (s *Search) Nearest(word string, candidates []string) string {
	within := min(3, 1+len(word)/4, len(word)-1)
	best := ""
	for _, c := range candidates {
		if s.Work--; s.Work < 0 {
			return best
		}
		if c == word {
			continue
		}
		if d := s.Distance(word, c, within); d <= within {
			best, within = c, d-1
		}
	}
	return best
}

// Distance counts the letters to insert, drop, replace or swap with their neighbour to
// make b of a; above within, or out of work, it gives any larger number.
func (s *Search) Distance(a, b string, within int) int {
	if len(a)-len(b) > within || len(b)-len(a) > within || len(a) > maxName || len(b) > maxName {
		return within + 1
	}
	if s.Work -= len(a) * len(b); s.Work < 0 {
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
