package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// Every key but the marker has a TTL: the hold and not much more.
func TestKeysExpire(t *testing.T) {
	s := redistest.Start(t)
	c := admin(t, s.Address())
	clock := newClock()
	l := open(t, s.URL(), options(t, clock))
	must(t, l.Create(t.Context(), acme, store.Snapshot{}))
	ttls := func(least, most time.Duration) {
		t.Helper()
		names, err := c.Keys(t.Context(), "*").Result()
		must(t, err)
		for _, name := range names {
			ttl := c.PTTL(t.Context(), name).Val()
			if marker := name == "wm:marker"; marker && ttl >= 0 || !marker && (ttl < least || ttl > most) {
				t.Errorf("%s has TTL %v, want one from %v to %v and the marker none", name, ttl, least, most)
			}
		}
		if len(names) != 3 {
			t.Errorf("got keys %v, want 3", names)
		}
	}
	ttls(time.Minute, time.Hour)
	w := newWriter(t, l, 1) // an hour
	ttls(time.Hour, time.Hour+3*time.Second)
	w.hold = 2 * time.Hour
	w.append("x") // at once where it is longer
	ttls(2*time.Hour, 2*time.Hour+3*time.Second)
	must(t, l.Install(t.Context(), acme, store.Snapshot{Position: w.at, State: []byte("state")}))
	ttls(2*time.Hour, 2*time.Hour+3*time.Second)

	// The last entry says: when what needed the log for longer has ended, it goes sooner. Who
	// had said more says so again with the next batch.
	b := newWriter(t, open(t, s.URL(), options(t, clock)), 2)
	b.hold = time.Minute
	clock.pass(2 * time.Second)
	b.append("x")
	ttls(time.Minute, time.Minute+3*time.Second)
	w.append("x") // reads that, within the second
	w.append("x")
	ttls(2*time.Hour, 2*time.Hour+3*time.Second)

	w.hold = 0
	w.append("never")
	if ttl := c.PTTL(t.Context(), "wm:{acme}:log").Val(); ttl >= 0 {
		t.Errorf("got TTL %v for what is never forgotten", ttl)
	}
	w.hold = time.Hour
	w.append("an hour after all")
	ttls(time.Hour-time.Second, time.Hour+3*time.Second)
}

// The TTL is set once a second, not with each batch.
func TestExpiryIsSetSeldom(t *testing.T) {
	s := redistest.Start(t)
	clock := newClock()
	w := newWriter(t, open(t, s.URL(), options(t, clock)), 1)
	c := admin(t, s.Address())
	must(t, c.ConfigResetStat(t.Context()).Err())
	for range 100 {
		clock.pass(100 * time.Millisecond)
		w.append("x")
	}
	stats := c.Info(t.Context(), "commandstats").Val()
	_, after, _ := strings.Cut(stats, "cmdstat_pexpire:calls=")
	var calls int
	if _, err := fmt.Sscan(after[:strings.IndexByte(after, ',')], &calls); err != nil {
		t.Fatal(err)
	}
	if calls < 18 || calls > 22 {
		t.Errorf("got %d PEXPIREs in 10s of 100 batches, want 2 a second", calls)
	}
}

// An organization that was idle longer than its hold leaves nothing but the marker, and who
// knows that begins it as such; who knows that it cannot have expired does not.
func TestIdleOrLost(t *testing.T) {
	s, redisClock := redistest.StartWithClock(t)
	c := admin(t, s.Address())
	clock := newClock()
	l := open(t, s.URL(), options(t, clock))
	if kept := newWriterKept(t, l, 1); kept != 0 {
		t.Errorf("got Kept %v on a server without a marker, want 0", kept)
	}
	peer := open(t, s.URL(), options(t, clock))
	pass := func(d time.Duration) {
		clock.pass(d)
		redisClock.Set(time.Duration(clock.monotonic.Load()))
	}

	pass(3 * time.Hour)
	if names := c.Keys(t.Context(), "*").Val(); len(names) != 1 {
		t.Errorf("an idle organization leaves %v", names)
	}
	for i, p := range []*writer{{TB: t, log: l, incarnation: 11}, {TB: t, log: peer, incarnation: 12}} {
		if kept := p.load().Kept; (kept - 3*time.Hour).Abs() > time.Minute {
			t.Errorf("reader %d: got Kept %v, want 3h", i, kept)
		}
	}

	// Lost within its hold, to a process that knows it.
	w := newWriter(t, l, 2)
	w.append("x")
	pass(30 * time.Minute)
	must(t, c.Del(t.Context(), "wm:{acme}:log", "wm:{acme}:snap").Err())
	if kept := w.load().Kept; kept != 0 {
		t.Errorf("got Kept %v for a log that was lost, want 0", kept)
	}
	// Then nobody takes anything for idle that is missing, until that is long ago.
	pass(time.Minute)
	must(t, peer.Create(t.Context(), "other", store.Snapshot{}))
	if got, _, err := peer.Load(t.Context(), "other"); err != nil || got.Kept > time.Second {
		t.Errorf("got Kept %v, %v for an organization that another lost log may have been", got.Kept, err)
	}
	pass(2 * time.Hour)
	must(t, peer.Create(t.Context(), "third", store.Snapshot{}))
	if got, _, err := peer.Load(t.Context(), "third"); err != nil || (got.Kept-2*time.Hour).Abs() > 2*time.Minute {
		t.Errorf("got Kept %v, %v; want 2h", got.Kept, err)
	}
}

