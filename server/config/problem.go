package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds how many are told, so that a file of rubbish stays cheap.
const maxProblems = 1000

// A Problem is one thing that is wrong with a file, and where.
type Problem struct {
	File         string
	Line, Column int    // from 1; 0: the file as a whole
	Message      string // says what to do, where that is not plain
	Hint         string // what was probably meant; "": no idea
}

// String reads file:line:column: message (did you mean "hint"?).
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	b.WriteString(p.Message)
	if p.Hint != "" {
		fmt.Fprintf(&b, " (did you mean %q?)", p.Hint)
	}
	return b.String()
}

// Errors are all problems of a file, by line.
type Errors []Problem

// Error has one problem a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// A ledger collects problems, each once: what stands behind an anchor is read as often
// as it is used.
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
		return cmp.Or(a.Line-b.Line, a.Column-b.Column)
	})
	return l.list
}
