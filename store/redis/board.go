package redis

import (
	"context"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

// Show implements store.Board: a hash, replaced at once, so that a reader has the rows of
// one call. It expires when the log may; while this process appends, with the log.
func (l *Log) Show(ctx context.Context, organization string, rows map[string]string) error {
	now := l.monotonic()
	s, err := l.stream(organization, now)
	if err != nil {
		return err
	}
	set := []any{"hset", s.keys.board}
	names := make([]string, 0, len(rows))
	for name := range rows {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		set = append(set, name, rows[name])
	}
	commands := [][]any{{"del", s.keys.board}}
	s.mu.Lock()
	s.shown = len(rows) > 0
	ttl := createdHold + grace
	switch {
	case s.kept == forever:
		ttl = 0
	case s.kept > now:
		ttl = time.Duration(s.kept-now) + grace
	}
	s.mu.Unlock()
	if len(rows) > 0 {
		commands = append(commands, set)
		if ttl > 0 {
			commands = append(commands, []any{"pexpire", s.keys.board, ttl.Milliseconds()})
		}
	}
	_, _, _, err = l.ask(ctx, l.timeout, "show", commands)
	return err
}

// Size implements store.Gauge. It costs Redis about as much as an Append, whatever the
// size: LogBytes is what MEMORY USAGE estimates from a few samples.
func (l *Log) Size(ctx context.Context, organization string) (store.Size, error) {
	s, err := l.stream(organization, l.monotonic())
	if err != nil {
		return store.Size{}, err
	}
	replies, _, _, err := l.ask(ctx, l.timeout, "size", [][]any{
		{"xlen", s.keys.log},
		{"memory", "usage", s.keys.log},
		{"hstrlen", s.keys.snapshot, stateField},
		{"xrevrange", s.keys.log, "+", "-", "count", 1},
	})
	if err != nil {
		return store.Size{}, err
	}
	number := func(i int) int64 { n, _ := replies[i].(int64); return n }
	size := store.Size{Entries: number(0), LogBytes: number(1), SnapshotBytes: number(2)}
	last, err := entriesOf(replies[3])
	if err != nil {
		return store.Size{}, err
	}
	if len(last) == 0 {
		return store.Size{}, store.ErrNotFound
	}
	size.Last = last[0].Position
	return size, nil
}
