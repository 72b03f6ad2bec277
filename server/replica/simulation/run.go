package simulation

import (
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/watermaster-project/watermaster/server/replica"
)

// Mixes lists the names of the mixes of faults.
func Mixes() []string {
	names := make([]string, len(mixes))
	for i := range mixes {
		names[i] = mixes[i].name
	}
	return names
}

// Options say how a world is run.
type Options struct {
	Story  io.Writer // takes what happens, line by line; nil: nobody
	Digest bool      // make a digest of the story, even if nobody takes it
}

// Run lets the world of one seed happen, and judges it.
func Run(name string, seed uint64, o Options) Result {
	i := slices.IndexFunc(mixes, func(m mix) bool { return m.name == name })
	if i < 0 {
		panic(fmt.Sprintf("simulation: there is no mix %q", name))
	}
	m := &mixes[i]
	h := fnv.New64a()
	_, _ = io.WriteString(h, name)
	w := &world{random: rand.New(rand.NewPCG(seed, h.Sum64())), network: calm, margin: m.margin} //nolint:gosec // it is to be repeated
	if o.Digest || o.Story != nil {
		w.story = &story{to: o.Story}
	}
	w.furnish(m)
	m.faults(w)
	w.run()
	r := w.judge(m)
	r.Mix, r.Seed = name, seed
	for _, x := range w.hosts {
		x.kill()
	}
	w.release()
	if w.story != nil {
		r.Digest = w.story.digest
	}
	return r
}

// furnish puts everything in its place.
func (w *world) furnish(m *mix) {
	w.tries = pick(w, 1, replica.Tries)
	if w.margin > 0 {
		w.tries = 1
	}
	w.begin, w.quiet = 1500*milli, 9*second
	c := &w.workers
	c.world, c.until = w, 16*second
	w.end = c.until + patience + ttl + 2*second

	p, f := w.newServer("a"), w.newServer("b")
	p.primary, w.primary = true, p
	p.keeps, f.keeps = m.keeps, m.keeps
	p.follow(f)

	n := m.least + w.random.IntN(5-max(1, m.least))
	for i := range max(1, n) {
		r := &host{world: w, index: i, route: p, ppm: int64(w.between(-100, 101)), wall: w.between(-20*milli, 20*milli)}
		w.hosts = append(w.hosts, r)
		w.at(w.between(0, 20*milli), r.start)
	}
	c.rate = pick(w, 8.0, 8.0, 14.0)
	c.homing = w.chance(0.5)
	if w.chance(0.5) { // spells in which nobody comes
		for range 2 {
			w.at(w.between(w.begin, w.quiet-second), func() { c.pausing = max(c.pausing, w.now()+w.between(500*milli, 4*second)) })
		}
	}
	w.at(300*milli, c.come)
	if m.hits {
		w.at(300*milli, w.comeHits)
	}
}
