package simulation

import (
	"errors"
	"fmt"
	"time"
)

// What a client is told by the server's side.
var (
	errReadOnly = errors.New("this server is a replica and takes no writes")
	errRefused  = errors.New("connection refused")
	errTimeout  = errors.New("i/o timeout")
	errEnded    = errors.New("use of closed network connection")
)

// A server is a Redis server.
type server struct {
	world            *world
	name             string
	run, replication uint64 // its identity: since it was started, and promoted
	up, primary      bool
	stopped          time.Duration // until then it does not run
	keys             keyspace

	// Its clock shows base at since, and goes at a rate.
	base  int64 // Unix ns
	since time.Duration
	rate  float64

	follower *server
	link     int // counts followers
	lag      time.Duration
	sent     time.Duration // when the follower has what was sent last
	group    []effect      // of the transaction under way

	// The append-only file, of worlds in which servers are restarted.
	keeps   bool
	journal [][]effect

	listeners []*transport
}

func (w *world) newServer(name string) *server {
	s := &server{world: w, name: name, run: w.count(), replication: w.count(), up: true, keys: keyspace{}}
	s.setClock(epoch+int64(w.now()+w.between(-20*time.Millisecond, 20*time.Millisecond)), 1)
	w.servers = append(w.servers, s)
	return s
}

func (s *server) String() string { return "redis " + s.name }

// identity is what a connection made now knows the server by.
func (s *server) identity() string { return fmt.Sprintf("%s-%d-%d", s.name, s.run, s.replication) }

func (s *server) setClock(base int64, rate float64) {
	s.base, s.since, s.rate = base, s.world.now(), rate
}

// nanos is the server's clock, Unix ns.
func (s *server) nanos() int64 { return s.base + int64(float64(s.world.now()-s.since)*s.rate) }

// clock is the same in ms.
func (s *server) clock() int64 { return s.nanos() / int64(time.Millisecond) }

// do changes the server's data.
func (s *server) do(e effect) {
	s.keys.obey(&e)
	if s.follower != nil || s.keeps {
		s.group = append(s.group, e)
	}
}

// replicate sends what a transaction has changed to the follower and the file.
func (s *server) replicate() {
	if len(s.group) == 0 {
		return
	}
	group := s.group
	s.group = nil
	if s.keeps {
		s.journal = append(s.journal, group)
	}
	f, link := s.follower, s.link
	if f == nil {
		return
	}
	s.sent = max(s.sent, s.world.now()+s.lag)
	s.world.at(s.sent, func() {
		if s.follower != f || s.link != link || !f.up {
			return
		}
		for i := range group {
			f.keys.obey(&group[i])
		}
		if f.keeps {
			f.journal = append(f.journal, group)
		}
	})
}

// follow makes a server the follower of this one, with all its data.
func (s *server) follow(f *server) {
	w := s.world
	s.follower = f
	s.link++
	s.lag = w.between(0, 30*time.Millisecond)
	if w.chance(0.4) {
		s.lag = w.between(30*time.Millisecond, time.Second)
	}
	f.primary, f.replication = false, s.replication
	f.keys = s.keys.copied()
	f.rewrite()
}

// rewrite begins the append-only file anew.
func (s *server) rewrite() {
	if s.keeps {
		s.journal = nil
		for _, name := range s.keys.names() {
			s.journal = append(s.journal, []effect{{kind: effectPut, key: name, whole: s.keys[name].copied()}})
		}
	}
}

// fails kills the server.
func (s *server) fails() {
	s.up = false
	s.listeners = nil
}

// restart kills the server and starts it again, with all but the last so many transactions;
// lost < 0: with nothing.
func (s *server) restart(lost int) {
	w := s.world
	w.tell("%s restarts; lost %d", s, lost)
	s.fails()
	w.after(w.between(10*time.Millisecond, 800*time.Millisecond), func() {
		s.up = true
		s.run, s.replication = w.count(), w.count()
		journal := s.journal
		if lost < 0 {
			journal = nil
		} else {
			journal = journal[:max(0, len(journal)-lost)]
		}
		s.keys, s.journal = keyspace{}, journal
		for _, group := range journal {
			for i := range group {
				s.keys.obey(&group[i])
			}
		}
	})
}

// failover makes the follower the primary. The replicas hear of it within delay; the
// old primary is dead, or if it lives goes on until all have.
func (w *world) failover(delay time.Duration, lives bool) {
	old := w.primary
	s := old.follower
	if s == nil {
		return
	}
	w.tell("%s takes over from %s, whose lag was %v; it lives on: %v", s, old, old.lag, lives)
	old.follower = nil
	old.link++
	if !lives {
		old.fails()
	}
	s.primary, s.replication = true, w.count()
	w.primary = s
	base := w.between(0, 300*time.Millisecond)
	for _, r := range w.hosts {
		w.after(base+w.between(0, delay), func() { r.switchTo(s) })
	}
	// The old one comes back as a follower, the same process.
	w.after(base+delay+w.between(500*time.Millisecond, 2*time.Second), func() {
		old.up = true
		if !lives {
			old.run = w.count()
		}
		if w.primary == s && s.follower == nil {
			s.follow(old)
		}
	})
}

// wipe deletes all data.
func (s *server) wipe() {
	s.world.tell("%s is wiped", s)
	for _, name := range s.keys.names() {
		s.do(effect{kind: effectDelete, key: name})
	}
	s.replicate()
}
