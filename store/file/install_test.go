package file_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/file"
)

// usage gives the bytes and files of an organization.
func usage(t testing.TB, dir string) (bytes int64, files int) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		bytes, files = bytes+info.Size(), files+1
	}
	return bytes, files
}

// What a log holds on disk, in memory and open does not grow with what was appended: it is
// two snapshots and what came since the first of them.
func TestUseIsBounded(t *testing.T) {
	l := open(t, t.TempDir(), file.Options{Sync: long})
	w := newWriter(t, l, "acme", 1)
	const entries, size, state = 100, 1000, 20_000
	round := func() {
		for range entries {
			w.append(strings.Repeat("x", size))
		}
		w.install(strings.Repeat("s", state))
		w.had = nil
	}
	round()
	round()
	memory, files := heap(), descriptors(t)
	for i := range 200 {
		round()
		if got, most := first(usage(t, file.Directory(l, "acme"))), int64(2*entries*(size+100)+2*state+1000); got > most {
			t.Fatalf("%d bytes after %d snapshots, want at most %d", got, i, most)
		}
	}
	if grown := heap() - memory; grown > 1<<20 {
		t.Errorf("20 MB of entries left %d KiB in memory", grown>>10)
	}
	if got := descriptors(t); got > files+2 {
		t.Errorf("%d files are open, and %d were", got, files)
	}
	if _, n := usage(t, file.Directory(l, "acme")); n > 4 {
		t.Errorf("there are %d files, want 2 snapshots and 2 logs at most", n)
	}
	runtime.KeepAlive(l)
}

func first(bytes int64, _ int) int64 { return bytes }

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func descriptors(t *testing.T) int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system does not tell open files")
	}
	return len(all)
}

// Entries are appended while a large state is written and synced, and are all there.
func TestAppendDuringInstall(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Options{})
	w := newWriter(t, l, "acme", 1)
	w.append("before")
	from := store.Snapshot{Position: w.at, State: make([]byte, 64<<20)}
	done := make(chan error)
	start := time.Now()
	go func() { done <- l.Install(t.Context(), "acme", from) }()
	n, slowest := 0, time.Duration(0)
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d entries during an Install of %v; the slowest took %v", n, time.Since(start), slowest)
			if n < 10 {
				t.Errorf("only %d entries were appended during the Install", n)
			}
			holds(t, l, "acme", string(from.State), w.had[2:])
			l = reopen(t, l, dir, file.Options{})
			holds(t, l, "acme", string(from.State), w.had[2:])
			return
		default:
			before := time.Now()
			w.append(fmt.Sprint(n))
			slowest = max(slowest, time.Since(before))
			n++
		}
	}
}

// A process may end at any step of Install and Create: the files that it leaves are whole.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Options{})
	w := newWriter(t, l, "acme", 1)
	w.append("1")
	w.install("one")
	w.append("2")
	files := file.Directory(l, "acme")
	before := t.TempDir()
	copyTo(t, before, files)
	w.install("two")
	after := t.TempDir()
	copyTo(t, after, files)
	w.append("3")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		what  string
		leave func() // a state of files
		state string
		want  []store.Entry
	}{
		{"a part of a file", func() {
			copyTo(t, files, before)
			write(t, filepath.Join(files, "next.new"), []byte("part"))
		}, "one", w.had[2:3]},
		{"the next log, no snapshot", func() {
			copyTo(t, files, after)
			remove(t, last(t, files, ".snap"))
		}, "one", w.had[2:3]},
		{"a part of the snapshot", func() {
			copyTo(t, files, after)
			path := last(t, files, ".snap")
			write(t, path+".new", read(t, path)[:30])
			remove(t, path)
		}, "one", w.had[2:3]},
		{"the snapshot, nothing cleaned", func() {
			copyTo(t, files, before)
			overlay(t, files, after)
		}, "two", nil},
	}
	for _, row := range rows {
		t.Run(row.what, func(t *testing.T) {
			row.leave()
			l := open(t, dir, file.Options{})
			holds(t, l, "acme", row.state, row.want)
			w := newWriter(t, l, "acme", 2)
			w.append("on")
			w.install("three")
			w.append("and on")
			l = reopen(t, l, dir, file.Options{})
			holds(t, l, "acme", "three", w.had[2:])
			if left, _ := filepath.Glob(filepath.Join(files, "*.new")); len(left) > 0 {
				t.Errorf("%v is left", left)
			}
		})
	}
}

// A Create that did not end has created nothing.
func TestInterruptedCreate(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Options{})
	newWriter(t, l, "other", 1)
	if err := l.Create(t.Context(), "acme", store.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	files := file.Directory(l, "acme")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := last(t, files, ".snap")
	if err := os.Rename(path, path+".new"); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, file.Options{})
	if _, _, err := l.Load(t.Context(), "acme"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	newWriter(t, l, "acme", 1).append("x")
}

func copyTo(t *testing.T, to, from string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// overlay adds the files that are not there.
func overlay(t *testing.T, to, from string) {
	t.Helper()
	all, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		write(t, filepath.Join(to, e.Name()), read(t, filepath.Join(from, e.Name())))
	}
}
