package redis_test

import (
	"bytes"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// The board has the rows of one call and no others, and goes with the log.
func TestShow(t *testing.T) {
	s := redistest.Start(t)
	c := admin(t, s.Address())
	clock := newClock()
	w := newWriter(t, open(t, s.URL(), options(t, clock)), 1)
	const key = "wm:{acme}:now"
	for _, rows := range []map[string]string{
		{"tokens": "used 1", "requests": "used 2"}, {"tokens": "used 3"}, {}, {"tokens": "used 4"},
	} {
		must(t, w.log.Show(t.Context(), acme, rows))
		if got := c.HGetAll(t.Context(), key).Val(); !maps.Equal(got, rows) {
			t.Errorf("got %v, want %v", got, rows)
		}
	}
	ttl := func(want time.Duration) {
		t.Helper()
		board, log := c.PTTL(t.Context(), key).Val(), c.PTTL(t.Context(), "wm:{acme}:log").Val()
		if (board-want).Abs() > 5*time.Second || (board-log).Abs() > 5*time.Second {
			t.Errorf("the board has TTL %v and the log %v, want %v", board, log, want)
		}
	}
	ttl(time.Hour)
	must(t, c.PExpire(t.Context(), key, time.Minute).Err()) // as if nothing had changed for long
	must(t, c.PExpire(t.Context(), "wm:{acme}:log", time.Minute).Err())
	clock.pass(time.Hour - time.Minute)
	w.append("x")
	ttl(time.Hour)
	w.hold = 0
	w.append("for ever")
	must(t, w.log.Show(t.Context(), acme, map[string]string{"tokens": "used 5"}))
	if got := c.PTTL(t.Context(), key).Val(); got >= 0 {
		t.Errorf("got TTL %v beside a log that is never forgotten", got)
	}
}

func TestSize(t *testing.T) {
	s := redistest.Start(t)
	l := open(t, s.URL(), options(t, newClock()))
	_, err := l.Size(t.Context(), acme)
	wants(t, "Size", err, store.ErrNotFound)
	w := newWriter(t, l, 1)
	payload := string(bytes.Repeat([]byte("x"), 1000))
	for range 98 {
		w.append(payload)
	}
	must(t, l.Install(t.Context(), acme, store.Snapshot{Position: w.had[50].Position, State: make([]byte, 12345)}))
	got, err := l.Size(t.Context(), acme)
	must(t, err)
	if got.Entries != 100 || got.SnapshotBytes != 12345 || got.Last != w.at {
		t.Errorf("got %+v, want 100 entries to %+v and a state of 12345 bytes", got, w.at)
	}
	if got.LogBytes < 50_000 || got.LogBytes > 300_000 {
		t.Errorf("100 entries of 1,000 bytes take %d", got.LogBytes)
	}
}

// Nothing misses its place, and yet another server may lack something: History says so.
func TestHistoryOfTwoServers(t *testing.T) {
	s := redistest.Start(t, "--appendfsync", "always")
	w := newWriter(t, open(t, s.URL(), options(t, newClock())), 1)
	seen := map[uint64]string{}
	for i := range 3 {
		first, again := w.load().History, w.load().History
		if first != again {
			t.Errorf("got History %x, then %x of the same server", first, again)
		}
		if other, ok := seen[first]; ok {
			t.Errorf("got History %x after start %d, as %s", first, i, other)
		}
		seen[first] = fmt.Sprint("after start ", i)
		s.Kill()
		s.Restart()
		untilBroken(t, "Append", func() error { return w.try(store.Batch{}) })
	}
}
