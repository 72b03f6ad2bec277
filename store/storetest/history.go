package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/watermaster-project/watermaster/store"
)

var histories = []rule{
	{"History is another when the log was begun anew, and else the same", losing, func(t *testing.T, s Subject) {
		l := s.Open(t)
		p := newProcess(t, l, acme, 1)
		install(p, p.at, "one")
		first := p.load().History
		if first == 0 {
			t.Fatal("got History 0")
		}
		p.append("x")
		install(p, p.at, "two")
		if got := p.load().History; got != first {
			t.Errorf("got History %x, want %x as before: nothing was lost", got, first)
		}
		if s.Peer != nil {
			if got, _, err := s.Peer(t, l).Load(t.Context(), acme); err != nil || got.History != first {
				t.Errorf("another process got History %x, %v; want %x", got.History, err, first)
			}
		}
		seen := map[uint64]bool{first: true}
		for range 3 {
			s.Lose(t, l, acme)
			if got := p.load().History; got == 0 || seen[got] {
				t.Errorf("got History %x for a log that was begun anew, and knew %v", got, seen)
			} else {
				seen[got] = true
			}
		}
	}},
	{"organizations do not wait for each other", 0, func(t *testing.T, s Subject) {
		l := s.Open(t)
		var all sync.WaitGroup
		for i := range 8 {
			p := newProcess(t, l, fmt.Sprint("organization-", i), 1)
			all.Go(func() {
				for range 200 {
					batch := p.batch("x")
					if _, err := p.try(batch); err != nil {
						t.Errorf("Append: %v", err)
						return
					}
				}
			})
		}
		all.Wait()
	}},
	{"concurrent writers see one order", entries | peers, func(t *testing.T, s Subject) {
		l := s.Open(t)
		const writers, each = 6, 200
		var all sync.WaitGroup
		var ps []*process
		for i := range writers {
			ps = append(ps, newProcess(t, s.Peer(t, l), acme, uint64(i+1)))
		}
		for _, p := range ps {
			all.Go(func() {
				for i := range each {
					if _, err := p.try(p.batch(fmt.Sprint(i))); err != nil {
						t.Errorf("Append: %v", err)
						return
					}
				}
			})
		}
		all.Wait()
		if t.Failed() {
			return
		}
		whole := newProcess(t, s.Peer(t, l), acme, 99)
		for _, p := range ps {
			p.read()
			same(t, p.had, whole.had[len(whole.had)-len(p.had):])
		}
		next := map[uint64]uint64{}
		for _, e := range whole.had {
			if next[e.Incarnation]++; e.Number != next[e.Incarnation] {
				t.Fatalf("incarnation %d: got number %d, want %d", e.Incarnation, e.Number, next[e.Incarnation])
			}
		}
	}},
	{"whatever is done, every reader has one history", entries | peers, func(t *testing.T, s Subject) {
		for seed := range uint64(20) {
			if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { oneHistory(t, s, seed) }) {
				return
			}
		}
	}},
}

// oneHistory lets processes append, resend, read, load and install at random, and
// compares all that they saw with one another.
func oneHistory(t *testing.T, s Subject, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	l := s.Open(t)
	var ps []*process
	for i := range 4 {
		ps = append(ps, newProcess(t, s.Peer(t, l), acme, uint64(i+1)))
	}
	seen := map[store.Position]store.Entry{} // by whoever saw it first
	note := func(got []store.Entry) {
		for _, e := range got {
			if first, ok := seen[e.Position]; ok {
				same(t, []store.Entry{e}, []store.Entry{first})
			}
			seen[e.Position] = e
		}
	}
	for step := range 300 {
		p := ps[r.IntN(len(ps))]
		before := len(p.had)
		var err error
		switch n := r.IntN(20); {
		case n < 10:
			_, err = p.try(p.batch(fmt.Sprint(step)))
		case n < 12: // the answer is lost, and the batch sent again
			b := p.batch(fmt.Sprint(step))
			if _, err = p.log.Append(t.Context(), acme, p.at, b, nil); err == nil {
				_, err = p.try(b)
			}
		case n < 16:
			_, err = p.try(store.Batch{})
		case n < 18:
			p.load()
			before = 0
		default:
			state := fmt.Appendf(nil, "state %d", p.at.Minor)
			if err = p.log.Install(t.Context(), acme, store.Snapshot{Position: p.at, State: state}); errors.Is(err, store.ErrStale) {
				err = nil
			}
		}
		if errors.Is(err, store.ErrBroken) { // it was trimmed beyond this process
			p.load()
			before, err = 0, nil
		}
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		note(p.had[before:])
	}
}
