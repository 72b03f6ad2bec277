package redis_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
)

// A writer is a process that serves acme.
type writer struct {
	testing.TB
	log         *redis.Log
	incarnation uint64
	number      uint64
	hold        time.Duration
	at          store.Position
	had         []store.Entry
}

const acme = "acme"

// newWriter loads the log, creates it if need be, and joins.
func newWriter(t testing.TB, l *redis.Log, incarnation uint64) *writer {
	t.Helper()
	w := &writer{TB: t, log: l, incarnation: incarnation, hold: time.Hour}
	w.load()
	w.join()
	return w
}

func (w *writer) load() store.Snapshot {
	w.Helper()
	s, tail, err := w.log.Load(w.Context(), acme)
	if errors.Is(err, store.ErrNotFound) {
		if err := w.log.Create(w.Context(), acme, store.Snapshot{}); err != nil && !errors.Is(err, store.ErrExists) {
			w.Fatalf("Create: %v", err)
		}
		s, tail, err = w.log.Load(w.Context(), acme)
	}
	if err != nil {
		w.Fatalf("Load: %v", err)
	}
	w.at, w.had = s.Position, nil
	w.take(tail)
	return s
}

func (w *writer) take(entries []store.Entry) {
	for _, e := range entries {
		e.Payload = bytes.Clone(e.Payload)
		w.had = append(w.had, e)
		w.at = e.Position
	}
}

func (w *writer) batch(payload string) store.Batch {
	w.number++
	claim, _ := w.log.Now(acme)
	return store.Batch{Incarnation: w.incarnation, Number: w.number, Claim: claim, Hold: w.hold, Payload: []byte(payload)}
}

// try sends a batch once.
func (w *writer) try(b store.Batch) error {
	got, err := w.log.Append(w.Context(), acme, w.at, b, nil)
	if err != nil {
		return err
	}
	w.take(got)
	return nil
}

// send sends a batch and gives the last entry.
func (w *writer) send(b store.Batch) store.Entry {
	w.Helper()
	if err := w.try(b); err != nil {
		w.Fatalf("Append %d: %v", b.Number, err)
	}
	return w.had[len(w.had)-1]
}

func (w *writer) append(payload string) store.Entry {
	w.Helper()
	return w.send(w.batch(payload))
}

func (w *writer) read() {
	w.Helper()
	must(w, w.try(store.Batch{}))
}

func (w *writer) join() store.Entry {
	w.Helper()
	b := w.batch("join")
	b.Join = true
	return w.send(b)
}

// wants checks an error.
func wants(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}
