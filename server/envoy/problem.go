package envoy

import (
	"cmp"
	"slices"

	"github.com/watermaster-project/watermaster/server/config"
)

// A Problem is one thing that is wrong with a file, and where.
type Problem = config.Problem

// Errors are all problems of a directory, by file and line.
type Errors = config.Errors

// maxProblems bounds how many are told, so that files of rubbish stay cheap.
const maxProblems = 1000

// A ledger collects problems, each once: what an anchor stands for is read as often as it is
// used.
type ledger struct {
	list []Problem
	told map[Problem]bool
}

func (l *ledger) add(p Problem) {
	if l.told[p] || l.full() {
		return
	}
	if l.told == nil {
		l.told = make(map[Problem]bool)
	}
	l.told[p] = true
	l.list = append(l.list, p)
}

func (l *ledger) full() bool { return len(l.list) >= maxProblems }

func (l *ledger) sorted() []Problem {
	slices.SortStableFunc(l.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
	})
	return l.list
}
