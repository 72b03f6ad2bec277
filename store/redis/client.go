package redis

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// A client is the Transport to real servers.
type client struct {
	redis   goredis.UniversalClient
	timeout time.Duration
	known   atomic.Uint64
	nodes   nodes
	listener
}

// meet makes a connection to each node of a cluster, so that they are known before anybody
// has loaded anything. Those that do not answer are met later.
func (c *client) meet(ctx context.Context) {
	cluster, ok := c.redis.(*goredis.ClusterClient)
	if !ok {
		return
	}
	limited, cancel := context.WithTimeout(ctx, longTimeouts*c.timeout)
	defer cancel()
	_ = cluster.ForEachMaster(limited, func(ctx context.Context, each *goredis.Client) error {
		_ = each.Ping(ctx).Err()
		return nil
	})
}

// Known implements Transport.
func (c *client) Known() uint64 { return c.known.Load() }

// Do implements Transport. Each answer says from whom it is by the connection's name.
func (c *client) Do(ctx context.Context, timeout time.Duration, known uint64, commands [][]any) ([]any, string, error) {
	if c.known.Load() != known {
		return nil, "", ErrOtherServer
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	pipe := c.redis.TxPipeline()
	cmds := make([]*goredis.Cmd, 0, len(commands)+1)
	for i := range len(commands) + 1 {
		args := []any{"client", fence{c, known}}
		if i < len(commands) {
			args = commands[i]
		}
		cmd := goredis.NewCmd(limited, args...)
		cmd.SetFirstKeyPos(keyPosition(args))
		cmds = append(cmds, cmd)
		if err := pipe.Process(limited, cmd); err != nil {
			return nil, "", err
		}
	}
	if _, err := pipe.Exec(limited); err != nil && !errors.Is(err, goredis.Nil) {
		c.moved(ctx, err)
		for _, cmd := range cmds { // the first that says why, not that all were aborted
			if e := cmd.Err(); e != nil && !errors.Is(e, goredis.Nil) && !goredis.IsExecAbortError(e) {
				return nil, "", e
			}
		}
		return nil, "", err
	}
	replies := make([]any, len(cmds))
	for i, cmd := range cmds {
		replies[i] = cmd.Val()
	}
	server, err := identityOf(replies[len(commands)])
	return replies[:len(commands)], server, err
}

// moved looks who has the slots of a cluster where a node could not be reached: another may
// have taken over, and nobody would say so. It does not wait.
func (c *client) moved(ctx context.Context, err error) {
	var said goredis.Error
	if cluster, ok := c.redis.(*goredis.ClusterClient); ok && !errors.As(err, &said) {
		cluster.ReloadState(ctx)
	}
}

// A fence is the last word of a transaction. It is written when there is a connection, and
// not if another server was met until then: that connection may be to it. Of a transaction
// without its end nothing is executed.
type fence struct {
	client *client
	known  uint64
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (f fence) MarshalBinary() ([]byte, error) {
	if f.client.known.Load() != f.known {
		return nil, ErrOtherServer
	}
	return []byte("getname"), nil
}

// keyPosition says which of a command's arguments is its first key, or names its slot as
// one; 0: none.
func keyPosition(args []any) int8 {
	switch args[0] {
	case "client":
		return 0
	case "memory":
		return 2
	case "eval":
		return 3
	}
	return 1
}

// Publish implements Transport.
func (c *client) Publish(ctx context.Context, channel, message string) error {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.redis.Publish(limited, channel, message).Err()
}

// Close implements Transport.
func (c *client) Close() error {
	return errors.Join(c.listener.close(), c.redis.Close())
}

// A listener keeps the one connection that a process listens on.
type listener struct {
	pubsub  *goredis.PubSub
	timeout time.Duration
	closing context.Context // ends with it
	cancel  context.CancelFunc
	done    sync.WaitGroup

	mu    sync.Mutex
	wake  chan struct{} // holds 1: something below has changed
	join  []string      // to be subscribed to
	leave []string
}

func (l *listener) init(r goredis.UniversalClient, timeout time.Duration) {
	l.closing, l.cancel = context.WithCancel(context.Background())
	l.pubsub, l.timeout, l.wake = r.Subscribe(l.closing), timeout, make(chan struct{}, 1)
}

func (l *listener) close() error {
	l.cancel()
	err := l.pubsub.Close()
	l.done.Wait()
	return err
}

// Listen implements Transport.
func (l *listener) Listen(take func(channel, message string, subscribed bool)) {
	l.done.Go(func() { l.subscribing(take) })
}

// Subscribe implements Transport.
func (l *listener) Subscribe(channel string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.join = append(l.join, channel)
	signal(l.wake)
}

// Unsubscribe implements Transport.
func (l *listener) Unsubscribe(channel string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leave = append(l.leave, channel)
	signal(l.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// subscribing keeps the subscriptions as they are wanted. The client makes them again when
// the connection was lost.
func (l *listener) subscribing(take func(channel, message string, subscribed bool)) {
	listening := false
	for {
		select {
		case <-l.wake:
		case <-l.closing.Done():
			return
		}
		l.mu.Lock()
		join, leave := l.join, l.leave
		l.join, l.leave = nil, nil
		l.mu.Unlock()
		limited, cancel := context.WithTimeout(l.closing, l.timeout)
		if len(leave) > 0 {
			_ = l.pubsub.Unsubscribe(limited, leave...) // that it is not wanted is noted all the same
		}
		if len(join) > 0 {
			_ = l.pubsub.Subscribe(limited, join...) // likewise
		}
		cancel()
		if !listening && len(join) > 0 {
			listening = true
			l.done.Go(func() { l.listening(take) })
		}
	}
}

func (l *listener) listening(take func(channel, message string, subscribed bool)) {
	for got := range l.pubsub.ChannelWithSubscriptions(goredis.WithChannelHealthCheckInterval(time.Second)) {
		switch got := got.(type) {
		case *goredis.Subscription:
			if got.Kind == "subscribe" {
				take(got.Channel, "", true)
			}
		case *goredis.Message:
			take(got.Channel, got.Payload, false)
		}
	}
}
