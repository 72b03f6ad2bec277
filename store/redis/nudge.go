package redis

import (
	"context"
	"errors"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/watermaster-project/watermaster/store"
)

// Nudge implements store.Nudger.
func (l *Log) Nudge(ctx context.Context, organization string, incarnations ...uint64) error {
	s, err := l.stream(organization, l.monotonic())
	if err != nil || len(incarnations) == 0 {
		return err
	}
	return l.publish(ctx, s, &message{kind: nudgeMessage, incarnations: incarnations})
}

// Nudged implements store.Nudger.
func (l *Log) Nudged() <-chan string { return l.nudges.out }

// publish tells the other processes something.
func (l *Log) publish(ctx context.Context, s *stream, m *message) error {
	m.sender = l.nudges.self
	limited, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return l.failure(ctx, "publish", l.client.Publish(limited, s.keys.channel, m.String()).Err())
}

// announce tells everybody something of its own accord. Nobody waits for it.
func (l *Log) announce(s *stream, kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.background.Go(func() {
		if err := l.publish(l.closing, s, &message{kind: kind}); err != nil && !errors.Is(err, store.ErrClosed) {
			l.logger.Warn("other processes could not be told", "organization", s.organization, "what", kind, "error", err)
		}
	})
}

// broke notes that the log does not go on.
func (l *Log) broke(s *stream, otherServer bool) {
	s.mu.Lock()
	s.forget()
	s.mu.Unlock()
	l.logger.Warn("an organization's log does not go on from where it was read", "organization", s.organization, "another server answers", otherServer)
	l.announce(s, brokenMessage)
}

// nudges takes messages from the one connection that this process listens on, and keeps
// those organizations that somebody has to read until they are asked for.
type nudges struct {
	self   uint64
	log    *Log
	pubsub *goredis.PubSub
	out    chan string
	done   sync.WaitGroup

	mu       sync.Mutex
	wake     chan struct{}      // holds 1: something below has changed
	channels map[string]*stream // that are wanted
	join     []string           // to be subscribed to
	leave    []string
	waiting  map[string]bool // organizations to be read
	ready    chan struct{}   // holds 1: waiting has grown
}

func newNudges(l *Log) *nudges {
	n := &nudges{
		self:     random(),
		log:      l,
		pubsub:   l.client.Subscribe(l.closing),
		out:      make(chan string),
		wake:     make(chan struct{}, 1),
		channels: map[string]*stream{},
		waiting:  map[string]bool{},
		ready:    make(chan struct{}, 1),
	}
	n.done.Go(n.subscribing)
	n.done.Go(n.giving)
	return n
}

func (n *nudges) close() error {
	err := n.pubsub.Close()
	n.done.Wait()
	return err
}

// subscribe listens to what is said about an organization.
func (n *nudges) subscribe(s *stream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.channels[s.keys.channel] = s
	n.join = append(n.join, s.keys.channel)
	signal(n.wake)
}

func (n *nudges) unsubscribe(s *stream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.channels[s.keys.channel] == s {
		delete(n.channels, s.keys.channel)
		n.leave = append(n.leave, s.keys.channel)
		signal(n.wake)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// subscribing keeps the subscriptions as they are wanted. The client makes them again when
// the connection was lost.
func (n *nudges) subscribing() {
	ctx := n.log.closing
	listening := false
	for {
		select {
		case <-n.wake:
		case <-ctx.Done():
			return
		}
		n.mu.Lock()
		join, leave := n.join, n.leave
		n.join, n.leave = nil, nil
		n.mu.Unlock()
		limited, cancel := context.WithTimeout(ctx, n.log.timeout)
		if len(leave) > 0 {
			_ = n.pubsub.Unsubscribe(limited, leave...) // that it is not wanted is noted all the same
		}
		if len(join) > 0 {
			_ = n.pubsub.Subscribe(limited, join...) // likewise
		}
		cancel()
		if !listening && len(join) > 0 {
			listening = true
			n.done.Go(n.listening)
		}
	}
}

// listening takes what comes. Some may have been lost where the connection was.
func (n *nudges) listening() {
	confirmed := map[string]bool{}
	for got := range n.pubsub.ChannelWithSubscriptions(goredis.WithChannelHealthCheckInterval(time.Second)) {
		switch got := got.(type) {
		case *goredis.Subscription:
			s := n.stream(got.Channel)
			if s == nil || got.Kind != "subscribe" {
				delete(confirmed, got.Channel)
				continue
			}
			s.contest.heard.Do(func() { close(s.contest.confirmed) })
			if confirmed[got.Channel] {
				n.add(s.organization)
			}
			confirmed[got.Channel] = true
		case *goredis.Message:
			m, ok := parseMessage(got.Payload)
			if s := n.stream(got.Channel); ok && s != nil && m.sender != n.self {
				n.take(s, &m)
			}
		}
	}
}

func (n *nudges) stream(channel string) *stream {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.channels[channel]
}

func (n *nudges) take(s *stream, m *message) {
	s.contest.take(m)
	ours := m.kind != nudgeMessage
	s.mu.Lock()
	for _, incarnation := range m.incarnations {
		ours = ours || s.incarnations[incarnation]
	}
	s.mu.Unlock()
	if ours {
		n.add(s.organization)
	}
}

// add notes that an organization's log is to be read.
func (n *nudges) add(organization string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiting[organization] = true
	signal(n.ready)
}

// giving hands out what is to be read, each once however often it was said meanwhile.
func (n *nudges) giving() {
	defer close(n.out)
	ctx := n.log.closing
	for {
		select {
		case <-n.ready:
		case <-ctx.Done():
			return
		}
		for organization, more := n.one(); more; organization, more = n.one() {
			select {
			case n.out <- organization:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (n *nudges) one() (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for organization := range n.waiting {
		delete(n.waiting, organization)
		return organization, true
	}
	return "", false
}
