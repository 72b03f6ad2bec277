package redis_test

import (
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// pair gives two processes on one log, each with a clock of its own.
func pair(t *testing.T, url string) (a, b *writer, clockA, clockB *clock) {
	clockA, clockB = newClock(), newClock()
	a = newWriter(t, open(t, url, options(t, clockA)), 1)
	b = newWriter(t, open(t, url, options(t, clockB)), 2)
	return a, b, clockA, clockB
}

func joined(l *redis.Log) bool {
	_, ok := l.Now(acme)
	return ok
}

func near(got, want time.Duration) bool { return (got - want).Abs() < 100*time.Millisecond }

// Who reads a join in time keeps its clock and may carry time on; who reads it later has
// missed it, and its claims do not count until it has joined itself.
func TestJoinThatOthersRead(t *testing.T) {
	for _, row := range []struct {
		later time.Duration
		keeps bool
	}{
		{0, true}, {400 * time.Millisecond, true}, {600 * time.Millisecond, false}, {time.Hour, false},
	} {
		t.Run(row.later.String(), func(t *testing.T) {
			a, b, clock, _ := pair(t, redistest.Start(t).URL())
			clock.pass(row.later) // for a alone, which was paused, say
			at := b.had[len(b.had)-1].Time
			if !joined(a.log) {
				t.Fatal("its claims do not count before it can know")
			}
			if got := a.append("unaware").Time; got != at {
				t.Errorf("a claim of who had not read the join moved time by %v", time.Duration(got-at))
			}
			if got := joined(a.log); got != row.keeps {
				t.Fatalf("read %v after the join: claims count is %v, want %v", row.later, got, row.keeps)
			}
			moved := time.Duration(a.append("aware").Time - at)
			if row.keeps && !near(moved, row.later) || !row.keeps && moved != 0 {
				t.Errorf("its claim moved time by %v, %v after the join", moved, row.later)
			}
			if row.keeps {
				return
			}
			a.join()
			if !joined(a.log) {
				t.Error("its claims do not count after it joined again")
			}
			if got := time.Duration(a.had[len(a.had)-1].Time - at); !near(got, 0) {
				t.Errorf("its join moved time by %v, and Redis's clock has not gone on", got)
			}
			b.read()
			if !joined(b.log) {
				t.Error("the other, which read that at once, lost its clock")
			}
		})
	}
}

// A claim goes on with the monotonic clock from the join's own time, whatever the wall
// clock does.
func TestClaims(t *testing.T) {
	c := newClock()
	w := newWriter(t, open(t, redistest.Start(t).URL(), options(t, c)), 1)
	at := w.had[len(w.had)-1].Time
	c.wall.Add(int64(time.Hour))
	c.monotonic.Add(int64(time.Minute))
	claim, ok := w.log.Now(acme)
	if got := time.Duration(claim.Time - at); !ok || !near(got, time.Minute) {
		t.Errorf("got a claim %v after the join, %v; want a minute", got, ok)
	}
	c.wall.Add(-2 * int64(time.Hour))
	if got := time.Duration(w.append("x").Time - at); !near(got, time.Minute) {
		t.Errorf("log time went on by %v, want a minute", got)
	}
}

// Who lags follows: reading what another appended raises its claims.
func TestLagging(t *testing.T) {
	a, b, clockA, _ := pair(t, redistest.Start(t).URL())
	a.read()
	clockA.pass(time.Minute)
	at := a.append("x").Time
	b.read()
	claim, ok := b.log.Now(acme)
	if got := time.Duration(claim.Time - at); !ok || got < 0 || !near(got, 0) {
		t.Errorf("got a claim %v after what was read, %v; want none", got, ok)
	}
}

// A join that took long would make its sender lag: it does not count, the next may.
func TestSlowJoin(t *testing.T) {
	c, slow := newClock(), false
	o := options(t, c)
	o.Clock = func() (int64, int64) {
		if slow {
			c.pass(30 * time.Millisecond) // each time that somebody looks
		}
		return c.read()
	}
	w := newWriter(t, open(t, redistest.Start(t).URL(), o), 1)
	slow = true
	w.join()
	if slow = false; !joined(w.log) {
		t.Error("a join within 50ms does not count")
	}
	b := w.batch("join")
	b.Join = true
	p := w.at
	w.send(b)
	c.pass(time.Second)
	w.at = p
	w.send(b) // it was seen before: nothing has changed, for nobody
	w.read()
	if !joined(w.log) {
		t.Error("a join that was seen does not count, sent again")
	}
}

// Who joins again has a clock that saw the time since: it says when the others go wrong
// together.
func TestJoinAgain(t *testing.T) {
	s, redisClock := redistest.StartWithClock(t)
	a, b, clock, _ := pair(t, s.URL())
	a.hold = 0
	at := b.append("x").Time
	redisClock.Set(time.Hour)
	clock.wall.Add(int64(time.Hour))
	clock.monotonic.Add(int64(time.Minute))
	a.read()
	if joined(a.log) {
		t.Fatal("it has not missed the other's join")
	}
	if got := time.Duration(a.join().Time - at); got < 0 || (got-time.Minute).Abs() > time.Second {
		t.Errorf("its join moved time by %v, and its clock shows a minute", got)
	}
}

// The answer to a join was lost, and it was sent again later: its time is then of long ago.
func TestJoinSentAgain(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Address())
	c := newClock()
	w := newWriter(t, open(t, p.URL(), options(t, c)), 1)
	var b store.Batch
	for err := error(nil); err == nil; { // a reply to what is published may be lost instead
		b = w.batch("join")
		b.Join = true
		p.LoseReplies(1)
		err = w.try(b)
	}
	c.pass(60 * time.Millisecond)
	w.send(b)
	if joined(w.log) {
		t.Error("a join of 60ms counts")
	}
	w.join()
	if !joined(w.log) {
		t.Error("the next does not count")
	}
}

