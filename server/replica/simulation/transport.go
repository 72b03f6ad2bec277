package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/watermaster-project/watermaster/store/redis"
)

// A transport carries a log's commands to the simulated Redis, as a pool of connections
// does. All of them are to the same server as it was when they were made: where another
// is met, those of before are ended.
type transport struct {
	process     *process
	connections []*connection
	known       uint64 // redis.Transport.Known
	identity    string // of the server that was met last

	listen   func(channel, message string, subscribed bool)
	channels []string
	attached *server // listens to its channels
	run      uint64  // of it then
	since    time.Duration
}

var _ redis.Transport = (*transport)(nil)

type connection struct {
	server   *server
	run      uint64
	identity string
	busy     bool
	ended    bool
	wake     func(error) // who waits for an answer on it
}

func (c *connection) usable() bool { return !c.ended && c.server.up && c.server.run == c.run }

// end closes a connection. What is on its way on it may arrive all the same.
func (c *connection) end() {
	c.ended = true
	if c.wake != nil {
		c.wake(errEnded)
	}
}

// Known implements redis.Transport.
func (t *transport) Known() uint64 { return t.known }

// Do implements redis.Transport.
func (t *transport) Do(_ context.Context, timeout time.Duration, known uint64, commands [][]any) (replies []any, server string, err error) {
	if t.known != known {
		return nil, "", redis.ErrOtherServer
	}
	var c *connection
	err = t.process.world.park(func(wake func(error)) {
		t.process.after(timeout, func() { wake(errTimeout) })
		t.connect(wake, func(made *connection) {
			if t.known != known {
				wake(redis.ErrOtherServer)
				return
			}
			c = made
			c.busy, c.wake = true, wake
			t.send(c, commands, func(r []any, e error) {
				replies = r
				wake(e)
			})
		})
	})
	if c != nil {
		c.busy, c.wake = false, nil
		if errors.Is(err, errTimeout) {
			c.ended = true
		}
		server = c.identity
	}
	if err != nil {
		return nil, "", err
	}
	return replies, server, nil
}

// connect gives a connection to the server that is taken for the primary: one that there
// is, or a new one.
func (t *transport) connect(wake func(error), use func(*connection)) {
	p := t.process
	w := p.world
	keep := t.connections[:0]
	var found *connection
	for _, c := range t.connections {
		if !c.usable() {
			continue
		}
		keep = append(keep, c)
		if !c.busy && (found == nil || w.chance(0.5)) {
			found = c
		}
	}
	clear(t.connections[len(keep):])
	t.connections = keep
	if found != nil && !w.chance(0.01) {
		use(found)
		return
	}
	s := p.host.route
	if p.host.cut || s.stopped > w.now() {
		return
	}
	if !s.up {
		if w.chance(0.7) {
			p.after(w.hop(), func() { wake(errRefused) })
		}
		return
	}
	run := s.run
	p.after(w.hop()+w.hop(), func() {
		if !s.up || s.run != run || p.host.cut {
			return
		}
		if t.meets(s.identity()) {
			wake(redis.ErrOtherServer)
			return
		}
		c := &connection{server: s, run: run, identity: t.identity}
		t.connections = append(t.connections, c)
		use(c)
	})
}

// meets notes who answers on a new connection, and says whether it is another than before.
func (t *transport) meets(identity string) (other bool) {
	before := t.identity
	if identity == before {
		return false
	}
	t.process.world.tell("%s: meets %s", t.process, identity)
	t.known++
	t.identity = identity
	if before == "" {
		return false
	}
	for _, c := range t.connections {
		c.end()
	}
	return true
}

// send carries a transaction there and its replies back, if nothing happens to them.
func (t *transport) send(c *connection, commands [][]any, done func([]any, error)) {
	p := t.process
	w := p.world
	sent := carried(commands)
	d := w.hop()
	ghost := w.chance(w.network.ghost)
	if ghost {
		d += w.between(100*time.Millisecond, 3*time.Second)
		w.tell("%s: a request becomes a ghost and lands after %v", p, d)
	}
	if w.chance(w.network.lostRequest) || p.host.cut {
		return
	}
	var arrive func()
	arrive = func() {
		s := c.server
		switch {
		case !s.up || s.run != c.run || p.host.cut && !ghost:
			return
		case s.stopped > w.now():
			w.at(s.stopped, arrive)
			return
		}
		replies, err := s.transact(sent, c.identity)
		if w.chance(w.network.lostReply) {
			return
		}
		p.after(w.hop(), func() {
			if !p.host.cut && !c.ended {
				done(replies, err)
			}
		})
	}
	w.after(d, arrive)
}

// carried copies what is sent: its sender may use the memory again.
func carried(commands [][]any) [][]any {
	sent := make([][]any, len(commands))
	for i, c := range commands {
		sent[i] = append([]any(nil), c...)
		for k, arg := range c {
			if b, ok := arg.([]byte); ok {
				sent[i][k] = string(b)
			}
		}
	}
	return sent
}

const publishTimeout = 100 * time.Millisecond

// Publish implements redis.Transport.
func (t *transport) Publish(_ context.Context, channel, message string) error {
	return t.process.world.park(func(wake func(error)) {
		t.process.after(publishTimeout, func() { wake(errTimeout) })
		p := t.process
		w, s := p.world, p.host.route
		if !s.up || p.host.cut || s.stopped > w.now() || w.chance(w.network.lostRequest) {
			return
		}
		run := s.run
		w.after(w.hop(), func() {
			if !s.up || s.run != run {
				return
			}
			s.publish(channel, message)
			p.after(w.hop(), func() { wake(nil) })
		})
	})
}

// Close implements redis.Transport.
func (t *transport) Close() error { return nil }
