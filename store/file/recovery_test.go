package file_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/file"
)

// A recorded log of one organization and where its entries end in the file.
type recorded struct {
	dir  string // of the log
	file string // that has the entries
	data []byte
	had  []store.Entry
	ends []int // ends[0] is where the first entry begins
}

func record(t *testing.T, sync file.Sync) recorded {
	t.Helper()
	dir := t.TempDir()
	l := open(t, dir, file.Options{Sync: sync})
	if err := l.Create(t.Context(), "acme", store.Snapshot{}); err != nil {
		t.Fatal(err)
	}
	r := recorded{dir: dir, file: last(t, file.Directory(l, "acme"), ".log")}
	r.ends = append(r.ends, len(read(t, r.file)))
	w := newWriter(t, l, "acme", 1)
	r.ends = append(r.ends, len(read(t, r.file)))
	for i := range 5 {
		w.append(strings.Repeat("x", 7*i))
		r.ends = append(r.ends, len(read(t, r.file)))
	}
	r.had, r.data = w.had, read(t, r.file)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return r
}

// whole says how many entries end at or before a byte.
func (r *recorded) whole(at int) (n int) {
	for n < len(r.had) && r.ends[n+1] <= at {
		n++
	}
	return n
}

// A file may end at any byte: what was whole is there, and the log goes on from it.
func TestTornTail(t *testing.T) {
	r := record(t, long)
	for at := range len(r.data) + 1 {
		write(t, r.file, r.data[:at])
		l, err := file.Open(r.dir, file.Options{Sync: long})
		if err != nil {
			t.Fatal(err)
		}
		_, got, err := l.Load(t.Context(), "acme")
		if at < r.ends[0] { // the beginning was synced before the file had its name
			if !errors.Is(err, store.ErrBroken) || errors.Is(err, store.ErrNotFound) {
				t.Errorf("cut at %d: got %v, want ErrBroken", at, err)
			}
		} else {
			if want := r.had[:r.whole(at)]; err != nil || texts(got) != texts(want) {
				t.Fatalf("cut at %d: got %s, %v; want %s", at, texts(got), err, texts(want))
			}
			if at%17 == 0 {
				w := newWriter(t, l, "acme", 2)
				w.append("more")
				holds(t, l, "acme", "", append(got, w.had...))
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Any byte may change: an entry that was on the disk is missed, and what was not yet is cut
// with all that follows. What is before is there, or there is an error, but never nothing.
func TestChangedByte(t *testing.T) {
	for _, sync := range []file.Sync{file.Always, long} {
		t.Run(sync.String(), func(t *testing.T) {
			r := record(t, sync)
			for at := range r.data {
				data := bytes.Clone(r.data)
				data[at] ^= 1 << (at % 8)
				write(t, r.file, data)
				l, err := file.Open(r.dir, file.Options{Sync: long})
				if err != nil {
					t.Fatal(err)
				}
				_, got, err := l.Load(t.Context(), "acme")
				n := r.whole(at)
				if refused := at < r.ends[0] || sync == file.Always && n < len(r.had)-1; refused {
					if !errors.Is(err, store.ErrBroken) || errors.Is(err, store.ErrNotFound) {
						t.Errorf("byte %d: got %v, want ErrBroken", at, err)
					}
					if !bytes.Equal(read(t, r.file), data) {
						t.Errorf("byte %d: the damaged file was changed", at)
					}
				} else if want := r.had[:n]; err != nil || texts(got) != texts(want) {
					t.Errorf("byte %d: got %s, %v; want %s", at, texts(got), err, texts(want))
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Every byte of a snapshot is checked, and the one before replaces it.
func TestChangedSnapshot(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Options{})
	w := newWriter(t, l, "acme", 1)
	w.append("1")
	w.install("one")
	w.append("2")
	w.install("two")
	w.append("3")
	files := file.Directory(l, "acme")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := last(t, files, ".snap")
	data := read(t, path)
	for at := range data {
		changed := bytes.Clone(data)
		changed[at] ^= 0x40
		write(t, path, changed)
		l, err := file.Open(dir, file.Options{Sync: long})
		if err != nil {
			t.Fatal(err)
		}
		holds(t, l, "acme", "one", w.had[2:])
		if at%20 == 0 { // and it goes on from there
			again := newWriter(t, l, "acme", uint64(at+2))
			again.append("more")
			w.had = append(w.had, again.had...)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l = open(t, dir, file.Options{})
	w = newWriter(t, l, "acme", 9)
	w.install("three")
	l = reopen(t, l, dir, file.Options{})
	holds(t, l, "acme", "three", nil)
}

// A damaged organization is an error that says what to do, all others are served, and to
// begin it again is no proof that nothing was used.
func TestDamage(t *testing.T) {
	rows := []struct {
		what   string
		damage func(t *testing.T, dir string)
		want   string // in the error
	}{
		{"a log is missing", func(t *testing.T, dir string) { remove(t, last(t, dir, ".log")) }, "missing"},
		{"an earlier log ends too soon", func(t *testing.T, dir string) {
			all, _ := filepath.Glob(filepath.Join(dir, "*.log"))
			b := read(t, all[0])
			write(t, all[0], b[:len(b)-1])
			remove(t, last(t, dir, ".snap"))
		}, "cannot be read"},
		{"the snapshots are missing", func(t *testing.T, dir string) {
			remove(t, last(t, dir, ".snap"))
			remove(t, last(t, dir, ".snap"))
		}, "snapshot"},
		{"the snapshots are damaged", func(t *testing.T, dir string) {
			all, _ := filepath.Glob(filepath.Join(dir, "*.snap"))
			for _, path := range all {
				write(t, path, read(t, path)[:50])
			}
		}, "damaged"},
		{"another organization's files", func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(dir, os.DirFS(filepath.Join(filepath.Dir(dir), "other"))); err != nil {
				t.Fatal(err)
			}
		}, "belongs to organization"},
	}
	for _, row := range rows {
		t.Run(row.what, func(t *testing.T) {
			c := newClock()
			dir := t.TempDir()
			var told bytes.Buffer
			o := file.Options{Sync: file.Always, Clock: c.read, Logger: slog.New(slog.NewTextHandler(&told, nil))}
			l := open(t, dir, o)
			w := newWriter(t, l, "acme", 1)
			for i := range 3 {
				w.append(fmt.Sprint(i))
				w.install(fmt.Sprint("state ", i))
			}
			w.append("last")
			newWriter(t, l, "other", 1)
			c.pass(1000 * 60 * 1e9)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			files := file.Directory(l, "acme")
			row.damage(t, files)

			l = open(t, dir, o)
			_, _, err := l.Load(t.Context(), "acme")
			if !errors.Is(err, store.ErrBroken) || errors.Is(err, store.ErrNotFound) {
				t.Fatalf("Load: got %v, want ErrBroken", err)
			}
			for _, want := range []string{row.want, files, "move"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
			if !strings.Contains(told.String(), row.want) {
				t.Errorf("the logger was told %q, want %q in it", &told, row.want)
			}
			if err := l.Create(t.Context(), "acme", store.Snapshot{}); !errors.Is(err, store.ErrBroken) {
				t.Errorf("Create: got %v, want ErrBroken", err)
			}
			if _, err := l.Append(t.Context(), "acme", w.at, store.Batch{}, nil); !errors.Is(err, store.ErrBroken) {
				t.Errorf("Append: got %v, want ErrBroken", err)
			}
			if _, joined := l.Now("acme"); joined {
				t.Error("claims of a damaged organization count")
			}
			newWriter(t, l, "other", 2).append("served")

			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(files, filepath.Join(t.TempDir(), "away")); err != nil {
				t.Fatal(err)
			}
			l = open(t, dir, o)
			newWriter(t, l, "acme", 2)
			if s, _, err := l.Load(t.Context(), "acme"); err != nil || s.Kept > 1e9 {
				t.Errorf("got Kept %v, %v after a loss; want none", s.Kept, err)
			}
		})
	}
}

// A machine that ends may have written later blocks before earlier ones. What was behind
// the last sync is cut, in whatever file it is.
func TestHoleBehindTheLastSync(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Options{Sync: long})
	w := newWriter(t, l, "acme", 1)
	w.append("synced")
	w.install("state")
	path := last(t, file.Directory(l, "acme"), ".log")
	begin := len(read(t, path))
	for _, payload := range []string{"a", "b", "c", "d"} {
		w.append(payload)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	data := read(t, path)
	size := (len(data) - begin) / 4
	clear(data[begin+size : begin+2*size])
	write(t, path, data)
	var told bytes.Buffer
	l = open(t, dir, file.Options{Sync: long, Logger: slog.New(slog.NewTextHandler(&told, nil))})
	holds(t, l, "acme", "state", w.had[2:3])
	if want := "entries_behind=2"; !strings.Contains(told.String(), want) {
		t.Errorf("the logger was told %q, want %q in it", &told, want)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
