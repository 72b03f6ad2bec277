package trace

import (
	"iter"
	"time"
)

// Loop repeats rows, which are in order of time, until before span. Each round begins
// one mean gap after the last row of the round before, and a second after it where there
// is no gap; indices go on.
func Loop(rows []Row, span time.Duration) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		if len(rows) == 0 {
			return
		}
		period := rows[len(rows)-1].At - rows[0].At
		if period > 0 {
			period += period / time.Duration(len(rows)-1)
		} else {
			period = time.Second
		}
		indices := 0
		for _, row := range rows {
			indices = max(indices, row.Index+1)
		}
		for round := 0; ; round++ {
			shift := time.Duration(round)*period - rows[0].At
			for _, row := range rows {
				row.At += shift
				row.Index += round * indices
				if row.At >= span || !yield(row) {
					return
				}
			}
		}
	}
}
