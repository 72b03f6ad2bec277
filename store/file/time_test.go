package file_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/file"
)

// What the clocks do while the process is down, and how much log time goes on by.
func TestTimeOfARestart(t *testing.T) {
	rows := []struct {
		what   string
		before time.Duration // what the wall clock is set forward by while the process runs
		down   time.Duration // what the wall clock shows to have passed while it is down
		want   time.Duration
	}{
		{"an hour", 0, time.Hour, time.Hour},
		{"at once", 0, 0, 0},
		{"set back while down", 0, -time.Hour, 0},
		{"set back before, an hour down", -3 * time.Hour, time.Hour, time.Hour},
		{"set forward before, an hour down", 3 * time.Hour, time.Hour, time.Hour},
		{"set forward before, and right again", 3 * time.Hour, -3 * time.Hour, 0},
	}
	const second = time.Second
	for _, row := range rows {
		t.Run(row.what, func(t *testing.T) {
			c, dir := newClock(), t.TempDir()
			o := file.Options{Clock: c.read}
			l := open(t, dir, o)
			w := newWriter(t, l, "acme", 1)
			c.wall.Add(int64(row.before))
			c.pass(second)
			at := w.append("x").Time
			if got := time.Duration(at - w.had[0].Time); got.Round(second) != second {
				t.Fatalf("log time went on by %v in a second", got)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}

			c.wall.Add(int64(row.down))
			c.monotonic.Store(0)
			l = open(t, dir, o)
			c.wall.Add(int64(time.Hour)) // what it does from here on is nothing to us
			claim, joined := l.Now("acme")
			if joined {
				t.Error("claims count before the process has joined")
			}
			if _, err := l.Append(t.Context(), "acme", w.at, store.Batch{Incarnation: 2, Number: 1, Claim: claim}, nil); err != nil {
				t.Fatal(err)
			}
			w = newWriter(t, l, "acme", 3)
			if _, entries, _ := l.Load(t.Context(), "acme"); entries[2].Time != at {
				t.Errorf("a claim that does not count moved time by %v", time.Duration(entries[2].Time-at))
			}
			joinedAt := w.had[0].Time
			if got := time.Duration(joinedAt - at); got.Round(second) != row.want {
				t.Errorf("log time went on by %v, want %v", got, row.want)
			}
			if claim, joined = l.Now("acme"); !joined || claim.Time < joinedAt {
				t.Errorf("got %d, %v after joining at %d", claim.Time, joined, joinedAt)
			}
			c.pass(time.Minute)
			if got := time.Duration(w.append("y").Time - joinedAt); got.Round(second) != time.Minute {
				t.Errorf("then by %v in a minute", got)
			}
		})
	}
}

// Time goes on from the last entry that moved it: a batch that was closed long before says
// nothing of the present.
func TestOldClaimBeforeARestart(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	o := file.Options{Clock: c.read}
	l := open(t, dir, o)
	w := newWriter(t, l, "acme", 1)
	old := w.batch("late")
	c.pass(time.Hour)
	w.number++
	claim, _ := l.Now("acme")
	at := w.send(store.Batch{Incarnation: 1, Number: 3, Claim: claim}).Time
	w.send(old)
	l = reopen(t, l, dir, o)
	if got := time.Duration(newWriter(t, l, "acme", 2).had[0].Time - at); got > time.Second {
		t.Errorf("log time went on by %v and no time had passed", got)
	}
}

// A join that carries another claim than this log's does not move time beyond its clock.
func TestJoinDoesNotLead(t *testing.T) {
	l := open(t, t.TempDir(), file.Options{Clock: newClock().read})
	w := newWriter(t, l, "acme", 1)
	b := w.batch("join")
	now := b.Claim.Time
	b.Join, b.Claim.Time = true, now+store.Time(time.Hour)
	if got := time.Duration(w.send(b).Time - now); got > time.Second {
		t.Errorf("it moved time %v ahead of the clock", got)
	}
}

