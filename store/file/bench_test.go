package file_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/file"
	"github.com/watermaster-project/watermaster/store/memory"
)

func elapsed(do func()) time.Duration {
	start := time.Now()
	do()
	return time.Since(start)
}

func BenchmarkAppend(b *testing.B) {
	b.Run("memory", func(b *testing.B) { benchAppend(b, memory.Open(memory.Options{}), 0) })
	for _, sync := range []file.Sync{file.Never, file.DefaultSync, file.Always} {
		b.Run(sync.String(), func(b *testing.B) { benchAppend(b, open(b, b.TempDir(), file.Options{Sync: sync}), 4096) })
	}
}

// benchAppend appends batches of 120 bytes, and installs a state of 100 KB every so often.
func benchAppend(b *testing.B, l store.Log, every uint64) {
	ctx := b.Context()
	if err := l.Create(ctx, "acme", store.Snapshot{}); err != nil {
		b.Fatal(err)
	}
	s, _, err := l.Load(ctx, "acme")
	if err != nil {
		b.Fatal(err)
	}
	at, payload, state := s.Position, make([]byte, 120), make([]byte, 100_000)
	var entries []store.Entry
	var n uint64
	b.ReportAllocs()
	for b.Loop() {
		n++
		claim, joined := l.Now("acme")
		got, err := l.Append(ctx, "acme", at, store.Batch{Incarnation: 1, Number: n, Claim: claim, Join: !joined, Hold: time.Hour, Payload: payload}, entries[:0])
		if err != nil {
			b.Fatal(err)
		}
		at, entries = got[0].Position, got
		if every > 0 && n%every == 0 {
			b.StopTimer()
			if err := l.Install(ctx, "acme", store.Snapshot{Position: at, State: state}); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
}

func BenchmarkInstall(b *testing.B) {
	for _, size := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l := open(b, b.TempDir(), file.Options{})
			w := newWriter(b, l, "acme", 1)
			state := make([]byte, size)
			for b.Loop() {
				w.append("x")
				w.had = nil
				if err := l.Install(b.Context(), "acme", store.Snapshot{Position: w.at, State: state}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
