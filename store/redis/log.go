package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/watermaster-project/watermaster/store"
)

// Log is a store.Log in Redis, as one process sees it.
type Log struct {
	client  goredis.UniversalClient
	cluster bool
	clock   func() (wall, monotonic int64)
	timeout time.Duration
	pause   time.Duration // Options.Yield
	logger  *slog.Logger
	markers markers
	nudges  *nudges

	closing    context.Context // ends with the log
	close      context.CancelFunc
	background sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	streams map[string]*stream
	calls   uint64
}

var (
	_ store.Log    = (*Log)(nil)
	_ store.Nudger = (*Log)(nil)
)

// Open connects to Redis:
//
//	redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]
//	redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],…/MASTER[/DATABASE]
//	redis+cluster://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],…
//
// and the same with rediss for TLS. It fails if Redis cannot be reached, or is not what the
// log needs; ErrUnavailable may be wrapped: it may be reached later, unless ErrSetup is, too.
func Open(ctx context.Context, url string, o Options) (*Log, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	a, err := parseAddress(url)
	if err != nil {
		return nil, err
	}
	logging.Disable() // what goes wrong is returned, and the rest is not for who runs us
	client, err := a.client(&o)
	if err != nil {
		return nil, err
	}
	l := &Log{
		client:  client,
		cluster: a.cluster,
		clock:   o.Clock,
		timeout: o.Timeout,
		pause:   o.Yield,
		logger:  o.Logger,
		markers: markers{seen: map[string]marker{}},
		streams: map[string]*stream{},
	}
	l.closing, l.close = context.WithCancel(context.Background())
	if err := l.greet(ctx); err != nil {
		l.close()
		return nil, errors.Join(a.diagnose(err), client.Close())
	}
	l.nudges = newNudges(l)
	return l, nil
}

// greet sees whether the log can work, and what Redis has kept.
func (l *Log) greet(ctx context.Context) error {
	k := keysOf("", l.cluster)
	replies, server, err := l.do(ctx, longTimeouts*l.timeout, "open", [][]any{{"get", k.marker}})
	if err != nil {
		return err
	}
	marker, _ := replies[0].(string)
	l.markers.see(k.marker, marker, server, l.monotonic())
	return nil
}

// Close implements io.Closer. What Redis has stays.
func (l *Log) Close() error {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return nil
	}
	l.close()
	err := l.nudges.close()
	l.background.Wait()
	if err = errors.Join(err, l.client.Close()); err != nil {
		return fmt.Errorf("redis: close: %w", err)
	}
	return nil
}

func (l *Log) monotonic() int64 {
	_, now := l.clock()
	return now
}

// Now implements store.Log. Before the first join the claim's time is 0. It can go back
// where the process joins again, which is where its own claims no longer count.
func (l *Log) Now(organization string) (store.Claim, bool) {
	wall, now := l.clock()
	s, err := l.stream(organization, now)
	if err != nil {
		return store.Claim{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return store.Claim{Time: s.clock.now(now), Base: s.clock.base, Wall: wall}, s.clock.joined
}

// stream gives what is known of an organization. now is of the monotonic clock.
func (l *Log) stream(organization string, now int64) (*stream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, store.ErrClosed
	}
	if l.calls++; l.calls%sweepEvery == 0 {
		l.sweep(now)
	}
	s := l.streams[organization]
	if s == nil {
		s = &stream{organization: organization, keys: keysOf(organization, l.cluster), incarnations: map[uint64]bool{}}
		s.contest.init()
		l.streams[organization] = s
		l.nudges.subscribe(s)
	}
	s.mu.Lock()
	s.used = now
	s.mu.Unlock()
	return s, nil
}

const (
	sweepEvery = 256 // calls
	sweepSize  = 16  // organizations that are looked at
)

// sweep forgets organizations that nobody asks for.
func (l *Log) sweep(now int64) {
	n := 0
	for organization, s := range l.streams {
		if s.idle(now) {
			delete(l.streams, organization)
			l.nudges.unsubscribe(s)
		}
		if n++; n == sweepSize {
			return
		}
	}
}

// do sends commands in one transaction, once, and gives their replies and who answered.
func (l *Log) do(ctx context.Context, timeout time.Duration, what string, commands [][]any) ([]any, identity, error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	pipe := l.client.TxPipeline()
	cmds := make([]*goredis.Cmd, 0, len(commands)+1)
	for _, args := range append(commands, []any{"client", "getname"}) {
		c := goredis.NewCmd(limited, args...)
		c.SetFirstKeyPos(keyPosition(args))
		cmds = append(cmds, c)
		if err := pipe.Process(limited, c); err != nil {
			return nil, "", l.failure(ctx, what, err)
		}
	}
	if _, err := pipe.Exec(limited); err != nil && !errors.Is(err, goredis.Nil) {
		for _, c := range cmds { // the first that says why, not that all were aborted
			if e := c.Err(); e != nil && !errors.Is(e, goredis.Nil) && !goredis.IsExecAbortError(e) {
				err = e
				break
			}
		}
		return nil, "", l.failure(ctx, what, err)
	}
	replies := make([]any, len(cmds))
	for i, c := range cmds {
		replies[i] = c.Val()
	}
	server, err := identityOf(replies[len(commands)])
	if err != nil {
		return nil, "", l.failure(ctx, what, err)
	}
	return replies[:len(commands)], server, nil
}

// keyPosition says which of a command's arguments is its first key; 0: none.
func keyPosition(args []any) int8 {
	switch args[0] {
	case "client":
		return 0
	case "eval":
		return 3
	}
	return 1
}
