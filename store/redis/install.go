package redis

import (
	"context"
	"fmt"

	"github.com/watermaster-project/watermaster/store"
)

// InstallScript is what Install sends with EVAL. It takes a snapshot that is later than the present one and of an entry that
// the stream holds; the entries up to the present one go.
//
//	KEYS  log, snapshot
//	ARGV  id, place, head of the entry, state, timeline
const InstallScript = `
local old = redis.call('HMGET', KEYS[2], 'at', 'place', 'timeline')
if not old[1] or redis.call('EXISTS', KEYS[1]) == 0 then return 'none' end
if ARGV[2] <= old[2] then return 'stale' end
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found or string.sub(found[2][2], 1, #ARGV[3]) ~= ARGV[3] then return 'stale' end
redis.call('HSET', KEYS[2], 'state', ARGV[4], 'at', ARGV[1], 'place', ARGV[2], 'timeline', ARGV[5], 'before', old[3] or '')
redis.call('HDEL', KEYS[2], 'kept')
redis.call('XTRIM', KEYS[1], 'MINID', old[1])
return 'done'
`

// placeOf writes a place so that it can be compared as text.
func placeOf(p store.Position) string { return fmt.Sprintf("%016x%016x", p.Major, p.Minor) }

// Install implements store.Log.
func (l *Log) Install(ctx context.Context, organization string, snapshot store.Snapshot) error {
	s, err := l.stream(organization, l.monotonic())
	if err != nil {
		return err
	}
	s.mu.Lock()
	t, ok := s.mark(snapshot.Position)
	s.mu.Unlock()
	if !ok {
		w, err := l.whole(ctx, s)
		if err != nil {
			return err
		}
		if t, ok = w.timeline(snapshot.Position); !ok || t.at.Incarnation == 0 {
			return store.ErrStale
		}
	}
	replies, _, _, err := l.ask(ctx, longTimeouts*l.timeout, "install", [][]any{{
		"eval", InstallScript, 2, s.keys.log, s.keys.snapshot,
		id(t.at), placeOf(t.at), appendHead(nil, t.at), snapshot.State, t.append(nil),
	}})
	if err != nil {
		return err
	}
	switch replies[0] {
	case "done":
		return nil
	case "stale":
		return store.ErrStale
	case "none":
		return store.ErrNotFound
	}
	return fmt.Errorf("redis: install: it answers %v", replies[0])
}
