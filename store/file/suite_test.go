package file_test

import (
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/file"
	"github.com/watermaster-project/watermaster/store/storetest"
)

// A clock is a wall clock and a monotonic one that a test moves.
type clock struct{ wall, monotonic atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.wall.Store(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) read() (wall, monotonic int64) { return c.wall.Add(1), c.monotonic.Add(1) }

// pass lets time pass.
func (c *clock) pass(d time.Duration) {
	c.wall.Add(int64(d))
	c.monotonic.Add(int64(d))
}

// open opens a log, and closes it with the test.
func open(t testing.TB, dir string, o file.Options) *file.Log {
	t.Helper()
	l, err := file.Open(dir, o)
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

// reopen ends a log and gives what the next process finds.
func reopen(t testing.TB, l *file.Log, dir string, o file.Options) *file.Log {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, dir, o)
}

// subject is a log in a directory of its own, on a clock that the test moves.
func subject(sync file.Sync) storetest.Subject {
	c := newClock()
	dirs := map[store.Log]string{}
	o := file.Options{Sync: sync, Clock: c.read}
	return storetest.Subject{
		Open: func(t *testing.T) store.Log {
			dir := t.TempDir()
			o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
			l := open(t, dir, o)
			dirs[l] = dir
			return l
		},
		Reopen: func(t *testing.T, l store.Log) store.Log {
			return reopen(t, l.(*file.Log), dirs[l], o)
		},
		Lose: func(t *testing.T, l store.Log, organization string) {
			if err := os.RemoveAll(file.Directory(l.(*file.Log), organization)); err != nil {
				t.Fatal(err)
			}
		},
		Pass: c.pass,
	}
}

func TestLog(t *testing.T) {
	for _, sync := range []file.Sync{file.DefaultSync, file.Always, file.Never} {
		t.Run(sync.String(), func(t *testing.T) { storetest.Test(t, subject(sync)) })
	}
}

// One process is enough to hold the log to the rules for several: they are callers of one
// log.
func TestManyCallers(t *testing.T) {
	s := subject(file.DefaultSync)
	s.Peer = func(_ *testing.T, l store.Log) store.Log { return l }
	storetest.Test(t, s)
}
