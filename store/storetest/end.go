package storetest

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

var ends = []rule{
	{"a lost log is broken, not empty", losing, func(t *testing.T, s Subject) {
		l := s.Open(t)
		p := newProcess(t, l, acme, 1)
		p.append("x")
		s.Lose(t, l, acme)
		_, err := p.try(p.batch("y"))
		wants(t, "Append", err, store.ErrBroken)
		_, _, err = l.Load(t.Context(), acme)
		wants(t, "Load", err, store.ErrNotFound)
	}},
	{"a log begun anew does not continue the old", losing, func(t *testing.T, s Subject) {
		l := s.Open(t)
		if err := l.Create(t.Context(), acme, store.Snapshot{}); err != nil {
			t.Fatal(err)
		}
		begun, _, err := l.Load(t.Context(), acme)
		if err != nil {
			t.Fatal(err)
		}
		old := newProcess(t, l, acme, 1)
		old.append("x")
		s.Lose(t, l, acme)
		if err := l.Create(t.Context(), acme, store.Snapshot{Position: old.at, State: []byte("known")}); err != nil {
			t.Fatal(err)
		}
		// The same process writes the same number of entries; the places may be the same.
		now := newProcess(t, l, acme, 2)
		now.append("y")
		_, err = old.try(store.Batch{})
		wants(t, "Append after an old position", err, store.ErrBroken)
		_, err = l.Append(t.Context(), acme, begun.Position, store.Batch{}, nil)
		wants(t, "Append after the old beginning", err, store.ErrBroken)
		err = l.Install(t.Context(), acme, store.Snapshot{Position: old.at, State: []byte("old")})
		wants(t, "Install of an old state", err, store.ErrStale)
	}},
	{"an organization is kept for its hold", passing, func(t *testing.T, s Subject) {
		const hold = time.Minute
		l := s.Open(t)
		p := newProcess(t, l, acme, 1)
		for i := range 5 {
			b := p.batch("x")
			b.Hold = hold
			p.send(b)
			s.Pass(hold - 5*time.Second)
			// Whatever a log does to forget, it has the occasion.
			other := newProcess(t, l, fmt.Sprint("other-", i), 1)
			for range 1000 {
				other.append("noise")
			}
		}
		p.append("still here")
	}},
	{"a forgotten organization begins again with nothing", passing, func(t *testing.T, s Subject) {
		const hold = time.Minute
		l := s.Open(t)
		p := newProcess(t, l, acme, 1)
		b := p.batch("x")
		b.Hold = hold
		p.send(b)
		at := p.at
		s.Pass(10 * hold)
		_, tail, err := l.Load(t.Context(), acme)
		if err == nil {
			same(t, tail, p.had) // it may have been kept
			return
		}
		wants(t, "Load", err, store.ErrNotFound)
		if got := p.load(); len(got.State) != 0 || got.Position == at {
			t.Errorf("got %q at %v, want nothing at a new position", got.State, got.Position)
		}
	}},
	{"an organization without a hold is never forgotten", passing, func(t *testing.T, s Subject) {
		p := newProcess(t, s.Open(t), acme, 1)
		p.append("x")
		s.Pass(1000 * time.Hour)
		p.append("y")
	}},
	{"a closed log says so", 0, func(t *testing.T, s Subject) {
		l := s.Open(t)
		p := newProcess(t, l, acme, 1)
		c, ok := l.(io.Closer)
		if !ok {
			t.Skip("it cannot be closed")
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		_, _, err := l.Load(t.Context(), acme)
		wants(t, "Load", err, store.ErrClosed)
		wants(t, "Create", l.Create(t.Context(), acme, store.Snapshot{}), store.ErrClosed)
		_, err = p.try(p.batch("x"))
		wants(t, "Append", err, store.ErrClosed)
		wants(t, "Install", l.Install(t.Context(), acme, store.Snapshot{Position: p.at}), store.ErrClosed)
		l.Now(acme) // must not panic
	}},
	{"a new process finds what the last one left", reopening | entries, func(t *testing.T, s Subject) {
		l := s.Open(t)
		p := newProcess(t, l, acme, 1)
		p.append("1")
		install(p, p.at, "one")
		p.append("2")
		p.append("3")
		l = s.Reopen(t, l)
		got, tail, err := l.Load(t.Context(), acme)
		if err != nil || string(got.State) != "one" {
			t.Fatalf("got %q, %v", got.State, err)
		}
		same(t, tail, p.had[len(p.had)-2:])
		next := newProcess(t, l, acme, 2)
		if at := next.had[len(next.had)-1].Time; at < tail[1].Time {
			t.Errorf("time went back from %d to %d", tail[1].Time, at)
		}
		if _, err := p.log.Append(t.Context(), acme, p.at, store.Batch{}, nil); err == nil {
			t.Error("the former process still reads")
		} else if !errors.Is(err, store.ErrClosed) && !errors.Is(err, store.ErrUnavailable) {
			t.Logf("the former process has %v", err)
		}
	}},
}
