package redis_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
	"github.com/watermaster-project/watermaster/store/storetest"
)

// A clock is a wall clock and a monotonic one that a test moves.
type clock struct{ wall, monotonic atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.wall.Store(time.Now().UnixNano())
	return c
}

func (c *clock) read() (wall, monotonic int64) { return c.wall.Add(1), c.monotonic.Add(1) }

// pass lets time pass.
func (c *clock) pass(d time.Duration) {
	c.wall.Add(int64(d))
	c.monotonic.Add(int64(d))
}

// options are those of a process on a clock that the test moves. Tests wait for real
// machines, so the timeout is long where it is not what is tested.
func options(t testing.TB, c *clock) redis.Options {
	return redis.Options{
		Timeout: 2 * time.Second, Yield: 20 * time.Millisecond, Clock: c.read,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// open opens a log, and closes it with the test.
func open(t testing.TB, url string, o redis.Options) *redis.Log {
	t.Helper()
	l, err := redis.Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

// admin gives a client that is not the log's.
func admin(t testing.TB, address string) *goredis.Client {
	c := goredis.NewClient(&goredis.Options{Addr: address, Protocol: 2})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// must ends a test that cannot go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// subject is an empty database on a server. The processes' clocks are moved by the test;
// Redis's own goes on as it does, for it is one of several clocks and no case may depend on
// which of them is right. What it alone decides, when keys expire, has tests of its own.
func subject(s *redistest.Server, lose func(c *goredis.Client, organization string) error) storetest.Subject {
	clock := newClock()
	return storetest.Subject{
		Open: func(t *testing.T) store.Log {
			must(t, admin(t, s.Address()).FlushAll(t.Context()).Err())
			return open(t, s.URL(), options(t, clock))
		},
		Peer: func(t *testing.T, _ store.Log) store.Log { return open(t, s.URL(), options(t, clock)) },
		Reopen: func(t *testing.T, l store.Log) store.Log {
			must(t, l.(*redis.Log).Close())
			return open(t, s.URL(), options(t, clock))
		},
		Lose: func(t *testing.T, _ store.Log, organization string) {
			must(t, lose(admin(t, s.Address()), organization))
		},
		Pass: clock.pass,
	}
}

// What is lost: an organization's log or either half of it, or everything.
func TestLog(t *testing.T) {
	s := redistest.Start(t)
	del := func(halves ...string) func(c *goredis.Client, organization string) error {
		return func(c *goredis.Client, organization string) error {
			for _, half := range halves {
				if err := c.Del(context.Background(), "wm:{"+organization+"}:"+half).Err(); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for _, row := range []struct {
		lost string
		lose func(c *goredis.Client, organization string) error
	}{
		{"everything", func(c *goredis.Client, _ string) error { return c.FlushAll(context.Background()).Err() }},
		{"both keys", del("log", "snap")},
	} {
		t.Run(row.lost, func(t *testing.T) { storetest.Test(t, subject(s, row.lose)) })
	}
}

// Several processes may be callers of one log.
func TestManyCallers(t *testing.T) {
	s := subject(redistest.Start(t), func(c *goredis.Client, _ string) error { return c.FlushAll(context.Background()).Err() })
	s.Peer = func(_ *testing.T, l store.Log) store.Log { return l }
	storetest.Test(t, s)
}
