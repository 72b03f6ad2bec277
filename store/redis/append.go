package redis

import (
	"context"
	"errors"
	"fmt"

	"github.com/watermaster-project/watermaster/store"
)

// Append implements store.Log.
func (l *Log) Append(ctx context.Context, organization string, after store.Position, batch store.Batch, entries []store.Entry) ([]store.Entry, error) {
	_, now := l.clock()
	s, err := l.stream(organization, now)
	if err != nil {
		return entries, err
	}
	if after == (store.Position{}) {
		return entries, store.ErrBroken
	}
	var commands [][]any
	refreshed := func() {}
	if batch.Number != 0 {
		value := appendEntry(make([]byte, 0, entryLen+len(batch.Payload)), &entry{
			Position: store.Position{Incarnation: batch.Incarnation, Number: batch.Number},
			claim:    batch.Claim, join: batch.Join, hold: max(0, batch.Hold),
		})
		value = append(value, batch.Payload...)
		commands = append(commands, []any{"xadd", s.keys.log, "nomkstream", "*", entryField, value})
	}
	commands = append(commands, []any{"xrange", s.keys.log, id(after), "+"})
	s.mu.Lock()
	known := s.known
	if batch.Number != 0 {
		s.clock.sending(&batch, now)
		s.incarnations[batch.Incarnation] = true
		var more [][]any
		more, refreshed = s.expiry(batch.Hold, now)
		commands = append(commands, more...)
	}
	doubted := s.doubted
	if doubted {
		commands = append(commands, []any{"exists", s.keys.snapshot})
	}
	s.mu.Unlock()

	replies, server, err := l.transport.Do(ctx, l.timeout, known, commands)
	met := err != nil && l.transport.Known() != known && ended(ctx) == nil // and so connections were ended
	if errors.Is(err, ErrOtherServer) || met && l.closing.Err() == nil {
		l.broke(s, true)
		return entries, store.ErrBroken
	}
	if err == nil && len(replies) != len(commands) {
		err = fmt.Errorf("%d answers to %d commands", len(replies), len(commands))
	}
	if err != nil {
		return entries, l.failure(ctx, "append", err)
	}
	appended := true
	if batch.Number != 0 {
		appended = replies[0] != nil
		replies = replies[1:]
	}
	read, err := entriesOf(replies[0])
	if err != nil {
		return entries, err
	}
	_, now = l.clock()

	s.mu.Lock()
	changed := s.from(server)
	broken := changed || !appended || len(read) == 0 || read[0].Position != after
	if doubted {
		broken = broken || replies[len(replies)-1] == int64(0)
		s.doubted = s.doubted && broken
	}
	t, ok := s.mark(after)
	if !broken && ok {
		refreshed()
		entries = s.read(t, read[1:], now, entries)
	}
	s.mu.Unlock()
	if broken {
		l.broke(s, changed)
		return entries, store.ErrBroken
	}
	if !ok {
		if entries, err = l.appendFrom(ctx, s, read, entries); err != nil {
			return entries, err
		}
	}
	if batch.Join {
		l.announce(s, joinedMessage)
	}
	return entries, nil
}

// appendFrom is the end of an Append after a position whose timeline is not known: one
// that this process was at some time ago. It is computed anew from a snapshot.
func (l *Log) appendFrom(ctx context.Context, s *stream, read []entry, entries []store.Entry) ([]store.Entry, error) {
	whole, err := l.whole(ctx, s)
	if err != nil {
		return entries, brokenIfNone(err)
	}
	t, ok := whole.timeline(read[0].Position)
	_, now := l.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from(whole.server) || s.known != whole.known || !ok {
		return entries, store.ErrBroken
	}
	return s.read(t, read[1:], now, entries), nil
}
