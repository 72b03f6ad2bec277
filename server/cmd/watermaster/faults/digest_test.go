package faults

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// A forgetful log leaves out another process's entry when it is told to, once.
type forgetful struct {
	*redis.Log
	forget atomic.Bool
}

func (f *forgetful) Append(ctx context.Context, organization string, after store.Position, b store.Batch, entries []store.Entry) ([]store.Entry, error) {
	n := len(entries)
	entries, err := f.Log.Append(ctx, organization, after, b, entries)
	for i := n; err == nil && i < len(entries)-1; i++ { // not the last: the next read would begin with it
		if entries[i].Incarnation != b.Incarnation && f.forget.CompareAndSwap(true, false) {
			return append(entries[:i], entries[i+1:]...), nil
		}
	}
	return entries, err
}

// One replica misses an entry, so that it decides otherwise than the others. Their digests tell:
// it is found, reported, and healed by loading the log, and nothing goes over the quota.
func TestDigestMismatch(t *testing.T) {
	heavy(t)
	s := redistest.Start(t)
	var faulty *forgetful
	a := join(t, budget, s.URL(), func(l *redis.Log) store.Log {
		faulty = &forgetful{Log: l}
		return faulty
	})
	b, c := join(t, budget, s.URL()), join(t, budget, s.URL())
	l := drive(t, a.address, b.address, c.address)
	l.granted(0, 5*time.Second)
	const breaks = "watermaster_log_breaks_total"
	for i := range figure(1, 20) {
		time.Sleep(2500 * time.Millisecond) // a replica looks away for two seconds after a difference
		faulty.forget.Store(true)
		eventually(t, "the entry is left out", 5*time.Second, func() bool { return !faulty.forget.Load() })
		took := eventually(t, "the difference is found by the one that errs", 3*time.Second, func() bool {
			return a.counted(breaks, "cause", "digest") > float64(i)
		})
		t.Logf("found after %v", took)
		if !strings.Contains(a.said.String(), "decided differently") {
			t.Error("nobody is told of it")
		}
	}
	time.Sleep(3 * time.Second)
	// From here on all agree.
	before := a.counted(breaks, "cause", "digest") + b.counted(breaks, "cause", "digest") + c.counted(breaks, "cause", "digest")
	time.Sleep(2 * time.Second)
	if after := a.counted(breaks, "cause", "digest") + b.counted(breaks, "cause", "digest") + c.counted(breaks, "cause", "digest"); after != before {
		t.Errorf("differences were found %v times after it was healed", after-before)
	}
	l.end()
}
