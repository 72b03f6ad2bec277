package simulation

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A host is a place where a replica runs, with its clocks and its way to Redis.
type host struct {
	world *world
	index int
	route *server       // that it takes for the primary
	cut   bool          // it does not reach Redis
	still time.Duration // it stands still until then
	wall  time.Duration // by which its wall clock is off
	ppm   int64         // by which its monotonic clock is fast

	process *process // nil: none runs
	lives   int
}

func (r *host) String() string { return fmt.Sprintf("r%d", r.index) }

func (r *host) switchTo(s *server) {
	if r.route == s {
		return
	}
	r.world.tell("%s: goes to %s from now on", r, s)
	r.route = s
	if r.process == nil {
		return
	}
	for _, c := range r.process.transport.connections {
		r.world.after(r.world.between(0, 500*time.Millisecond), c.end)
	}
}

// A process is one run of a server, from its start until it is killed.
type process struct {
	world  *world
	host   *host
	life   int
	dead   bool
	origin time.Duration // of the monotonic clock
	tasks  map[*task]uint64

	transport *transport
	waits     []*wait
	node      *node
}

func (p *process) String() string { return fmt.Sprintf("r%d.%d", p.host.index, p.life) }

// clock reads the wall clock, Unix ns, and the monotonic one.
func (p *process) clock() (wall, monotonic int64) {
	now := p.world.now()
	return epoch + int64(now+p.host.wall), int64(p.origin+now) + int64(now)*p.host.ppm/1_000_000
}

// after lets the process do something later, unless it is dead then; while it stands still
// it does nothing.
func (p *process) after(d time.Duration, do func()) {
	w := p.world
	var run func()
	run = func() {
		switch {
		case p.dead:
		case p.host.still > w.now():
			w.at(p.host.still+w.between(0, time.Millisecond), run)
		default:
			do()
		}
	}
	w.after(d, run)
}

// A wait is that of a task for something to be closed.
type wait struct {
	done <-chan struct{}
	wake func(error)
}

// wait lets the running task wait for d, or until done is closed.
func (p *process) wait(_ context.Context, d time.Duration, done <-chan struct{}) {
	if closed(done) || d <= 0 {
		return
	}
	_ = p.world.park(func(wake func(error)) {
		p.after(d, func() { wake(nil) })
		if done != nil {
			p.waits = append(p.waits, &wait{done, wake})
		}
	}) // who is dead need not wait
}

// look wakes those whose wait has ended.
func (p *process) look() {
	p.waits = slices.DeleteFunc(p.waits, func(x *wait) bool {
		if !closed(x.done) {
			return false
		}
		x.wake(nil)
		return true
	})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// start starts the replica's process.
func (r *host) start() {
	r.lives++
	p := &process{world: r.world, host: r, life: r.lives, tasks: map[*task]uint64{}}
	p.origin = r.world.between(0, 1_000_000*time.Second)
	p.transport = &transport{process: p}
	r.process = p
	r.world.tell("%s: starts", p)
	p.serve()
}

// kill ends it, in the midst of whatever it does.
func (r *host) kill() {
	p := r.process
	if p == nil {
		return
	}
	r.world.tell("%s: is killed", p)
	r.process = nil
	p.end()
}

// end lets the tasks of a process run out; nothing that they do has any effect.
func (p *process) end() {
	p.dead = true
	if a := p.transport.attached; a != nil {
		a.listeners = slices.DeleteFunc(a.listeners, func(o *transport) bool { return o == p.transport })
	}
	byAge := func(a, b *task) int { return cmp.Compare(p.tasks[a], p.tasks[b]) }
	for _, t := range slices.SortedFunc(maps.Keys(p.tasks), byAge) {
		if t.wake != nil {
			t.wake(errDead)
		} else {
			p.world.step(t)
		}
	}
	if len(p.tasks) > 0 {
		panic("simulation: a task outlives its process")
	}
}
