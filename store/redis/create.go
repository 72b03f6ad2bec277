package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

// CreateScript is what Create sends with EVAL. It begins a log if there is not all of one: with either key missing nobody
// could load it or append. The first entry's id has a random second part, so that logs
// which begin in the same millisecond do not have the same beginning. It answers the
// marker, or nothing.
//
//	KEYS  log, snapshot, marker
//	ARGV  second part of the id, entry, state, TTL in ms, new marker,
//	      marker that was known ("": none; "lost": something was lost, so there is a new one),
//	      for how long (ns)
const CreateScript = `
local at = redis.call('HGET', KEYS[2], 'at')
if at and #redis.call('XRANGE', KEYS[1], at, at) == 1 then return false end
redis.call('DEL', KEYS[1], KEYS[2])
local now = redis.call('TIME')
local id = string.format('%d%03d-%s', tonumber(now[1]), math.floor(tonumber(now[2]) / 1000), ARGV[1])
redis.call('XADD', KEYS[1], id, 'e', ARGV[2])
local marker, kept = redis.call('GET', KEYS[3]), '0'
if not marker or ARGV[6] == 'lost' then
  marker = ARGV[5]
  redis.call('SET', KEYS[3], marker)
elseif marker == ARGV[6] then
  kept = ARGV[7]
end
redis.call('HSET', KEYS[2], 'state', ARGV[3], 'at', id, 'place', '', 'kept', kept, 'begun', id)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return marker
`

// createdHold is how long a log stays that nobody appends to.
const createdHold = 10 * time.Minute

// settling is for how long Redis must have lost nothing until all who are there have
// subscribed again to what they follow.
const settling = 3 * time.Second

// Create implements store.Log. Whoever has been less far in the log that was lost gives
// others Options.Yield to go first, and so does who knows nothing of it; but not where the
// log has expired of itself, or nobody else follows the organization (which a cluster does
// not tell).
func (l *Log) Create(ctx context.Context, organization string, from store.Snapshot) (err error) {
	for range newServers {
		if err = l.create(ctx, organization, from); !errors.Is(err, ErrOtherServer) {
			return err
		}
	}
	return err
}

// create does what Create does. ErrOtherServer: what was found missing was so elsewhere.
func (l *Log) create(ctx context.Context, organization string, from store.Snapshot) error {
	_, now := l.clock()
	s, err := l.stream(organization, now)
	if err != nil {
		return err
	}
	servers, half, err := l.missing(ctx, s)
	if err != nil {
		return err
	}
	_, age := l.markers.known(s.keys.marker, now)
	s.mu.Lock()
	lost := now < s.kept
	expired := !lost && !half && s.loaded && // its keys expire together
		age >= time.Duration(now-s.readAt)
	s.mu.Unlock()
	// Even a log that has expired by all that is known here may have been somebody's until now:
	// Redis's clock may have stepped.
	if err := l.yield(ctx, s, from.Position, expired || !lost && age >= settling); err != nil {
		return err
	}

	wall, now := l.clock()
	first := entry{claim: store.Claim{Time: store.Time(wall), Wall: wall}, hold: createdHold}
	if len(from.State) > 0 && from.Time > 0 {
		first.claim.Time = from.Time
	}
	known, kept := l.markers.known(s.keys.marker, now)
	if lost {
		known, kept = "lost", 0
	}
	replies, answered, err := l.transport.Do(ctx, longTimeouts*l.timeout, servers, [][]any{{
		"eval", CreateScript, 3, s.keys.log, s.keys.snapshot, s.keys.marker,
		l.random() >> 2, appendEntry(nil, &first), from.State, (createdHold + grace).Milliseconds(), fmt.Sprintf("%016x", l.random()),
		known, int64(kept),
	}})
	if err == nil && len(replies) != 1 {
		err = errors.New("it answers something else")
	}
	if err != nil {
		return l.failure(ctx, "create", err)
	}
	marker, created := replies[0].(string)
	if !created {
		return store.ErrExists
	}
	l.markers.see(s.keys.marker, marker, answered, now)
	s.mu.Lock()
	s.kept, s.loaded = 0, false
	s.mu.Unlock()
	l.announce(s, createdMessage)
	if lost {
		l.logger.Warn("an organization's log was lost, and begins anew", "organization", organization, "with its state", len(from.State) > 0)
	}
	return nil
}

// missing sees that there is no log, and gives what was known of servers then. half: a part
// of it is there.
func (l *Log) missing(ctx context.Context, s *stream) (known uint64, half bool, err error) {
	w, err := l.whole(ctx, s)
	switch {
	case err == nil:
		return 0, false, store.ErrExists
	case errors.Is(err, store.ErrNotFound):
		return w.known, w.half, nil
	}
	return 0, false, err
}
