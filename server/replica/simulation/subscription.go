package simulation

import (
	"slices"
	"time"
)

// Subscribe implements redis.Transport.
func (t *transport) Subscribe(channel string) {
	t.channels = append(t.channels, channel)
	p := t.process
	p.after(p.world.hop()+p.world.hop(), func() {
		if t.attached != nil && slices.Contains(t.channels, channel) {
			t.confirm(channel)
		}
	})
}

// Unsubscribe implements redis.Transport.
func (t *transport) Unsubscribe(channel string) {
	t.channels = slices.DeleteFunc(t.channels, func(c string) bool { return c == channel })
}

// Listen implements redis.Transport.
func (t *transport) Listen(do func(channel, message string, subscribed bool)) {
	t.listen = do
	t.attend()
}

// attend keeps the one connection on which a process listens.
func (t *transport) attend() {
	p := t.process
	w, s := p.world, p.host.route
	if a := t.attached; a != nil && (!a.up || a.run != t.run || a != s || p.host.cut) {
		a.listeners = slices.DeleteFunc(a.listeners, func(o *transport) bool { return o == t })
		t.attached = nil
	}
	if t.attached == nil && s.up && s.stopped <= w.now() && !p.host.cut {
		t.attached, t.run, t.since = s, s.run, w.now()
		s.listeners = append(s.listeners, t)
		for _, channel := range t.channels {
			t.confirm(channel)
		}
	}
	p.after(w.between(150*time.Millisecond, 250*time.Millisecond), t.attend)
}

func (t *transport) confirm(channel string) {
	t.listen(channel, "", true)
	t.process.look()
}

// publish gives a message to all who listen, and says how many they are.
func (s *server) publish(channel, message string) (receivers int64) {
	w := s.world
	for _, t := range s.listeners {
		if !slices.Contains(t.channels, channel) {
			continue
		}
		receivers++
		run := s.run
		t.process.after(w.hop(), func() {
			if t.attached == s && t.run == run && !t.process.host.cut && slices.Contains(t.channels, channel) {
				t.listen(channel, message, false)
				t.process.look()
			}
		})
	}
	return receivers
}

// known says whether a process knows what the log was that is begun on a server: it serves,
// what it knows matters yet, and it has been near and awake for long enough to have told so.
func (w *world) known(s *server) bool {
	for _, h := range w.hosts {
		p := h.process
		if p == nil || h.cut || h.still > w.now()-second || p.transport.attached != s || w.now()-p.transport.since < second {
			continue
		}
		n := p.node
		if n.serving && n.engine != nil && n.replica.Now() < n.engine.Now().Add(hold) {
			return true
		}
	}
	return false
}
