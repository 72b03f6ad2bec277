package storetest

import (
	"slices"
	"strings"
	"testing"

	"github.com/watermaster-project/watermaster/store"
)

var orders = []rule{
	{"Append returns its own batch", 0, func(t *testing.T, s Subject) {
		p := newProcess(t, s.Open(t), acme, 1)
		for _, payload := range []string{"one", "", strings.Repeat("x", 100_000), "\x00\xff\r\n"} {
			if got := p.append(payload); len(got) != 1 {
				t.Fatalf("got %v, want one entry", texts(got))
			}
		}
	}},
	{"Append returns all entries after a position, in order", entries | peers, func(t *testing.T, s Subject) {
		l := s.Open(t)
		a := newProcess(t, l, acme, 1)
		b := newProcess(t, s.Peer(t, l), acme, 2)
		a.read()
		a.append("1")
		a.append("2")
		b.append("3")
		got := texts(a.append("4"))
		if want := []string{"2/2 3", "1/4 4"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		b.read()
		same(t, b.had, a.had)
	}},
	{"Append appends to the entries given", 0, func(t *testing.T, s Subject) {
		p := newProcess(t, s.Open(t), acme, 1)
		given := []store.Entry{{Payload: []byte("given")}}
		got, err := p.log.Append(t.Context(), acme, p.at, p.batch("own"), given)
		if err != nil || len(got) != 2 || string(got[0].Payload) != "given" || string(got[1].Payload) != "own" {
			t.Errorf("got %v, %v; want the entry given, and the batch", texts(got), err)
		}
	}},
	{"a batch of number 0 only reads", 0, func(t *testing.T, s Subject) {
		p := newProcess(t, s.Open(t), acme, 1)
		p.append("x")
		if got := p.read(); len(got) != 0 {
			t.Errorf("got %v, want nothing", texts(got))
		}
		if got := p.append("y"); len(got) != 1 {
			t.Errorf("got %v, want only the batch", texts(got))
		}
	}},
	{"a batch that is sent again is unchanged", entries, func(t *testing.T, s Subject) {
		l := s.Open(t)
		p := newProcess(t, l, acme, 1)
		before := p.at
		b := p.batch("payload")
		p.send(b)
		// Its answer was lost: the process still is where it was.
		got, err := l.Append(t.Context(), acme, before, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range got {
			if e.Incarnation == 1 && e.Number == b.Number {
				n++
				if string(e.Payload) != "payload" {
					t.Errorf("got payload %q", e.Payload)
				}
			}
		}
		if n < 1 || n > 2 || n != len(got) {
			t.Errorf("got %v, want the batch once or twice", texts(got))
		}
		if got[0].Position != p.at {
			t.Errorf("got it first at %v, want %v where it was", got[0].Position, p.at)
		}
		// Again it must not move time: its claim is the same.
		if last := got[len(got)-1]; last.Time != got[0].Time {
			t.Errorf("sent again it moved time from %d to %d", got[0].Time, last.Time)
		}
	}},
	{"an invented position is broken", 0, func(t *testing.T, s Subject) {
		l := s.Open(t)
		p := newProcess(t, l, acme, 1)
		p.append("x")
		for name, change := range map[string]func(*store.Position){
			"zero":                    func(at *store.Position) { *at = store.Position{} },
			"later minor":             func(at *store.Position) { at.Minor++ },
			"later major":             func(at *store.Position) { at.Major++ },
			"another's":               func(at *store.Position) { at.Incarnation++ },
			"another batch's":         func(at *store.Position) { at.Number++ },
			"far":                     func(at *store.Position) { at.Minor, at.Major = 1<<64-1, 1<<64-1 },
			"before, but not known":   func(at *store.Position) { at.Minor--; at.Number = 77 },
			"of nobody, at its place": func(at *store.Position) { at.Incarnation, at.Number = 0, 0 },
		} {
			at := p.at
			change(&at)
			got, err := l.Append(t.Context(), acme, at, store.Batch{}, nil)
			wants(t, name, err, store.ErrBroken)
			if len(got) != 0 {
				t.Errorf("%s: got %v", name, texts(got))
			}
		}
		p.append("y") // and no harm was done
	}},
	{"the log keeps no part of a payload", entries, func(t *testing.T, s Subject) {
		l := s.Open(t)
		p := newProcess(t, l, acme, 1)
		start := p.at
		b := p.batch("before")
		p.send(b)
		copy(b.Payload, "after!")
		got, err := l.Append(t.Context(), acme, start, store.Batch{}, nil)
		if err != nil || len(got) != 1 || string(got[0].Payload) != "before" {
			t.Errorf("got %v, %v; want what was appended", texts(got), err)
		}
	}},
	{"entries of others stay as they are", entries | peers, func(t *testing.T, s Subject) {
		l := s.Open(t)
		a := newProcess(t, l, acme, 1)
		b := newProcess(t, s.Peer(t, l), acme, 2)
		at := a.at
		for range 100 {
			b.append("steady")
		}
		got, err := l.Append(t.Context(), acme, at, store.Batch{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			b.append("noise!")
		}
		for _, e := range got[1:] {
			if string(e.Payload) != "steady" {
				t.Fatalf("an entry became %q", e.Payload)
			}
		}
	}},
}
