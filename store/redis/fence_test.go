package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// untilBroken sends batches until the log says that it is broken: before it does, a server
// may be away.
func untilBroken(t testing.TB, what string, try func() error) {
	t.Helper()
	var last error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		err := try()
		last = err
		if errors.Is(err, store.ErrBroken) {
			return
		}
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("%s: got %v of another server, want ErrBroken before anything lands", what, err)
		}
	}
	t.Fatalf("%s: another server does not answer: %v", what, last)
}

// After kill -9 and a restart nothing lands from any process, for any organization, before
// that process has loaded it.
func TestNothingLandsBeforeLoad(t *testing.T) {
	const processes, organizations = 3, 8
	s := redistest.Start(t, "--appendfsync", "always")
	c := admin(t, s.Address())
	length := func(organization string) int64 { return c.XLen(t.Context(), "wm:{"+organization+"}:log").Val() }
	type member struct {
		log          *redis.Log
		organization string
		at           store.Position
		batch        store.Batch
	}
	var members []*member
	for p := range processes {
		l := open(t, s.URL(), options(t, newClock()))
		for o := range organizations {
			m := &member{log: l, organization: fmt.Sprint("organization-", o), batch: store.Batch{Incarnation: uint64(p + 1)}}
			if p == 0 {
				must(t, l.Create(t.Context(), m.organization, store.Snapshot{}))
			}
			members = append(members, m)
		}
	}
	appendOne := func(m *member) error {
		got, err := m.log.Append(t.Context(), m.organization, m.at, m.batch, nil)
		if err == nil {
			m.at = got[len(got)-1].Position
		}
		return err
	}
	loadAndJoin := func(m *member) {
		from, tail, err := m.log.Load(t.Context(), m.organization)
		must(t, err)
		m.at = from.Position
		if n := len(tail); n > 0 {
			m.at = tail[n-1].Position
		}
		m.batch.Number++
		must(t, appendOne(m))
		m.batch.Number++
	}
	for _, m := range members {
		loadAndJoin(m)
	}
	for round := range 3 {
		s.Kill()
		s.Restart()
		before := map[string]int64{}
		for _, m := range members {
			before[m.organization] = length(m.organization)
		}
		var all sync.WaitGroup
		for _, m := range members { // all at once: whichever meets it first
			all.Go(func() {
				untilBroken(t, m.organization, func() error { return appendOne(m) })
			})
		}
		all.Wait()
		for o, n := range before {
			if got := length(o); got != n {
				t.Fatalf("round %d: %s has %d entries after appends that were refused, and had %d", round, o, got, n)
			}
		}
		for i, m := range members { // one has loaded: that counts for it alone
			loadAndJoin(m)
			if i+1 < len(members) {
				n := length(members[i+1].organization)
				wants(t, "Append of who has not loaded", appendOne(members[i+1]), store.ErrBroken)
				if got := length(members[i+1].organization); got != n {
					t.Fatalf("round %d: %s grew from %d to %d", round, members[i+1].organization, n, got)
				}
			}
		}
	}
}

// A batch whose answer was lost with the server is not sent to the next one before a load.
func TestResendIsFenced(t *testing.T) {
	s := redistest.Start(t, "--appendfsync", "always")
	c := admin(t, s.Address())
	w := newWriter(t, open(t, s.URL(), options(t, newClock())), 1)
	w.append("x")
	s.Pause()
	ended := make(chan error)
	b := w.batch("y")
	go func() { ended <- w.try(b) }()
	time.Sleep(20 * time.Millisecond) // it is on its way, most likely
	s.Kill()
	wants(t, "Append", <-ended, store.ErrUnavailable)
	s.Restart()
	n := c.XLen(t.Context(), "wm:{acme}:log").Val()
	untilBroken(t, "again", func() error { return w.try(b) })
	if got := c.XLen(t.Context(), "wm:{acme}:log").Val(); got != n {
		t.Errorf("the log has %d entries, and had %d", got, n)
	}
	w.load()
	w.send(b)
}

// The same where the address leads to another server while the connections to the first
// still work: they are ended with it.
func TestFenceAtOneAddress(t *testing.T) {
	first, second := redistest.Start(t), redistest.Start(t)
	a, b := admin(t, first.Address()), admin(t, second.Address())
	p := redistest.StartProxy(t, first.Address())
	l := open(t, p.URL(), options(t, newClock()))
	w := newWriter(t, l, 1)
	replicate(t, b, first)
	must(t, b.Do(t.Context(), "replicaof", "no", "one").Err())
	p.Redirect(second.Address())
	length := func() string {
		return fmt.Sprint(a.XLen(t.Context(), "wm:{acme}:log").Val(), b.XLen(t.Context(), "wm:{acme}:log").Val())
	}
	before := length()
	var all sync.WaitGroup
	for range 8 { // more than one connection: a second is made, and leads elsewhere
		all.Go(func() {
			for range 50 {
				_, _, _ = l.Load(t.Context(), "other")
			}
		})
	}
	all.Wait()
	wants(t, "Append", w.try(w.batch("x")), store.ErrBroken)
	if got := length(); got != before {
		t.Errorf("the logs have %s entries, and had %s", got, before)
	}
	w.load()
	w.append("y")
	if got := strings.Fields(length())[0]; got != strings.Fields(before)[0] {
		t.Errorf("the first has %s entries, and had %s", got, before)
	}
}
