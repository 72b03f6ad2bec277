package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

var beginnings = []rule{
	{"an organization has no log before Create", 0, func(t *testing.T, s Subject) {
		l := s.Open(t)
		_, _, err := l.Load(t.Context(), acme)
		wants(t, "Load", err, store.ErrNotFound)
		batch := store.Batch{Incarnation: 1, Number: 1}
		_, err = l.Append(t.Context(), acme, store.Position{}, batch, nil)
		wants(t, "Append", err, store.ErrBroken)
		_, err = l.Append(t.Context(), acme, store.Position{Major: 1, Minor: 1, Incarnation: 1, Number: 1}, batch, nil)
		wants(t, "Append after an invented position", err, store.ErrBroken)
		err = l.Install(t.Context(), acme, store.Snapshot{Position: store.Position{Minor: 1}})
		wants(t, "Install", err, store.ErrNotFound)
	}},
	{"a log begins with nothing", 0, func(t *testing.T, s Subject) {
		l := s.Open(t)
		if err := l.Create(t.Context(), acme, store.Snapshot{}); err != nil {
			t.Fatal(err)
		}
		got, tail, err := l.Load(t.Context(), acme)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.State) != 0 || len(tail) != 0 {
			t.Errorf("got state %q and %d entries, want nothing", got.State, len(tail))
		}
		if got.Position == (store.Position{}) {
			t.Error("got the zero position, want one of the log's own")
		}
	}},
	{"a log begins with its creator's state, not before its time", 0, func(t *testing.T, s Subject) {
		l := s.Open(t)
		now, _ := l.Now(acme)
		from := store.Snapshot{State: []byte("state"), Time: now.Time + store.Time(time.Minute)}
		if err := l.Create(t.Context(), acme, from); err != nil {
			t.Fatal(err)
		}
		got, _, err := l.Load(t.Context(), acme)
		if err != nil {
			t.Fatal(err)
		}
		if string(got.State) != "state" || got.Time < from.Time {
			t.Errorf("got %q at %d, want %q not before %d", got.State, got.Time, from.State, from.Time)
		}
		p := newProcess(t, l, acme, 1)
		if at := p.had[0].Time; at < got.Time {
			t.Errorf("first entry at %d, before the log's beginning at %d", at, got.Time)
		}
	}},
	{"a log is created once", 0, func(t *testing.T, s Subject) {
		l := s.Open(t)
		if err := l.Create(t.Context(), acme, store.Snapshot{State: []byte("first")}); err != nil {
			t.Fatal(err)
		}
		err := l.Create(t.Context(), acme, store.Snapshot{State: []byte("second")})
		wants(t, "second Create", err, store.ErrExists)
		if got, _, err := l.Load(t.Context(), acme); err != nil || string(got.State) != "first" {
			t.Errorf("got %q, %v; want the first", got.State, err)
		}
	}},
	{"of many creators one wins", peers, func(t *testing.T, s Subject) {
		l := s.Open(t)
		var won atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			peer := s.Peer(t, l)
			all.Go(func() {
				switch err := peer.Create(t.Context(), acme, store.Snapshot{}); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, store.ErrExists):
					t.Errorf("Create: %v", err)
				}
			})
		}
		all.Wait()
		if got := won.Load(); got != 1 {
			t.Errorf("%d creators succeeded, want 1", got)
		}
	}},
	{"organizations have nothing to do with each other", 0, func(t *testing.T, s Subject) {
		l := s.Open(t)
		// Names that a careless key would confuse.
		var all []*process
		for i, name := range []string{"a", "b", "a:b", "{a}", "a}b", "A", "ä", " "} {
			all = append(all, newProcess(t, l, name, uint64(i+1)))
		}
		for range 3 {
			for _, p := range all {
				p.append(p.organization)
			}
		}
		for _, p := range all {
			if len(p.had) != 4 {
				t.Errorf("%q has %v, want its own 4", p.organization, texts(p.had))
			}
		}
		_, err := l.Append(t.Context(), "b", all[0].at, store.Batch{}, nil)
		if all[0].at != all[1].at {
			wants(t, "reading b after a position of a", err, store.ErrBroken)
		}
	}},
	{"Kept never exceeds what is known", passing, func(t *testing.T, s Subject) {
		l := s.Open(t)
		s.Pass(time.Minute)
		if err := l.Create(t.Context(), acme, store.Snapshot{}); err != nil {
			t.Fatal(err)
		}
		got, _, err := l.Load(t.Context(), acme)
		if err != nil || got.Kept < 0 || got.Kept > time.Minute+10*time.Second {
			t.Fatalf("got Kept %v, %v, a minute after the log was opened", got.Kept, err)
		}
		s.Pass(time.Minute)
		if s.Forgets {
			return
		}
		newProcess(t, l, acme, 1).append("x")
		if again, _, _ := l.Load(t.Context(), acme); again.Kept != got.Kept {
			t.Errorf("got Kept %v, then %v; want the same for all readers", got.Kept, again.Kept)
		}
	}},
	{"a lost log is not taken for an idle one", losing | passing, func(t *testing.T, s Subject) {
		l := s.Open(t)
		s.Pass(time.Hour)
		p := newProcess(t, l, acme, 1)
		p.append("x")
		s.Lose(t, l, acme)
		if got := p.load(); got.Kept > 10*time.Second {
			t.Errorf("got Kept %v for a log that has just lost entries, want 0", got.Kept)
		}
	}},
}