// Nobody is waited for where nobody can know more, since nobody else follows the organization.
// Otherwise those who may know more go first, also where the log seems to have expired.
func TestWaitsForOthersOnly(t *testing.T) {
	s, redisClock := redistest.StartWithClock(t)
	c := admin(t, s.Address())
	clock := newClock()
	o := options(t, clock)
	o.Yield = 1500 * time.Millisecond
	pass := func(d time.Duration) {
		clock.pass(d)
		redisClock.Set(time.Duration(clock.monotonic.Load()))
	}
	l, other := open(t, s.URL(), o), open(t, s.URL(), o)
	create := func(l *redis.Log, organization, what string, waits bool) {
		t.Helper()
		start := time.Now()
		must(t, l.Create(t.Context(), organization, store.Snapshot{}))
		if took := time.Since(start); waits != (took >= o.Yield) || !waits && took > o.Yield/2 {
			t.Errorf("%s: it took %v; want that it waits %v for others: %v", what, took, o.Yield, waits)
		}
	}
	create(l, acme, "on a server that nobody knows", true)
	pass(time.Minute)
	create(l, "new", "of an organization that nobody follows", false)

	_, _, err := other.Load(t.Context(), "followed") // by one who knows nothing of it, which nobody can see
	wants(t, "Load", err, store.ErrNotFound)
	for end := time.Now().Add(5 * time.Second); len(c.PubSubChannels(t.Context(), "wm:{followed}:*").Val()) == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	create(l, "followed", "of an organization that another follows", true)

	w := newWriter(t, l, 1)
	newWriter(t, other, 2)
	w.append("x")
	pass(3 * time.Hour)
	wants(t, "Append after the hold", w.try(w.batch("y")), store.ErrBroken)
	// Redis's clock may have stepped: the other may have appended just now.
	create(l, acme, "of a log that has expired, and that another follows", true)

	newWriter(t, l, 3)
	must(t, c.Del(t.Context(), "wm:{acme}:log").Err())
	create(l, acme, "of a log that was lost", true)
	pass(time.Minute)
	must(t, c.Del(t.Context(), "wm:marker").Err())
	create(l, "newer", "on a server that was wiped", true)
}

func newWriterKept(t *testing.T, l store.Log, incarnation uint64) time.Duration {
	t.Helper()
	must(t, l.Create(t.Context(), acme, store.Snapshot{}))
	s, _, err := l.Load(t.Context(), acme)
	must(t, err)
	_, err = l.Append(t.Context(), acme, s.Position, store.Batch{Incarnation: incarnation, Number: 1, Join: true, Hold: time.Hour}, nil)
	must(t, err)
	return s.Kept
}

// An organization that nobody asks for is forgotten by the process too, once its log has
// gone by itself.
func TestIdleOrganizationsGo(t *testing.T) {
	s := redistest.Start(t)
	c := admin(t, s.Address())
	clock := newClock()
	l := open(t, s.URL(), options(t, clock))
	use := func(organization string) store.Position {
		if err := l.Create(t.Context(), organization, store.Snapshot{}); err != nil && !errors.Is(err, store.ErrExists) {
			t.Fatal(err)
		}
		first, _, err := l.Load(t.Context(), organization)
		must(t, err)
		got, err := l.Append(t.Context(), organization, first.Position, store.Batch{Incarnation: 1, Number: 1, Join: true, Hold: time.Minute}, nil)
		must(t, err)
		return got[len(got)-1].Position
	}
	channels := func(want int) {
		t.Helper()
		n := -1
		for end := time.Now().Add(5 * time.Second); n != want && time.Now().Before(end); time.Sleep(time.Millisecond) {
			n = len(c.PubSubChannels(t.Context(), "wm:*").Val())
		}
		if n != want {
			t.Errorf("the process listens for %d organizations, want %d", n, want)
		}
	}
	const many = 30
	for i := range many {
		use(fmt.Sprint("organization-", i))
	}
	channels(many)
	clock.pass(time.Hour)
	for range 100 * 256 {
		l.Now(acme)
	}
	channels(1)
	at := use("organization-0") // it can come again
	channels(2)
	_, err := l.Append(t.Context(), "organization-0", at, store.Batch{}, nil)
	must(t, err)
}

