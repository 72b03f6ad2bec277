package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

// A Subject is a log under test.
type Subject struct {
	// Open gives a log without organizations, and closes it with the test.
	Open func(t *testing.T) store.Log
	// Peer gives what another process sees of the same log; it may be the log itself.
	// nil: the log is for one process, and cases with several are skipped.
	Peer func(t *testing.T, l store.Log) store.Log
	// Reopen gives what a new process finds after the log's has ended. nil: nothing
	// outlives it.
	Reopen func(t *testing.T, l store.Log) store.Log
	// Lose makes the log lose all that it has of an organization. nil: it cannot.
	Lose func(t *testing.T, l store.Log, organization string)
	// Pass lets time pass for the log and all of its peers. nil: cases that need it are
	// skipped.
	Pass func(d time.Duration)
	// Forgets says that entries are gone once they were returned: Load works only
	// where the snapshot is the latest entry.
	Forgets bool
}

// A rule is a case of the suite. It is skipped where the subject lacks what it needs.
type rule struct {
	name  string
	needs needs
	check func(t *testing.T, s Subject)
}

type needs uint8

const (
	entries needs = 1 << iota // that are kept
	peers
	reopening
	losing
	passing
)

// Test holds a log to the contract of package store.
func Test(t *testing.T, s Subject) {
	for _, rules := range [][]rule{beginnings, orders, times, snapshots, ends, histories} {
		for _, r := range rules {
			t.Run(r.name, func(t *testing.T) {
				if missing := r.needs &^ s.has(); missing != 0 {
					t.Skip("this needs ", missing)
				}
				r.check(t, s)
			})
		}
	}
}

func (n needs) String() string {
	var out []string
	for i, name := range []string{"entries that are kept", "peers", "Reopen", "Lose", "Pass"} {
		if n&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

func (s Subject) has() (n needs) {
	if !s.Forgets {
		n |= entries
	}
	if s.Peer != nil {
		n |= peers
	}
	if s.Reopen != nil {
		n |= reopening
	}
	if s.Lose != nil {
		n |= losing
	}
	if s.Pass != nil {
		n |= passing
	}
	return n
}
