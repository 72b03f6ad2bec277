package file_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/file"
)

// A writer is a process that appends to the log of an organization.
type writer struct {
	testing.TB
	log          *file.Log
	organization string
	incarnation  uint64
	number       uint64
	at           store.Position
	had          []store.Entry // all that it appended
}

// newWriter loads a log, or begins it, and joins.
func newWriter(t testing.TB, l *file.Log, organization string, incarnation uint64) *writer {
	t.Helper()
	w := &writer{TB: t, log: l, organization: organization, incarnation: incarnation}
	s, entries, err := l.Load(t.Context(), organization)
	if errors.Is(err, store.ErrNotFound) {
		if err := l.Create(t.Context(), organization, store.Snapshot{}); err != nil {
			t.Fatal(err)
		}
		s, entries, err = l.Load(t.Context(), organization)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.at = s.Position
	if n := len(entries); n > 0 {
		w.at = entries[n-1].Position
	}
	b := w.batch("join")
	b.Join = true
	w.send(b)
	return w
}

func (w *writer) batch(payload string) store.Batch {
	w.number++
	claim, _ := w.log.Now(w.organization)
	return store.Batch{Incarnation: w.incarnation, Number: w.number, Claim: claim, Payload: []byte(payload)}
}

func (w *writer) try(b store.Batch) error {
	got, err := w.log.Append(w.Context(), w.organization, w.at, b, nil)
	if err != nil {
		return err
	}
	e := got[len(got)-1]
	e.Payload = bytes.Clone(e.Payload)
	w.at, w.had = e.Position, append(w.had, e)
	return nil
}

func (w *writer) send(b store.Batch) store.Entry {
	w.Helper()
	if err := w.try(b); err != nil {
		w.Fatal(err)
	}
	return w.had[len(w.had)-1]
}

// append appends a payload.
func (w *writer) append(payload string) store.Entry {
	w.Helper()
	return w.send(w.batch(payload))
}

// install makes a snapshot of all.
func (w *writer) install(state string) {
	w.Helper()
	if err := w.log.Install(w.Context(), w.organization, store.Snapshot{Position: w.at, State: []byte(state)}); err != nil {
		w.Fatal(err)
	}
}

// holds checks what Load gives.
func holds(t testing.TB, l *file.Log, organization, state string, want []store.Entry) {
	t.Helper()
	s, got, err := l.Load(t.Context(), organization)
	if err != nil {
		t.Fatal(err)
	}
	if string(s.State) != state {
		t.Errorf("got state %q, want %q", s.State, state)
	}
	if !slices.EqualFunc(got, want, equal) {
		t.Errorf("got %s\nwant %s", texts(got), texts(want))
	}
}

func equal(a, b store.Entry) bool {
	return a.Position == b.Position && a.Time == b.Time && a.Join == b.Join && bytes.Equal(a.Payload, b.Payload)
}

func texts(entries []store.Entry) string {
	var out []string
	for _, e := range entries {
		out = append(out, fmt.Sprintf("%d/%d %.20q at %d", e.Incarnation, e.Number, e.Payload, e.Time))
	}
	return strings.Join(out, ", ")
}

// last gives the last file in an organization's directory that ends so.
func last(t testing.TB, dir, ending string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"+ending))
	if err != nil || len(all) == 0 {
		t.Fatalf("no %s in %s, %v", ending, dir, err)
	}
	return all[len(all)-1]
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// long is a Sync that is not due while a test runs.
const long = file.Sync(time.Hour)