// What is in Redis follows the snapshots: the stream holds what came since the last but one.
func TestStreamIsBounded(t *testing.T) {
	s := redistest.Start(t)
	c := admin(t, s.Address())
	l := open(t, s.URL(), options(t, newClock()))
	w := newWriter(t, l, 1)
	const each = 50
	for round := range 20 {
		for range each {
			w.append("x")
		}
		must(t, l.Install(t.Context(), acme, store.Snapshot{Position: w.at, State: fmt.Append(nil, round)}))
		if n := c.XLen(t.Context(), "wm:{acme}:log").Val(); n > each+3 {
			t.Fatalf("the stream has %d entries after a snapshot, want those since the last: %d", n, each)
		}
	}
	// One that lags by less than two snapshots still reads.
	lagging := w.had[len(w.had)-each].Position
	if got, err := l.Append(t.Context(), acme, lagging, store.Batch{}, nil); err != nil || len(got) != each-1 {
		t.Errorf("got %d entries, %v; want %d", len(got), err, each-1)
	}
}

// A state does not get into a log that has another's entry at its place.
func TestInstallIntoAnotherHistory(t *testing.T) {
	s := redistest.Start(t)
	c := admin(t, s.Address())
	l := open(t, s.URL(), options(t, newClock()))
	w := newWriter(t, l, 1)
	at := w.append("x").Position
	entries := c.XRange(t.Context(), "wm:{acme}:log", "-", "+").Val()
	must(t, c.Del(t.Context(), "wm:{acme}:log").Err())
	last := len(entries) - 1
	for i, e := range entries {
		if i == last { // the place of the last, what the one before it says
			e.Values = entries[i-1].Values
		}
		must(t, c.XAdd(t.Context(), &goredis.XAddArgs{Stream: "wm:{acme}:log", ID: e.ID, Values: e.Values}).Err())
	}
	wants(t, "Install", l.Install(t.Context(), acme, store.Snapshot{Position: at, State: []byte("x")}), store.ErrStale)
	wants(t, "Append", w.try(store.Batch{}), store.ErrBroken)
}

// Logs that begin in the same millisecond do not begin at the same position.
func TestBeginningsDiffer(t *testing.T) {
	s, redisClock := redistest.StartWithClock(t)
	redisClock.Stop(time.Now())
	c := admin(t, s.Address())
	l := open(t, s.URL(), options(t, newClock()))
	seen := map[store.Position]bool{}
	for range 5 {
		must(t, c.FlushAll(t.Context()).Err())
		must(t, l.Create(t.Context(), acme, store.Snapshot{}))
		got, _, err := l.Load(t.Context(), acme)
		must(t, err)
		if seen[got.Position] {
			t.Fatalf("two logs begin at %v", got.Position)
		}
		seen[got.Position] = true
	}
}

// A snapshot says what time it was, so that who loads it reckons as those who read all.
func TestTimeFromASnapshot(t *testing.T) {
	s := redistest.Start(t)
	clock := newClock()
	l := open(t, s.URL(), options(t, clock))
	w := newWriter(t, l, 1)
	for i := range 100 {
		clock.pass(time.Second)
		w.append("x")
		if i%30 == 29 {
			at := w.had[len(w.had)-i%17-1].Position
			must(t, l.Install(t.Context(), acme, store.Snapshot{Position: at, State: []byte("state")}))
		}
	}
	other := newWriter(t, open(t, s.URL(), options(t, newClock())), 2)
	w.read()
	for i := range other.had {
		got, want := other.had[len(other.had)-1-i], w.had[len(w.had)-1-i]
		if got.Position != want.Position || got.Time != want.Time {
			t.Fatalf("got %v at %d, want %v at %d", got.Position, got.Time, want.Position, want.Time)
		}
	}
}