// Redis's clock orders and does not time: whatever it does, log time goes on with the
// clock of the process that lives.
func TestRedisClock(t *testing.T) {
	s, redisClock := redistest.StartWithClock(t)
	c := newClock()
	w := newWriter(t, open(t, s.URL(), options(t, c)), 1)
	w.hold = 0 // its keys do not expire
	begun := w.append("x").Time
	passed := time.Duration(0)
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"an hour forward", func() { redisClock.Set(time.Hour) }},
		{"an hour back", func() { redisClock.Set(-time.Hour) }},
		{"frozen", func() { redisClock.Stop(time.Now()) }},
		{"double speed", func() { redisClock.Run(0, 2) }},
		{"half speed", func() { redisClock.Run(0, 0.5) }},
		{"right", func() { redisClock.Set(0) }},
	} {
		step.do()
		for range 20 {
			c.pass(time.Second)
			passed += time.Second
			w.append("x")
		}
		if got := time.Duration(w.had[len(w.had)-1].Time - begun); !near(got, passed) {
			t.Errorf("%s: log time went on by %v in %v", step.what, got, passed)
		}
	}
	other := newWriter(t, open(t, s.URL(), options(t, newClock())), 2)
	for i, e := range w.had {
		if got := other.had[i]; got.Time != e.Time || got.Position != e.Position {
			t.Fatalf("entry %d: a reader has %+v, the writer %+v", i, got.Position, e.Position)
		}
	}
}

// Nobody was there: a join goes on by what Redis's clock and the wall clocks agree on.
func TestJoinAfterSilence(t *testing.T) {
	for _, row := range []struct {
		what        string
		redis, wall time.Duration
		want        time.Duration
	}{
		{"an hour", time.Hour, time.Hour, time.Hour},
		{"Redis's clock stood", 0, time.Hour, 0},
		{"Redis's clock was set back", -time.Hour, time.Hour, 0},
		{"Redis's clock was set forward", time.Hour, time.Minute, time.Minute},
		{"the wall clock was set back", time.Hour, -time.Hour, 0},
		{"the wall clock was set forward", time.Minute, time.Hour, time.Minute},
	} {
		t.Run(row.what, func(t *testing.T) {
			s, redisClock := redistest.StartWithClock(t)
			w := newWriter(t, open(t, s.URL(), options(t, newClock())), 1)
			w.hold = 0
			at := w.append("x").Time
			redisClock.Set(row.redis)
			c := newClock()
			c.wall.Add(int64(row.wall))
			next := newWriter(t, open(t, s.URL(), options(t, c)), 2)
			if got := time.Duration(next.had[len(next.had)-1].Time - at); (got-row.want).Abs() > time.Second || got < 0 {
				t.Errorf("log time went on by %v, want %v", got, row.want)
			}
		})
	}
}
