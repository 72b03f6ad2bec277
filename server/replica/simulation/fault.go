package simulation

import "time"

// when gives a time for a fault.
func (w *world) when() time.Duration { return w.between(w.begin, w.quiet-time.Second) }

// somebody gives one of the replicas.
func (w *world) somebody() *host { return w.hosts[w.random.IntN(len(w.hosts))] }

// lossy lets the network lose, delay and repeat until the quiet.
func (w *world) lossy(ghost float64) {
	w.at(w.begin, func() { w.network = network{0.04, 0.04, ghost, 0.1, 40 * time.Millisecond} })
	w.at(w.quiet, func() { w.network = calm })
}

// steps are how far a clock is set.
func (w *world) steps() time.Duration {
	return pick(w, time.Hour, -time.Hour, w.between(-5*time.Second, 5*time.Second), w.between(-5*time.Second, 5*time.Second))
}

// redisClock steps the primary's clock, or changes its rate.
func (w *world) redisClock() {
	w.at(w.when(), func() {
		s := w.primary
		by, rate := w.steps(), pick(w, 1, 1, 0, 2, 0.5)
		if rate != 1 {
			by = 0
		}
		w.tell("%s: its clock steps by %v and goes at rate %v", s, by, rate)
		s.setClock(s.nanos()+int64(by), rate)
	})
	w.at(w.quiet, func() {
		for _, s := range w.servers {
			s.setClock(s.nanos(), 1)
		}
	})
}

// wallClock steps the wall clock of a replica.
func (w *world) wallClock() {
	w.at(w.when(), func() {
		r, by := w.somebody(), w.steps()
		w.tell("%s: its wall clock steps by %v", r, by)
		r.wall += by
	})
}

// crash kills a process, and starts another in its place later.
func (w *world) crash(t time.Duration) {
	w.at(t, func() {
		r := w.somebody()
		if r.process == nil {
			return
		}
		r.kill()
		w.after(w.between(50*time.Millisecond, 3*time.Second), func() {
			if r.process == nil {
				r.start()
			}
		})
	})
}

// cut keeps a replica from Redis for a time.
func (w *world) cut(t time.Duration, r *host, d time.Duration) {
	w.at(t, func() {
		w.tell("%s: does not reach Redis for %v", r, d)
		r.cut = true
	})
	w.at(t+d, func() {
		w.tell("%s: reaches Redis again", r)
		r.cut = false
	})
}

// pause lets a replica stand still for a time.
func (w *world) pause(t time.Duration) {
	w.at(t, func() {
		r, d := w.somebody(), w.between(100*time.Millisecond, 5*time.Second)
		w.tell("%s: stands still for %v", r, d)
		r.still = max(r.still, w.now()+d)
	})
}

// stop lets the primary stand still for a time.
func (w *world) stop(t time.Duration) {
	w.at(t, func() {
		d := w.between(50*time.Millisecond, 3*time.Second)
		w.tell("%s stands still for %v", w.primary, d)
		w.primary.stopped = w.now() + d
	})
}

// evict loses one of the two keys.
func (w *world) evict() {
	s := w.primary
	for _, name := range s.keys.names() {
		if v := s.keys[name]; v.stream != nil == w.chance(0.5) && v.expires != 0 {
			w.tell("%s: %s is evicted", s, name)
			s.do(effect{kind: effectDelete, key: name})
			break
		}
	}
	s.replicate()
}

// burst lets very many jobs come for a while, in whose midst something happens.
func (w *world) burst(t time.Duration, do func()) {
	rate := w.workers.rate
	w.at(t, func() { w.workers.pausing, w.workers.rate = 0, 80 })
	w.at(t+w.between(250*time.Millisecond, 500*time.Millisecond), func() {
		do()
		w.workers.home = w.random.IntN(len(w.hosts))
	})
	w.at(t+w.between(time.Second, 1500*time.Millisecond), func() { w.workers.rate = rate })
}