// A creator's time may be ahead of the clock; it goes on from there, through a restart too.
func TestTimeAheadOfTheClock(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	o := file.Options{Clock: c.read}
	l := open(t, dir, o)
	now, _ := l.Now("acme")
	from := store.Snapshot{State: []byte("state"), Time: now.Time + store.Time(time.Hour)}
	if err := l.Create(t.Context(), "acme", from); err != nil {
		t.Fatal(err)
	}
	l = reopen(t, l, dir, o)
	c.pass(time.Minute)
	w := newWriter(t, l, "acme", 1)
	if got := time.Duration(w.had[0].Time - from.Time); got.Round(time.Second) != time.Minute {
		t.Errorf("got %v after the creator's time, want a minute", got)
	}
	b := w.batch("x")
	b.Hold = time.Minute
	w.send(b)
	c.pass(2 * time.Minute)
	before, _ := l.Now("acme")
	file.Sweep(l)
	if after, _ := l.Now("acme"); after.Time < before.Time {
		t.Errorf("claims went back by %v when the organization was forgotten", time.Duration(before.Time-after.Time))
	}
}

// Kept is how long the directory has lost nothing, whether a process ran or not.
func TestKept(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	o := file.Options{Clock: c.read}
	l := open(t, dir, o)
	kept := func(name string) time.Duration {
		t.Helper()
		newWriter(t, l, name, 1)
		s, _, err := l.Load(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return s.Kept.Round(time.Second)
	}
	if got := kept("at the beginning"); got != 0 {
		t.Errorf("got %v in a new directory, want 0", got)
	}
	c.pass(time.Hour)
	if got := kept("later"); got != time.Hour {
		t.Errorf("got %v after an hour", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c.wall.Add(int64(2 * time.Hour)) // the process is down
	c.monotonic.Store(0)
	l = open(t, dir, o)
	c.pass(time.Hour)
	if got := kept("after a restart"); got != 4*time.Hour {
		t.Errorf("got %v, want 4h", got)
	}
	if got := kept("later"); got != time.Hour {
		t.Errorf("got %v, want 1h, as it was when that log began", got)
	}
	if err := os.RemoveAll(file.Directory(l, "later")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Load(t.Context(), "later"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("got %v for a log that was removed", err)
	}
	l = reopen(t, l, dir, o)
	if got := kept("after a loss"); got != 0 {
		t.Errorf("got %v, want 0", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c.wall.Add(int64(-24 * time.Hour))
	l = open(t, dir, o)
	if got := kept("with a clock that was set back"); got != 0 {
		t.Errorf("got %v, want 0", got)
	}
}

// Idle organizations leave nothing on the disk nor in memory, and not before their hold.
func TestIdleOrganizationsGo(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	o := file.Options{Clock: c.read}
	l := open(t, dir, o)
	hold := func(name string, d time.Duration) {
		w := newWriter(t, l, name, 1)
		b := w.batch("x")
		b.Hold = d
		w.send(b)
	}
	for i := range 20 {
		hold(fmt.Sprint("idle ", i), time.Minute)
	}
	hold("long", time.Hour)
	hold("for ever", 0)
	count := func() (n int) {
		all, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(all) - 2
	}
	c.pass(59 * time.Second)
	file.Sweep(l)
	if got := count(); got != 22 {
		t.Errorf("%d organizations within their hold, want 22", got)
	}
	c.pass(2 * time.Second)
	claim, _ := l.Now("idle 3")
	file.Sweep(l)
	if got := count(); got != 2 {
		t.Errorf("%d organizations after a minute, want 2", got)
	}
	if later, joined := l.Now("idle 3"); joined || later.Time < claim.Time {
		t.Errorf("got %v, %v after %v", later, joined, claim)
	}
	hold("idle 3", time.Minute)
	if s, _, err := l.Load(t.Context(), "idle 3"); err != nil || s.Kept < time.Minute {
		t.Errorf("got Kept %v, %v; want the directory's age", s.Kept, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c.wall.Add(int64(time.Hour))
	l = open(t, dir, o)
	file.Sweep(l)
	if _, _, err := l.Load(t.Context(), "long"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v for an organization that was idle while the process was down", err)
	}
	if _, _, err := l.Load(t.Context(), "for ever"); err != nil {
		t.Errorf("got %v without a hold", err)
	}
}
