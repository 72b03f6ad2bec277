package server

import "github.com/watermaster-project/watermaster/server/policy"

// notFound tells of an unknown name, with the one that was probably meant.
func notFound(kind, name string, known []string) error {
	e := &policy.NotFound{Kind: kind, Name: name}
	best := len(name)/3 + 2
	for _, k := range known {
		if d := distance(name, k); d < best {
			e.Nearest, best = k, d
		}
	}
	return e
}

// distance counts the letters that are inserted, deleted or replaced between two names.
// Long names are too far apart to matter.
func distance(a, b string) int {
	const most = 128
	if len(a) > most || len(b) > most {
		return most
	}
	var row [most + 1]int
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
