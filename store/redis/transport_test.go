package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
)

// A script is a Transport to an empty Redis that accepts every Create, and a record of all
// that a log did.
type script struct {
	did    []string
	take   func(channel, message string, subscribed bool)
	others int // of the next transactions are refused, since another server was met
	met    uint64
}

func (s *script) note(format string, args ...any) {
	s.did = append(s.did, fmt.Sprintf(format, args...))
}

func (s *script) Known() uint64 { return s.met }

func (s *script) Do(_ context.Context, timeout time.Duration, known uint64, commands [][]any) ([]any, string, error) {
	s.note("do %v known %d of %d %q", timeout, known, s.met, commands)
	if s.others > 0 {
		s.others--
		s.met++
	}
	if known != s.met {
		return nil, "", redis.ErrOtherServer
	}
	replies := make([]any, len(commands))
	for i, c := range commands {
		switch c[0] {
		case "hmget":
			replies[i] = make([]any, len(c)-2)
		case "eval":
			replies[i] = "marker"
		}
	}
	return replies, "server", nil
}

func (s *script) Publish(_ context.Context, channel, message string) error {
	s.note("publish %s %s", channel, message)
	return nil
}

func (s *script) Subscribe(channel string) {
	s.note("subscribe %s", channel)
	s.take(channel, "", true) // at once: the log holds no lock
}

func (s *script) Unsubscribe(channel string)                                 { s.note("unsubscribe %s", channel) }
func (s *script) Listen(take func(channel, message string, subscribed bool)) { s.take = take }
func (s *script) Close() error                                               { return nil }

// With a Transport, and what else a simulation brings, a log does nothing on its own: it
// starts no goroutine, waits by nobody's clock, and does the same each time.
func TestDoesNothingOfItsOwn(t *testing.T) {
	run := func() []string {
		s := &script{}
		r, now := rand.New(rand.NewPCG(1, 1)), int64(0)
		goroutines := runtime.NumGoroutine()
		l, err := redis.Open(t.Context(), "", redis.Options{
			Transport: s, Random: r.Uint64,
			Clock:   func() (int64, int64) { return now + 1e18, now },
			OnNudge: func(organization string) { s.note("nudge %s", organization) },
			Go:      func(f func()) { s.note("go"); f() },
			Wait: func(_ context.Context, d time.Duration, _ <-chan struct{}) {
				s.note("wait %v", d)
				now += int64(d)
			},
		})
		must(t, err)
		for round := range 3 {
			for i := range 100 {
				name := fmt.Sprint("organization-", i)
				_, _, err := l.Load(t.Context(), name)
				wants(t, "Load", err, store.ErrNotFound)
				must(t, l.Create(t.Context(), name, store.Snapshot{Position: store.Position{Major: uint64(round)}}))
				_, err = l.Append(t.Context(), name, store.Position{Major: 1}, store.Batch{Incarnation: 1, Number: 1}, nil)
				wants(t, "Append", err, store.ErrBroken)
				must(t, l.Show(t.Context(), name, map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}))
				s.take("wm:{"+name+"}:nudge", "ff joined", false)
			}
			now += int64(time.Hour) // all are forgotten
		}
		if grown := runtime.NumGoroutine() - goroutines; grown > 0 {
			t.Errorf("%d goroutines were started", grown)
		}
		must(t, l.Close())
		return s.did
	}
	first, again := run(), run()
	if !slices.Equal(first, again) {
		for i := range first {
			if i >= len(again) || first[i] != again[i] {
				t.Fatalf("step %d was %s, and the second time %s", i, first[i], again[min(i, len(again)-1)])
			}
		}
	}
	for _, what := range []string{"subscribe", "unsubscribe", "wait", "go", "nudge", "publish"} {
		if !slices.ContainsFunc(first, func(did string) bool { return strings.HasPrefix(did, what) }) {
			t.Errorf("nothing shows how it does %s", what)
		}
	}
}

// Servers that were not known are made sure of by a load, and by nothing else; when they do
// not end it is unavailable.
func TestTransportMeetsServers(t *testing.T) {
	s := &script{}
	l, err := redis.Open(t.Context(), "", redis.Options{
		Transport: s, Clock: newClock().read, OnNudge: func(string) {}, Go: func(f func()) { f() },
		Wait: func(context.Context, time.Duration, <-chan struct{}) {},
	})
	must(t, err)
	s.others = 1
	_, _, err = l.Load(t.Context(), acme)
	wants(t, "Load", err, store.ErrNotFound)
	s.others = 1
	must(t, l.Create(t.Context(), acme, store.Snapshot{}))
	s.others = 100
	_, _, err = l.Load(t.Context(), acme)
	wants(t, "Load", err, store.ErrUnavailable)
	if err := l.Create(t.Context(), acme, store.Snapshot{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Create: got %v", err)
	}
}
