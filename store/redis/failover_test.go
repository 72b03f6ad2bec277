package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// replicate makes a server the replica of another, and waits until it has everything.
func replicate(t *testing.T, c *goredis.Client, of *redistest.Server) {
	t.Helper()
	host, port, _ := strings.Cut(of.Address(), ":")
	must(t, c.Do(t.Context(), "replicaof", host, port).Err())
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(c.Info(t.Context(), "replication").Val(), "master_link_status:up") {
			return
		}
	}
	t.Fatal("the replica does not come up")
}

// Another server answers, with everything in it: that is a break, once, and so is the
// return to the first, whose log may have another end than what was read meanwhile.
func TestFailoverAndBack(t *testing.T) {
	first, second := redistest.Start(t), redistest.Start(t)
	a, b := admin(t, first.Address()), admin(t, second.Address())
	replicate(t, b, first)
	p := redistest.StartProxy(t, first.Address())
	w := newWriter(t, open(t, p.URL(), options(t, newClock())), 1)
	w.append("x")
	must(t, a.Do(t.Context(), "wait", 1, 5000).Err())
	must(t, b.Do(t.Context(), "replicaof", "no", "one").Err())

	for i, to := range []*redistest.Server{second, first, second} {
		p.Point(to.Address())
		batch := w.batch("y")
		err := w.try(batch)
		for range 20 { // its connections were cut
			if err != nil && strings.Contains(err.Error(), "unavailable") {
				err = w.try(batch)
			}
		}
		wants(t, "Append", err, store.ErrBroken)
		w.load()
		w.append("z")
		if t.Failed() {
			t.Fatalf("failover %d", i)
		}
	}
}

// Sentinel makes the replica the master when that dies; the log goes on there after a break.
func TestSentinel(t *testing.T) {
	first, second := redistest.Start(t), redistest.Start(t)
	replicate(t, admin(t, second.Address()), first)
	sentinel := redistest.StartSentinel(t, first)
	o := options(t, newClock())
	o.Timeout = 200 * time.Millisecond
	w := newWriter(t, open(t, "redis+sentinel://"+sentinel.Address()+"/"+redistest.Master, o), 1)
	w.append("x")
	must(t, admin(t, first.Address()).Do(t.Context(), "wait", 1, 5000).Err())
	at := w.at
	first.Kill()
	killed := time.Now()
	batch := w.batch("y")
	err := w.try(batch)
	for err != nil && time.Since(killed) < 20*time.Second && !errors.Is(err, store.ErrBroken) {
		wants(t, "Append meanwhile", err, store.ErrUnavailable)
		err = w.try(batch)
	}
	wants(t, "Append at the new master", err, store.ErrBroken)
	t.Logf("the new master answered after %v", time.Since(killed))
	last := admin(t, second.Address()).XRevRangeN(t.Context(), "wm:{acme}:log", "+", "-", 1).Val()
	if want := fmt.Sprintf("%d-%d", at.Major, at.Minor); len(last) != 1 || last[0].ID != want {
		t.Errorf("the new master's log ends at %v before anybody has loaded it, want %s", last, want)
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); { // it may have been met by another connection
		if _, _, err = w.log.Load(t.Context(), acme); !errors.Is(err, store.ErrUnavailable) {
			break
		}
	}
	if w.load(); len(w.had) == 0 || w.at.Compare(at) < 0 {
		t.Errorf("the log ends at %v, and what was replicated at %v", w.at, at)
	}
	w.append("z")
}

// Two servers answer at once while connections to the former are left: each answer is known
// to be of whom it is.
func TestTwoServers(t *testing.T) {
	first, second := redistest.Start(t), redistest.Start(t)
	replicate(t, admin(t, second.Address()), first)
	p := redistest.StartProxy(t, first.Address())
	l := open(t, p.URL(), options(t, newClock()))
	w := newWriter(t, l, 1)
	w.append("x")
	must(t, admin(t, first.Address()).Do(t.Context(), "wait", 1, 5000).Err())
	must(t, admin(t, second.Address()).Do(t.Context(), "replicaof", "no", "one").Err())
	p.Redirect(second.Address())
	// The connection that there is still leads to the first.
	w.append("on the old connection")
	at := w.at
	p.Cut()
	err := w.try(store.Batch{})
	for range 20 {
		if err != nil && strings.Contains(err.Error(), "unavailable") {
			err = w.try(store.Batch{})
		}
	}
	wants(t, "Append", err, store.ErrBroken)
	if w.load(); w.at == at {
		t.Error("the second server has what only the first was told")
	}
}

// Kept does not go on over a failover: the other server may lack an organization's log.
func TestKeptAfterFailover(t *testing.T) {
	first, second := redistest.Start(t), redistest.Start(t)
	clock := newClock()
	p := redistest.StartProxy(t, first.Address())
	l := open(t, p.URL(), options(t, clock))
	newWriter(t, l, 1)
	replicate(t, admin(t, second.Address()), first)
	must(t, admin(t, second.Address()).Do(t.Context(), "replicaof", "no", "one").Err())
	clock.pass(5 * time.Hour)
	p.Point(second.Address())
	var err error
	for range 20 {
		if err = l.Create(t.Context(), "other", store.Snapshot{}); err == nil {
			break
		}
	}
	must(t, err)
	if got, _, err := l.Load(t.Context(), "other"); err != nil || got.Kept > time.Minute {
		t.Errorf("got Kept %v, %v; want 0", got.Kept, err)
	}
}
