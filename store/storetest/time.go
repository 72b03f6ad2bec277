package storetest

import (
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

var times = []rule{
	{"claims count after a join", 0, func(t *testing.T, s Subject) {
		p := newProcess(t, s.Open(t), acme, 1)
		if _, joined := p.log.Now(acme); !joined {
			t.Error("claims do not count after a join")
		}
	}},
	{"claims never decrease", 0, func(t *testing.T, s Subject) {
		p := newProcess(t, s.Open(t), acme, 1)
		last, _ := p.log.Now(acme)
		for i := range 1000 {
			if i%100 == 0 {
				p.append("x")
			}
			claim, _ := p.log.Now(acme)
			if claim.Time < last.Time {
				t.Fatalf("claim %d after %d", claim.Time, last.Time)
			}
			last = claim
		}
	}},
	{"time goes by the claims", passing, func(t *testing.T, s Subject) {
		p := newProcess(t, s.Open(t), acme, 1)
		first := p.append("x")[0].Time
		s.Pass(time.Minute)
		d := time.Duration(p.append("y")[0].Time - first)
		if d < time.Minute-10*time.Second || d > time.Minute+10*time.Second {
			t.Errorf("log time went on by %v in a minute", d)
		}
	}},
	{"time is that of the closing of the batch", passing, func(t *testing.T, s Subject) {
		p := newProcess(t, s.Open(t), acme, 1)
		b := p.batch("x")
		s.Pass(time.Minute)
		if got := p.send(b)[0].Time; got > b.Claim.Time+store.Time(10*time.Second) {
			t.Errorf("the entry's time is %v after its claim", time.Duration(got-b.Claim.Time))
		}
	}},
	{"an old claim does not take time back", passing, func(t *testing.T, s Subject) {
		p := newProcess(t, s.Open(t), acme, 1)
		old, _ := p.log.Now(acme)
		s.Pass(time.Minute)
		at := p.append("x")[0].Time
		b := p.batch("y")
		b.Claim = old
		if got := p.send(b)[0].Time; got != at {
			t.Errorf("got time %d, want %d as before", got, at)
		}
	}},
	{"all readers have the same times", entries | peers | passing, func(t *testing.T, s Subject) {
		l := s.Open(t)
		a := newProcess(t, l, acme, 1)
		b := newProcess(t, s.Peer(t, l), acme, 2)
		for range 20 {
			a.append("a")
			s.Pass(100 * time.Millisecond)
			b.append("b")
		}
		a.read()
		c := newProcess(t, s.Peer(t, l), acme, 3)
		a.read()
		b.read()
		same(t, b.had[1:], a.had[1:])
		same(t, c.had, a.had)
	}},
}
