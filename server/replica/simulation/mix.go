package simulation

import "time"

// A mix is a kind of world: which faults happen in it.
type mix struct {
	name   string
	faults func(w *world)
	least  int  // replicas
	keeps  bool // servers are restarted
	loses  bool // what only a process knew that died, or only a server that had been replaced, may be lost
	evicts bool // may end without a snapshot
	splits bool // may go over the quota, see log.md: two servers grant, or two clocks lie at once
	hits   bool // counters are drawn on as well
	margin uint32
}

// halfMargin leaves a part to each replica that fits a call.
const halfMargin = 500_000

const (
	second = time.Second
	milli  = time.Millisecond
)

var mixes = []mix{
	{name: "none", faults: func(*world) {}},
	{name: "lossy", faults: func(w *world) { w.lossy(0.03) }},
	{name: "slow", faults: func(w *world) {
		w.at(w.begin, func() { w.network.slow, w.network.slowBy = 0.5, 90*milli })
		w.at(w.quiet, func() { w.network = calm })
		w.crash(w.when())
	}},
	{name: "wipe", faults: func(w *world) {
		for range 1 + w.random.IntN(2) {
			w.at(w.when(), func() { w.primary.wipe() })
		}
	}},
	{name: "restart", keeps: true, faults: func(w *world) {
		w.at(w.when(), func() { w.primary.restart(pick(w, -1, 0, 3, 10)) })
	}},
	{name: "stop", faults: func(w *world) { w.stop(w.when()) }},
	{name: "failover", faults: func(w *world) {
		w.at(w.when(), func() { w.failover(150*milli, false) })
	}},
	{name: "lateswitch", faults: func(w *world) {
		w.at(w.when(), func() { w.failover(w.between(500*milli, 2*second), false) })
	}},
	{name: "failback", faults: func(w *world) {
		w.at(w.between(w.begin, w.begin+2500*milli), func() { w.failover(150*milli, false) })
		w.at(w.between(w.quiet-2500*milli, w.quiet-500*milli), func() { w.failover(150*milli, false) })
	}},
	{name: "burstfail", faults: func(w *world) { w.bursts(func() { w.failover(100*milli, false) }) }},
	{name: "burstlate", faults: func(w *world) { w.bursts(func() { w.failover(w.between(0, 1500*milli), false) }) }},
	{name: "burstwipe", faults: func(w *world) { w.bursts(func() { w.primary.wipe() }) }},
	{name: "burstback", faults: func(w *world) {
		w.at(w.begin, func() { w.failover(50*milli, false) })
		w.at(w.begin+3*second, func() { w.primary.lag = w.between(300*milli, 900*milli) })
		w.workers.homing, w.workers.homeUntil = true, time.Hour
		w.at(w.begin+1500*milli, func() { w.workers.pausing = w.begin + 4*second })
		w.burst(w.begin+4*second, func() { w.failover(100*milli, false) })
	}},
	{name: "clockR", faults: (*world).redisClock},
	{name: "clockW", faults: (*world).wallClock},
	{name: "clockjoin", loses: true, faults: func(w *world) {
		if w.chance(0.5) {
			w.redisClock()
		} else {
			w.wallClock()
		}
		w.crash(w.when())
		w.crash(w.when())
	}},
	{name: "clockfail", faults: func(w *world) {
		w.at(w.begin/2, func() {
			for _, s := range w.servers {
				if s != w.primary {
					s.setClock(s.nanos()+int64(pick(w, time.Hour, -time.Hour, w.between(-2*second, 2*second))), 1)
				}
			}
		})
		w.at(w.when(), func() { w.failover(150*milli, false) })
		w.lossy(0.03)
	}},
	{name: "joins", faults: func(w *world) {
		w.crash(w.when())
		w.crash(w.when())
	}},
	{name: "pause", faults: func(w *world) {
		w.pause(w.when())
		w.pause(w.when())
	}},
	{name: "stutter", faults: func(w *world) { // answers come late
		w.at(w.begin, func() { w.network.stall = 0.02 })
		w.at(w.quiet, func() { w.network = calm })
	}},
	{name: "partition", faults: func(w *world) {
		w.cut(w.when(), w.somebody(), w.between(200*milli, 5*second))
	}},
	{name: "marginpart", least: 2, margin: halfMargin, faults: func(w *world) { // one after the other
		t := w.begin
		for _, r := range w.hosts {
			if w.chance(0.8) {
				w.cut(t, r, w.between(second, 5*second))
			}
			t += w.between(0, 2500*milli)
		}
	}},
	{name: "margincrash", margin: halfMargin, loses: true, faults: func(w *world) {
		t := w.between(w.begin, w.begin+second)
		for _, r := range w.hosts {
			w.cut(t, r, w.between(2*second, 5*second))
		}
		w.crash(t + w.between(500*milli, 2*second))
		w.crash(t + w.between(500*milli, 2*second))
	}},
	{name: "clockpause", least: 2, faults: func(w *world) { // joins while the clock stands, and one who knows better comes back
		w.at(w.when(), func() {
			s := w.primary
			s.setClock(s.nanos(), pick(w, 0, 0.5))
			away := w.somebody()
			d := w.between(second, 4*second)
			w.tell("%s: its clock stands or is slow; %s stands still for %v", s, away, d)
			away.still = w.now() + d
			for _, r := range w.hosts {
				if r != away {
					r.kill()
					w.after(w.between(50*milli, d), r.start)
				}
			}
		})
		w.at(w.quiet, func() { w.primary.setClock(w.primary.nanos(), 1) })
	}},
	{name: "clockwipe", least: 2, loses: true, faults: func(w *world) { // who begins the log has another wall clock
		w.at(w.between(w.begin+second, w.quiet-4*second), func() {
			fresh := w.somebody()
			fresh.wall += pick(w, time.Hour, -time.Hour, w.between(-5*second, 5*second))
			fresh.kill()
			for _, r := range w.hosts {
				if r != fresh {
					w.cut(w.now(), r, w.between(second, 3*second))
				}
			}
			w.primary.wipe()
			w.after(w.between(10*milli, 500*milli), fresh.start)
		})
	}},
	{name: "evict", faults: func(w *world) {
		w.at(w.when(), w.evict)
		w.crash(w.when())
	}, loses: true, evicts: true},
	{name: "wipefresh", loses: true, faults: func(w *world) {
		t := w.when()
		w.crash(t - w.between(100*milli, 2*second))
		w.at(t, func() { w.primary.wipe() })
	}},
	{name: "wipepart", least: 2, faults: func(w *world) {
		t := w.when()
		w.cut(t-w.between(0, second), w.somebody(), w.between(second, 3*second))
		w.at(t, func() { w.primary.wipe() })
	}},
	{name: "wipeback", faults: func(w *world) { // its clock goes back: the same ids come once more
		w.lossy(0.15)
		w.at(w.when(), func() {
			s := w.primary
			s.setClock(s.nanos()-int64(w.between(0, 5*second)), 1)
			s.wipe()
		})
	}},
	{name: "idle", faults: func(w *world) {
		w.skip(w.begin+2*second, w.between(hold, 3*hold)) // the keys may expire meanwhile
	}},
	{name: "hits", hits: true, faults: func(w *world) { w.lossy(0.03) }},
	{name: "hitwipe", hits: true, faults: func(w *world) { w.bursts(func() { w.primary.wipe() }) }},
	{name: "hitfail", hits: true, faults: func(w *world) { w.bursts(func() { w.failover(100*milli, false) }) }},
	{name: "hitlate", hits: true, faults: func(w *world) {
		w.at(w.when(), func() { w.failover(w.between(500*milli, 2*second), false) })
	}},
	{name: "hitjoin", hits: true, faults: func(w *world) {
		w.crash(w.when())
		w.pause(w.when())
	}},
	{name: "split", splits: true, loses: true, least: 2, faults: func(w *world) {
		w.at(w.when(), func() { w.failover(w.between(100*milli, 3*second), true) })
	}},
	{name: "combo", splits: true, loses: true, faults: func(w *world) {
		w.lossy(0.03)
		w.redisClock()
		w.wallClock()
		w.crash(w.when())
		w.pause(w.when())
		w.at(w.when(), func() { w.primary.wipe() })
		w.cut(w.when(), w.somebody(), w.between(200*milli, 2*second))
		w.at(w.when(), func() { w.failover(150*milli, false) })
	}},
}

// bursts lets a burst come early, to one replica and with a follower that lags, and
// something happen in it.
func (w *world) bursts(do func()) {
	w.workers.homing, w.workers.homeUntil = true, time.Hour
	w.primary.lag = w.between(300*milli, 900*milli)
	w.burst(w.begin, do)
}

// skip lets nobody come from a time on, and all that is to happen later happen later.
func (w *world) skip(from, d time.Duration) {
	w.quiet += d
	w.end += d
	w.workers.until += d
	w.at(from, func() { w.workers.pausing = from + d })
}
