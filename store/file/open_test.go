package file_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/file"
)

// Every name has a directory of its own, also where capitals are no different, and is
// found again.
func TestNames(t *testing.T) {
	names := []string{
		"", ".", "..", "/", "a/b", "../a", "a", "A", "%61", "%", "%%", "a:b", "{a}", "ä", " ", "a ", "a.log", "a.gone", "\x00", "\xff",
		"watermaster", "watermaster.lock", "watermaster.state", "con", "NUL", "a\nb",
		strings.Repeat("x", 160), strings.Repeat("x", 161), strings.Repeat("x", 162), strings.Repeat("x", 512),
		strings.Repeat("€", 128), strings.Repeat("𝄞", 128), strings.Repeat("𝄞", 127) + "x",
	}
	dir := t.TempDir()
	l := open(t, dir, file.Options{Sync: file.Never})
	seen := map[string]string{}
	for _, name := range names {
		newWriter(t, l, name, 1).append(name)
		d := file.Directory(l, name)
		if filepath.Dir(d) != dir || len(filepath.Base(d)) > 250 {
			t.Errorf("%q has the directory %s", name, d)
		}
		folded := strings.ToLower(d)
		if other, ok := seen[folded]; ok {
			t.Errorf("%q and %q have the same directory", name, other)
		}
		seen[folded] = name
	}
	l = reopen(t, l, dir, file.Options{})
	for _, name := range names {
		_, entries, err := l.Load(t.Context(), name)
		if err != nil || len(entries) != 2 || string(entries[1].Payload) != name {
			t.Errorf("%q: got %s, %v", name, texts(entries), err)
		}
	}
}

// What others keep in the directory stays as it is.
func TestStrangers(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"lost+found/x", "notes/README", ".git/HEAD", "readme.txt"} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, []byte("mine"))
	}
	l := open(t, dir, file.Options{})
	newWriter(t, l, "notes", 1).append("x")
	l = reopen(t, l, dir, file.Options{})
	w := newWriter(t, l, "notes", 2)
	w.install("state")
	for _, path := range []string{"lost+found/x", "notes/README", ".git/HEAD", "readme.txt"} {
		if got := read(t, filepath.Join(dir, path)); string(got) != "mine" {
			t.Errorf("%s became %q", path, got)
		}
	}
}

// raise makes a file one of a later version.
func raise(t *testing.T, path string) {
	t.Helper()
	b := read(t, path)
	binary.LittleEndian.PutUint16(b[8:], 2)
	end := 14 + binary.LittleEndian.Uint32(b[10:])
	binary.LittleEndian.PutUint32(b[end:], crc32.Checksum(b[:end], crc32.MakeTable(crc32.Castagnoli)))
	write(t, path, b)
}

// A file of a later version is an error that says so, and nothing is done to it.
func TestLaterVersion(t *testing.T) {
	for _, ending := range []string{".snap", ".log"} {
		t.Run(ending, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir, file.Options{})
			newWriter(t, l, "acme", 1).install("state")
			newWriter(t, l, "other", 1)
			path := last(t, file.Directory(l, "acme"), ending)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			raise(t, path)
			before := read(t, path)
			l = open(t, dir, file.Options{})
			_, _, err := l.Load(t.Context(), "acme")
			if err == nil || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "format 2") || !strings.Contains(err.Error(), path) {
				t.Errorf("Load: got %v", err)
			}
			if err := l.Create(t.Context(), "acme", store.Snapshot{}); err == nil {
				t.Error("it was begun anew")
			}
			if string(read(t, path)) != string(before) {
				t.Error("the file was changed")
			}
			newWriter(t, l, "other", 2)
		})
	}
	dir := t.TempDir()
	l := open(t, dir, file.Options{})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "watermaster.state")
	raise(t, path)
	if _, err := file.Open(dir, file.Options{}); err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("got %v, want an error that names the format", err)
	}
	write(t, path, []byte("nonsense")) // is no reason not to serve
	newWriter(t, open(t, dir, file.Options{}), "acme", 1)
}

// Two processes may have had the directory after all, or somebody edits: the log is not
// continued on what it does not know.
func TestStrangerWrites(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Options{})
	w := newWriter(t, l, "acme", 1)
	path := last(t, file.Directory(l, "acme"), ".log")
	b := read(t, path)
	write(t, path, append(b, "something"...))
	if err := w.try(w.batch("x")); !errors.Is(err, store.ErrBroken) {
		t.Errorf("got %v, want ErrBroken", err)
	}
	if err := l.Create(t.Context(), "acme", store.Snapshot{State: []byte("all")}); err != nil {
		t.Fatal(err)
	}
	w = newWriter(t, l, "acme", 2)
	holds(t, reopen(t, l, dir, file.Options{}), "acme", "all", w.had)
}

// What is too long is refused, and changes nothing.
func TestTooLong(t *testing.T) {
	l := open(t, t.TempDir(), file.Options{Sync: file.Never})
	w := newWriter(t, l, "acme", 1)
	b := w.batch("")
	b.Payload = make([]byte, 16<<20+1)
	if err := w.try(b); err == nil || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v for 16 MiB and a byte", err)
	}
	b.Payload = b.Payload[1:]
	w.send(b)
	w.append("x")
	holds(t, l, "acme", "", w.had)
	if err := l.Create(t.Context(), strings.Repeat("x", 1<<16), store.Snapshot{}); err == nil {
		t.Error("a name of 64 KiB was taken")
	}
}

// Opening takes a second at most, with as much as many organizations leave: each some
// thousand entries since its snapshot.
func TestOpenIsFast(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes 50 MB")
	}
	const organizations, entries = 100, 2000
	dir := t.TempDir()
	l := open(t, dir, file.Options{Sync: file.Never})
	for i := range organizations {
		w := newWriter(t, l, fmt.Sprint("organization ", i), 1)
		w.install(strings.Repeat("state", 10_000))
		for range entries {
			w.append(strings.Repeat("x", 150))
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	took := elapsed(func() { l = open(t, dir, file.Options{}) })
	t.Logf("opened %d organizations with %d entries each in %v", organizations, entries, took)
	if took > 1e9 {
		t.Errorf("it took %v", took)
	}
	if _, got, err := l.Load(t.Context(), "organization 7"); err != nil || len(got) != entries {
		t.Errorf("got %d entries, %v", len(got), err)
	}
}
