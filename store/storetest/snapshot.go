package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/watermaster-project/watermaster/store"
)

var snapshots = []rule{
	{"Load gives all that Append gave", entries, func(t *testing.T, s Subject) {
		l := s.Open(t)
		p := newProcess(t, l, acme, 1)
		for i := range 50 {
			p.append(fmt.Sprint(i))
		}
		_, tail, err := l.Load(t.Context(), acme)
		if err != nil {
			t.Fatal(err)
		}
		same(t, tail, p.had)
	}},
	{"a snapshot stands for the entries up to it", entries, func(t *testing.T, s Subject) {
		l := s.Open(t)
		p := newProcess(t, l, acme, 1)
		for i := range 10 {
			p.append(fmt.Sprint(i))
		}
		mid := p.had[4]
		install(p, mid.Position, "five")
		got, tail, err := l.Load(t.Context(), acme)
		if err != nil {
			t.Fatal(err)
		}
		if string(got.State) != "five" || got.Position != mid.Position || got.Time != mid.Time {
			t.Errorf("got %q at %v, time %d; want %q at %v, time %d", got.State, got.Position, got.Time, "five", mid.Position, mid.Time)
		}
		if got.Kept != 0 {
			t.Errorf("got Kept %v, want 0 with a state", got.Kept)
		}
		same(t, tail, p.had[5:])
	}},
	{"a snapshot of the latest entry leaves no tail", 0, func(t *testing.T, s Subject) {
		l := s.Open(t)
		p := newProcess(t, l, acme, 1)
		p.append("x")
		install(p, p.at, "all")
		got, tail, err := l.Load(t.Context(), acme)
		if err != nil || string(got.State) != "all" || len(tail) != 0 {
			t.Errorf("got %q, %v, %v", got.State, texts(tail), err)
		}
		if got := p.append("y"); len(got) != 1 {
			t.Errorf("got %v after the snapshot, want the batch", texts(got))
		}
	}},
	{"only a later snapshot gets in", entries, func(t *testing.T, s Subject) {
		l := s.Open(t)
		p := newProcess(t, l, acme, 1)
		for range 5 {
			p.append("x")
		}
		install(p, p.had[2].Position, "three")
		for _, e := range p.had[:3] {
			err := l.Install(t.Context(), acme, store.Snapshot{Position: e.Position, State: []byte("old")})
			wants(t, "Install of an older state", err, store.ErrStale)
		}
		install(p, p.had[3].Position, "four")
		install(p, p.had[5].Position, "six")
		if got, _, err := l.Load(t.Context(), acme); err != nil || string(got.State) != "six" {
			t.Errorf("got %q, %v", got.State, err)
		}
	}},
	{"a snapshot of an entry that the log does not have is refused", 0, func(t *testing.T, s Subject) {
		l := s.Open(t)
		p := newProcess(t, l, acme, 1)
		p.append("x")
		later, other, batch := p.at, p.at, p.at
		later.Minor++
		other.Incarnation++
		batch.Number++
		for _, at := range []store.Position{{}, later, other, batch} {
			err := l.Install(t.Context(), acme, store.Snapshot{Position: at, State: []byte("wrong")})
			wants(t, fmt.Sprint("Install at ", at), err, store.ErrStale)
		}
		p.append("y")
	}},
	{"a reader that lags has the truth, or loads", entries | peers, func(t *testing.T, s Subject) {
		l := s.Open(t)
		fast := newProcess(t, l, acme, 1)
		slow := newProcess(t, s.Peer(t, l), acme, 2)
		for i := range 100 {
			fast.append(fmt.Sprint(i))
			if i%10 == 9 {
				install(fast, fast.at, "state")
			}
		}
		got, err := slow.try(store.Batch{})
		switch {
		case errors.Is(err, store.ErrBroken):
			slow.load()
			slow.append("again")
		case err != nil:
			t.Fatal(err)
		default:
			same(t, got, fast.had[len(fast.had)-100:])
		}
	}},
}

func install(p *process, at store.Position, state string) {
	p.Helper()
	if err := p.log.Install(p.Context(), p.organization, store.Snapshot{Position: at, State: []byte(state)}); err != nil {
		p.Fatalf("Install: %v", err)
	}
}
