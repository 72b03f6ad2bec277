package redis

import (
	"context"
	"errors"
	"sync"

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

// Nudged implements store.Nudger. With Options.OnNudge nothing comes.
func (l *Log) Nudged() <-chan string { return l.nudges.out }

// publish tells the other processes something.
func (l *Log) publish(ctx context.Context, s *stream, m *message) error {
	m.sender = l.nudges.self
	return l.failure(ctx, "publish", l.transport.Publish(ctx, s.keys.channel, m.String()))
}

// announce tells everybody something of its own accord. Nobody waits for it.
func (l *Log) announce(s *stream, kind string) {
	l.spawn(func() {
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

// nudges takes what comes over the channels of the streams, and keeps those organizations
// that somebody has to read until they are asked for.
type nudges struct {
	self uint64
	log  *Log
	out  chan string
	tell func(organization string) // instead of out; nil: out

	order sync.Mutex // of subscriptions: the transport is told as it was decided

	mu       sync.Mutex
	channels map[string]*stream // that are wanted
	waiting  []string           // organizations to be read
	queued   map[string]bool    // those in waiting
	ready    chan struct{}      // holds 1: waiting has grown
}

func newNudges(l *Log, tell func(organization string)) *nudges {
	return &nudges{
		self: l.random(), log: l, out: make(chan string), tell: tell,
		channels: map[string]*stream{}, queued: map[string]bool{}, ready: make(chan struct{}, 1),
	}
}

// begin begins to listen.
func (n *nudges) begin() {
	n.log.transport.Listen(n.listened)
	if n.tell == nil {
		n.log.spawn(n.giving)
	}
}

// close is for when nothing is given any more.
func (n *nudges) close() {
	if n.tell != nil {
		close(n.out)
	}
}

// subscribe listens to what is said about an organization.
func (n *nudges) subscribe(s *stream) {
	n.order.Lock()
	defer n.order.Unlock()
	n.mu.Lock()
	n.channels[s.keys.channel] = s
	n.mu.Unlock()
	n.log.transport.Subscribe(s.keys.channel)
}

func (n *nudges) unsubscribe(s *stream) {
	n.order.Lock()
	defer n.order.Unlock()
	n.mu.Lock()
	ours := n.channels[s.keys.channel] == s
	if ours {
		delete(n.channels, s.keys.channel)
	}
	n.mu.Unlock()
	if ours {
		n.log.transport.Unsubscribe(s.keys.channel)
	}
}

// listened takes what comes. Some may have been lost where the connection was.
func (n *nudges) listened(channel, text string, subscribed bool) {
	n.mu.Lock()
	s := n.channels[channel]
	n.mu.Unlock()
	if s == nil {
		return
	}
	if subscribed {
		if s.contest.hear() {
			n.add(s.organization)
		}
		return
	}
	m, ok := parseMessage(text)
	switch {
	case !ok:
	case m.sender != n.self:
		n.take(s, &m)
	case m.kind == missingMessage:
		s.contest.echoed()
	}
}

func (n *nudges) take(s *stream, m *message) {
	s.contest.take(m)
	ours := m.kind != nudgeMessage
	s.mu.Lock()
	s.doubted = s.doubted || m.kind == missingMessage
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
	if n.tell != nil {
		n.tell(organization)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.queued[organization] {
		n.queued[organization] = true
		n.waiting = append(n.waiting, organization)
		signal(n.ready)
	}
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
	if len(n.waiting) == 0 {
		return "", false
	}
	first := n.waiting[0]
	n.waiting = n.waiting[1:]
	delete(n.queued, first)
	return first, true
}
