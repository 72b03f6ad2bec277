package file_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/file"
)

// Each entry is on the disk when the policy says so.
func TestSync(t *testing.T) {
	rows := []struct {
		sync           file.Sync
		atOnce, before uint64 // up to which of four entries, after Append and after 90 ms
		after          uint64 // and after 100 ms
	}{
		{file.DefaultSync, 1, 1, 4}, // the first was due before
		{file.Always, 4, 4, 4},
		{file.Never, 0, 0, 0},
	}
	for _, row := range rows {
		t.Run(row.sync.String(), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				l := open(t, dir, file.Options{Sync: row.sync})
				w := newWriter(t, l, "acme", 1)
				time.Sleep(time.Second)
				synctest.Wait()
				check := func(when string, want uint64) {
					t.Helper()
					synctest.Wait()
					if got := file.Synced(l, "acme"); got != want {
						t.Errorf("%s: synced up to %d, want %d", when, got, want)
					}
				}
				for range 3 {
					w.append("x")
				}
				check("at once", row.atOnce)
				time.Sleep(90 * time.Millisecond)
				check("after 90 ms", row.before)
				time.Sleep(10 * time.Millisecond)
				check("after 100 ms", row.after)
				w.install("state")
				check("with a snapshot", 4)
			})
		})
	}
}

// Organizations that come in steadily do not put the sync of the first off.
func TestSyncUnderLoad(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := open(t, dir, file.Options{})
		var all []*writer
		for i := range 30 {
			all = append(all, newWriter(t, l, fmt.Sprint(i), 1))
		}
		time.Sleep(time.Second)
		for i, w := range all {
			w.append("x")
			time.Sleep(60 * time.Millisecond)
			synctest.Wait()
			if i < 2 {
				continue
			}
			if got := file.Synced(l, all[i-2].organization); got != 2 {
				t.Fatalf("an entry of 180 ms ago is not synced: got %d, want 2", got)
			}
		}
	})
}

// What can be asked for on a command line.
func TestParseSync(t *testing.T) {
	rows := []struct {
		text string
		want file.Sync
		err  bool
	}{
		{"always", file.Always, false},
		{"never", file.Never, false},
		{"100ms", file.DefaultSync, false},
		{"1s", file.Sync(time.Second), false},
		{"0", 0, true},
		{"-1ns", 0, true},
		{"-1s", 0, true},
		{"1h", 0, true},
		{"", 0, true},
		{"sometimes", 0, true},
	}
	for _, row := range rows {
		got, err := file.ParseSync(row.text)
		if got != row.want || (err != nil) != row.err {
			t.Errorf("%q: got %v, %v; want %v", row.text, got, err, row.want)
		}
		if err == nil && got.String() != row.text {
			t.Errorf("%q became %q", row.text, got)
		}
		if err != nil && !strings.Contains(err.Error(), "always, never") {
			t.Errorf("%q: got %q, which does not say what to write", row.text, err)
		}
	}
	if _, err := file.Open(t.TempDir(), file.Options{Sync: -3}); err == nil {
		t.Error("a Sync of −3 was taken")
	}
}

// givenUp checks an organization whose sync failed: only a state begins it again, and
// nothing that was acknowledged is missing then.
func givenUp(t *testing.T, l *file.Log, dir string, w *writer) {
	t.Helper()
	ctx := t.Context()
	if err := w.try(w.batch("x")); !errors.Is(err, store.ErrBroken) {
		t.Fatalf("Append: got %v, want ErrBroken", err)
	}
	if _, _, err := l.Load(ctx, "acme"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Load: got %v, want ErrNotFound", err)
	}
	if err := l.Install(ctx, "acme", store.Snapshot{Position: w.at, State: []byte("x")}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Install: got %v, want ErrNotFound", err)
	}
	if err := l.Create(ctx, "acme", store.Snapshot{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Create with nothing: got %v, want ErrUnavailable", err)
	}
	before, _ := l.Now("acme")
	if err := l.Create(ctx, "acme", store.Snapshot{Position: w.at, State: []byte("all")}); err != nil {
		t.Fatalf("Create with a state: %v", err)
	}
	if now, joined := l.Now("acme"); joined || now.Time < before.Time {
		t.Errorf("got %v, %v after %v; the history is another, and time goes on", now, joined, before)
	}
	again := newWriter(t, l, "acme", 2)
	again.append("y")
	holds(t, l, "acme", "all", again.had)
	l = reopen(t, l, dir, file.Options{})
	holds(t, l, "acme", "all", again.had)
}
