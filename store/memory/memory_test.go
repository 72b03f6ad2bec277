package memory_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/memory"
	"github.com/watermaster-project/watermaster/store/storetest"
)

// subject is a log on a clock that the test moves.
func subject(keep bool) storetest.Subject {
	var clock atomic.Int64
	clock.Store(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	s := storetest.Subject{
		Open: func(t *testing.T) store.Log {
			l := memory.Open(memory.Options{Clock: func() int64 { return clock.Add(1) }, Keep: keep})
			t.Cleanup(func() { _ = l.Close() })
			return l
		},
		Lose:    func(_ *testing.T, l store.Log, organization string) { l.(*memory.Log).Lose(organization) },
		Pass:    func(d time.Duration) { clock.Add(int64(d)) },
		Forgets: !keep,
	}
	if keep {
		s.Peer = func(_ *testing.T, l store.Log) store.Log { return l }
	}
	return s
}

func TestKeeping(t *testing.T)    { storetest.Test(t, subject(true)) }
func TestForgetting(t *testing.T) { storetest.Test(t, subject(false)) }

// The default clock is the real one, and neither steps back nor runs ahead.
func TestDefaultClock(t *testing.T) {
	l := memory.Open(memory.Options{})
	before := time.Now().Add(-time.Second).UnixNano()
	last := store.Time(before)
	for range 1000 {
		claim, joined := l.Now("acme")
		if !joined || claim.Time < last {
			t.Fatalf("got %d, %v after %d", claim.Time, joined, last)
		}
		last = claim.Time
	}
	if after := time.Now().Add(time.Second).UnixNano(); int64(last) > after {
		t.Errorf("got %d, want at most %d", last, after)
	}
}

// A reader that has to load what a forgetting log has let go finds it lost, and may begin
// again; that is no idle organization.
func TestForgottenEntriesAreLost(t *testing.T) {
	s := subject(false)
	l := s.Open(t)
	s.Pass(time.Hour)
	ctx := t.Context()
	if err := l.Create(ctx, "acme", store.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	begun, _, err := l.Load(ctx, "acme")
	if err != nil || begun.Kept < time.Hour {
		t.Fatalf("got Kept %v, %v; want an hour", begun.Kept, err)
	}
	got, err := l.Append(ctx, "acme", begun.Position, store.Batch{Incarnation: 1, Number: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Load(ctx, "acme"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
	if err := l.Create(ctx, "acme", store.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	again, _, err := l.Load(ctx, "acme")
	if err != nil || again.Kept != 0 {
		t.Errorf("got Kept %v, %v; want 0 after a loss", again.Kept, err)
	}
	if _, err := l.Append(ctx, "acme", got[0].Position, store.Batch{}, nil); !errors.Is(err, store.ErrBroken) {
		t.Errorf("got %v for a position of the lost log, want ErrBroken", err)
	}
}

// What a log holds does not grow with what was appended (forgetting), or is what came
// since the last snapshot but one (keeping).
func TestMemoryIsBounded(t *testing.T) {
	for _, keep := range []bool{false, true} {
		l := memory.Open(memory.Options{Keep: keep})
		ctx := t.Context()
		if err := l.Create(ctx, "acme", store.Snapshot{}); err != nil {
			t.Fatal(err)
		}
		s, _, _ := l.Load(ctx, "acme")
		at, payload := s.Position, make([]byte, 1000)
		var entries []store.Entry
		before := heap()
		for n := range uint64(50_000) {
			got, err := l.Append(ctx, "acme", at, store.Batch{Incarnation: 1, Number: n + 1, Payload: payload}, entries[:0])
			if err != nil {
				t.Fatal(err)
			}
			at, entries = got[len(got)-1].Position, got
			if keep && n%1000 == 999 {
				if err := l.Install(ctx, "acme", store.Snapshot{Position: at, State: []byte("state")}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if grown := heap() - before; grown > 4<<20 {
			t.Errorf("keep %v: 50 MB of entries left %d KiB", keep, grown>>10)
		}
		runtime.KeepAlive(l)
	}
}

// Idle organizations cost nothing, without anybody asking for them again.
func TestIdleOrganizationsGo(t *testing.T) {
	s := subject(false)
	l := s.Open(t)
	ctx := t.Context()
	before := heap()
	for i := range 50_000 {
		name := fmt.Sprint("organization-", i)
		if err := l.Create(ctx, name, store.Snapshot{}); err != nil {
			t.Fatal(err)
		}
		first, _, _ := l.Load(ctx, name)
		if _, err := l.Append(ctx, name, first.Position, store.Batch{Incarnation: 1, Number: 1, Hold: time.Second}, nil); err != nil {
			t.Fatal(err)
		}
		s.Pass(10 * time.Millisecond)
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("50,000 organizations, of which 100 are alive, left %d KiB", grown>>10)
	}
	runtime.KeepAlive(l)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkAppend(b *testing.B) {
	for _, keep := range []bool{false, true} {
		b.Run(fmt.Sprintf("keep=%v", keep), func(b *testing.B) {
			l := memory.Open(memory.Options{Keep: keep})
			ctx := b.Context()
			if err := l.Create(ctx, "acme", store.Snapshot{}); err != nil {
				b.Fatal(err)
			}
			s, _, _ := l.Load(ctx, "acme")
			at, payload := s.Position, make([]byte, 120)
			var entries []store.Entry
			var n uint64
			b.ReportAllocs()
			for b.Loop() {
				n++
				claim, _ := l.Now("acme")
				got, err := l.Append(ctx, "acme", at, store.Batch{Incarnation: 1, Number: n, Claim: claim, Hold: time.Hour, Payload: payload}, entries[:0])
				if err != nil {
					b.Fatal(err)
				}
				at, entries = got[0].Position, got
				if keep && n%4096 == 0 {
					if err := l.Install(ctx, "acme", store.Snapshot{Position: at}); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
