package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/watermaster-project/watermaster/store"
)

// Log is a store.Log in Redis, as one process sees it.
type Log struct {
	transport Transport
	cluster   bool
	clock     func() (wall, monotonic int64)
	timeout   time.Duration
	pause     time.Duration // Options.Yield
	logger    *slog.Logger
	wait      func(ctx context.Context, d time.Duration, done <-chan struct{})
	goes      func(func()) // nil: background
	random    func() uint64
	markers   markers
	nudges    *nudges

	closing    context.Context // ends with the log
	close      context.CancelFunc
	background sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	streams map[string]*stream
	ring    []*stream // the same; the sweep goes round
	swept   int       // index in ring
	calls   uint64
}

var (
	_ store.Log    = (*Log)(nil)
	_ store.Nudger = (*Log)(nil)
	_ store.Board  = (*Log)(nil)
	_ store.Gauge  = (*Log)(nil)
)

// Open connects to Redis:
//
//	redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]
//	redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],…/MASTER[/DATABASE]
//	redis+cluster://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],…
//
// and the same with rediss for TLS; with Options.Transport the URL says nothing. It fails if
// Redis cannot be reached, or is not what the log needs; ErrUnavailable may be wrapped: it
// may be reached later, unless ErrSetup is, too.
func Open(ctx context.Context, url string, o Options) (*Log, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	transport, cluster, secure := o.Transport, false, false
	if transport == nil {
		a, err := parseAddress(url)
		if err != nil {
			return nil, err
		}
		logging.Disable() // what goes wrong is returned, and the rest is not for who runs us
		c, err := a.connect(&o)
		if err != nil {
			return nil, err
		}
		c.meet(ctx)
		transport, cluster, secure = c, a.cluster, a.tls
	}
	l := &Log{
		transport: transport,
		cluster:   cluster,
		clock:     o.Clock,
		timeout:   o.Timeout,
		pause:     o.Yield,
		logger:    o.Logger,
		wait:      o.Wait,
		goes:      o.Go,
		random:    o.Random,
		markers:   markers{seen: map[string]marker{}},
		streams:   map[string]*stream{},
	}
	l.closing, l.close = context.WithCancel(context.Background())
	if err := l.greet(ctx); err != nil {
		l.close()
		return nil, errors.Join(diagnose(err, secure), transport.Close())
	}
	l.nudges = newNudges(l, o.OnNudge)
	l.nudges.begin()
	return l, nil
}

// greet sees whether the log can work, and what Redis has kept.
func (l *Log) greet(ctx context.Context) error {
	k := keysOf("", l.cluster)
	replies, server, _, err := l.ask(ctx, longTimeouts*l.timeout, "open", [][]any{{"get", k.marker}})
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
	open := l.ring
	l.mu.Unlock()
	if closed {
		return nil
	}
	l.close()
	for _, s := range open {
		s.contest.finish()
	}
	err := l.transport.Close()
	l.background.Wait()
	l.nudges.close()
	if err != nil {
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
	if l.closed {
		l.mu.Unlock()
		return nil, store.ErrClosed
	}
	var idle []*stream
	if l.calls++; l.calls%sweepEvery == 0 {
		idle = l.sweep(now)
	}
	s, begun := l.streams[organization], false
	if s == nil {
		s, begun = newStream(organization, keysOf(organization, l.cluster)), true
		l.streams[organization] = s
		l.ring = append(l.ring, s)
	}
	s.mu.Lock()
	s.used = now
	s.mu.Unlock()
	l.mu.Unlock()

	for _, gone := range idle {
		l.nudges.unsubscribe(gone)
	}
	if begun {
		l.nudges.subscribe(s)
	}
	return s, nil
}

const (
	sweepEvery = 256 // calls
	sweepSize  = 16  // organizations that are looked at
)

// sweep forgets organizations that nobody asks for, and gives them. The caller holds mu.
func (l *Log) sweep(now int64) (idle []*stream) {
	for range min(sweepSize, len(l.ring)) {
		l.swept %= len(l.ring)
		s := l.ring[l.swept]
		if !s.idle(now) {
			l.swept++
			continue
		}
		last := len(l.ring) - 1
		l.ring[l.swept], l.ring[last] = l.ring[last], nil
		l.ring = l.ring[:last]
		delete(l.streams, s.organization)
		idle = append(idle, s)
	}
	return idle
}

// ask sends what does no harm to a server that was not known yet, in one transaction. It
// gives what was known of servers when it was answered.
func (l *Log) ask(ctx context.Context, timeout time.Duration, what string, commands [][]any) (replies []any, server string, known uint64, err error) {
	for range newServers {
		known = l.transport.Known()
		replies, server, err = l.transport.Do(ctx, timeout, known, commands)
		if !errors.Is(err, ErrOtherServer) {
			break
		}
	}
	if err == nil && len(replies) != len(commands) {
		err = fmt.Errorf("%d answers to %d commands", len(replies), len(commands))
	}
	return replies, server, known, l.failure(ctx, what, err)
}

// newServers is how many that were not known may answer in a row.
const newServers = 4

// spawn does something in the background, unless the log is closed.
func (l *Log) spawn(f func()) {
	if l.goes != nil {
		l.goes(f)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.background.Go(f)
	}
}
