package file_test

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/file"
)

// refuse lets the kernel refuse whatever is done with an organization's file, except to
// look at it.
func refuse(t *testing.T, l *file.Log, organization string) {
	t.Helper()
	f, err := os.OpenFile(last(t, file.Directory(l, organization), ".log"), unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Dup3(int(f.Fd()), file.Descriptor(l, organization), syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
}

// A sync in the background fails: nothing more is acknowledged.
func TestSyncFails(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Options{Sync: file.Sync(50 * time.Millisecond)})
	w := newWriter(t, l, "acme", 1)
	w.append("acknowledged")
	refuse(t, l, "acme")
	for end := time.Now().Add(10 * time.Second); ; {
		err := w.try(w.batch("x"))
		if errors.Is(err, store.ErrBroken) {
			break
		}
		if !errors.Is(err, store.ErrUnavailable) || time.Now().After(end) {
			t.Fatalf("Append: got %v, want ErrUnavailable and then ErrBroken", err)
		}
		w.number--
	}
	givenUp(t, l, dir, w)
}

// So does the one that a snapshot needs.
func TestSyncOfASnapshotFails(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Options{Sync: long})
	w := newWriter(t, l, "acme", 1)
	w.append("acknowledged")
	refuse(t, l, "acme")
	err := l.Install(t.Context(), "acme", store.Snapshot{Position: w.at, State: []byte("state")})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("Install: got %v, want ErrUnavailable", err)
	}
	givenUp(t, l, dir, w)
}

// A process that restarts after a failed sync has what the disk has.
func TestRestartAfterAFailedSync(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Options{Sync: long})
	w := newWriter(t, l, "acme", 1)
	w.append("acknowledged")
	refuse(t, l, "acme")
	if err := l.Close(); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Close: got %v, want ErrUnavailable: not all is on the disk", err)
	}
	l = open(t, dir, file.Options{})
	holds(t, l, "acme", "", w.had)
}

// A write that fails is undone, and the log goes on when writes succeed again.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, file.Options{Sync: long})
	w := newWriter(t, l, "acme", 1)
	fd := file.Descriptor(l, "acme")
	good, err := syscall.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(good) }()
	refuse(t, l, "acme")
	b := w.batch("x")
	for range 3 {
		if err := w.try(b); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("got %v, want ErrUnavailable", err)
		}
	}
	if err := syscall.Dup3(good, fd, syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	w.send(b)
	holds(t, l, "acme", "", w.had)
}
