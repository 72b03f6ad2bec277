package redis

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

// Fields of the snapshot's hash.
const (
	stateField    = "state"
	atField       = "at"       // the id of the last entry in it
	placeField    = "place"    // the same, to be compared as text: see placeOf
	timelineField = "timeline" // there; none: it is the beginning of the log
	beforeField   = "before"   // that of the snapshot before; none: the beginning
	keptField     = "kept"     // Snapshot.Kept, ns
	begunField    = "begun"    // the id of the log's first entry
)

// A whole is all that there is of an organization's log.
type whole struct {
	server   string // that answered
	known    uint64 // stream.known
	snapshot store.Snapshot
	entries  []entry  // from that of the snapshot before this on, which includes it
	first    timeline // of the first of entries
	at       int      // index of the snapshot's entry
	clock    timeline // there
	half     bool     // not found: but a part of it was there
}

// Load implements store.Log.
func (l *Log) Load(ctx context.Context, organization string) (store.Snapshot, []store.Entry, error) {
	s, err := l.stream(organization, l.monotonic())
	if err != nil {
		return store.Snapshot{}, nil, err
	}
	w, err := l.whole(ctx, s)
	if err != nil {
		return store.Snapshot{}, nil, err
	}
	_, now := l.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	s.server, s.known = w.server, w.known
	s.note(&w.clock)
	s.hold(w.entries[w.at].hold, now)
	return w.snapshot, s.read(w.clock, w.entries[w.at+1:], now, nil), nil
}

// whole reads all that there is; with ErrNotFound, who said so.
func (l *Log) whole(ctx context.Context, s *stream) (*whole, error) {
	replies, server, known, err := l.ask(ctx, longTimeouts*l.timeout, "load", [][]any{
		{"hmget", s.keys.snapshot, stateField, atField, timelineField, beforeField, keptField, begunField},
		{"xrange", s.keys.log, "-", "+"},
		{"get", s.keys.marker},
	})
	if err != nil {
		return nil, err
	}
	marker, _ := replies[2].(string)
	l.markers.see(s.keys.marker, marker, server, l.monotonic())
	fields, _ := replies[0].([]any)
	if len(fields) != 6 {
		return nil, errors.New("redis: load: it answers something else")
	}
	text := func(i int) string { t, _ := fields[i].(string); return t }
	w := &whole{server: server, known: known}
	if w.entries, err = entriesOf(replies[1]); err != nil {
		return nil, err
	}
	w.half = len(w.entries) > 0 || text(1) != ""
	if len(w.entries) == 0 || text(1) == "" {
		return w, store.ErrNotFound
	}
	err = w.assemble(text(0), text(1), text(2), text(3), text(4))
	w.snapshot.History = historyOf(text(5), server)
	return w, err
}

// assemble puts together what the fields and the entries say.
func (w *whole) assemble(state, at, clock, before, kept string) error {
	place, err := parseID(at)
	if err != nil {
		return fmt.Errorf("redis: read a snapshot: %w", err)
	}
	for w.at = 0; w.at < len(w.entries) && w.entries[w.at].Compare(place) != 0; {
		w.at++
	}
	if w.at == len(w.entries) {
		return store.ErrNotFound // the entries that follow it may be gone as well
	}
	switch first := &w.entries[0]; {
	case first.Incarnation == 0:
		w.first = begin(first)
	case before != "":
		w.first, err = parseTimeline(before)
	}
	w.clock = w.first
	if w.at > 0 {
		w.clock, err = parseTimeline(clock)
	}
	if err != nil {
		return fmt.Errorf("redis: read a snapshot: %w", err)
	}
	if w.clock.at != w.entries[w.at].Position || w.first.at != w.entries[0].Position {
		return store.ErrNotFound // they are of two histories
	}
	w.snapshot = store.Snapshot{Position: w.clock.at, Time: w.clock.time}
	if state != "" {
		w.snapshot.State = []byte(state)
	} else if w.at == 0 && clock == "" {
		ns, _ := strconv.ParseInt(kept, 10, 64)
		w.snapshot.Kept = max(0, time.Duration(ns))
	}
	return nil
}

// historyOf names a log by its first entry and who has it.
func historyOf(begun, server string) uint64 {
	digest := sha256.Sum256([]byte(begun + "\n" + server))
	return max(1, binary.BigEndian.Uint64(digest[:]))
}

// timeline computes that of a position; false: there is no such entry.
func (w *whole) timeline(at store.Position) (t timeline, ok bool) {
	t = w.first
	for i := range w.entries {
		if i > 0 {
			t.next(&w.entries[i])
		}
		if t.at == at {
			return t, true
		}
	}
	return t, false
}

func brokenIfNone(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return store.ErrBroken
	}
	return err
}
