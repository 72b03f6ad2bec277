package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/alone"
	"github.com/watermaster-project/watermaster/server/metrics"
	"github.com/watermaster-project/watermaster/server/replica"
	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
)

// A node is what a server does for one organization: it keeps the calls that wait, puts
// commands into the log by group commit, and answers when they have been applied.
type node struct {
	process     *process
	log         store.Log
	replica     *replica.Replica // nil: not yet
	incarnation uint64
	leases      uint64
	serving     bool // it has opened the log

	gathering *batch
	flying    *batch // that is being committed
	leading   bool
	reads     bool // somebody has something to tell
	replaying bool // the log is being loaded

	solo   solo
	engine *limiter.Engine
	places map[limiter.Key]*place
	alarm  limiter.Time // when it rings; Never: it is not set
}

// A batch is a replica's, with those who wait for its commands.
type batch struct {
	replica.Batch
	calls []*call                      // by command; nil where nobody waits
	acks  []func()                     // of releases
	hits  map[int]func(*limiter.Event) // by command, who is told of a hit
}

// serve begins to serve.
func (p *process) serve() {
	w := p.world
	p.node = &node{process: p, places: map[limiter.Key]*place{}, incarnation: w.random.Uint64() | 1, alarm: limiter.Never}
	if w.margin > 0 {
		p.node.solo.breaker = alone.NewBreaker(100*milli, w.random.Int64N)
	}
	w.spawn(p, p.node.open)
}

// snapshotEvery is how many bytes of entries call for a snapshot.
const snapshotEvery = 6 << 10

func (n *node) open() {
	p := n.process
	w := p.world
	ctx := context.Background()
	spawn := func(do func()) { w.spawn(p, do) }
	for n.log == nil && !p.dead {
		log, err := redis.Open(ctx, "", redis.Options{
			Transport: p.transport, Clock: p.clock, Wait: p.wait, Go: spawn, Random: w.random.Uint64, OnNudge: n.nudged,
		})
		if err != nil {
			w.tell("%s: open: %v", p, err)
			p.wait(ctx, 50*time.Millisecond, nil)
			continue
		}
		n.log = log
	}
	if p.dead {
		return
	}
	n.replica = replica.New(replica.Options{
		Log: n.log, Organization: organization, Incarnation: n.incarnation, Machine: n,
		Meter:         func() replica.Meter { return meter{p} },
		SnapshotEvery: snapshotEvery, Beside: n.lostAlone, Tries: w.tries,
		Sleep: func(d time.Duration) { p.wait(ctx, d, nil) },
		Clock: func() time.Duration { _, m := p.clock(); return time.Duration(m) },
		Go:    spawn,
	})
	for !p.dead {
		err := n.replica.Open(ctx)
		if err == nil {
			break
		}
		n.failed("open", err)
		p.wait(ctx, 50*time.Millisecond, nil)
	}
	if p.dead {
		return
	}
	w.tell("%s: serves", p)
	n.serving = true
	n.lead(false)
}

// failed tells of an error; a panic of ours ends the world.
func (n *node) failed(what string, err error) {
	var fault *replica.Fault
	if errors.As(err, &fault) && !n.process.dead {
		panic(fault.Error() + "\n" + string(fault.Stack))
	}
	n.process.world.tell("%s: %s: %v", n.process, what, err)
}

// nudged reads what others have appended.
func (n *node) nudged(string) {
	if n.serving {
		n.lead(true)
	}
}

// submit adds a command to the batch that gathers.
func (n *node) submit(cmd limiter.Command, c *call, ack func()) {
	if n.solo.away {
		if c, ok := cmd.(*limiter.Cancel); ok {
			n.solo.owing = append(n.solo.owing, *c)
		}
		return
	}
	if n.gathering == nil {
		n.gathering = &batch{}
	}
	b := n.gathering
	b.Add(cmd)
	b.calls = append(b.calls, c)
	if ack != nil {
		b.acks = append(b.acks, ack)
	}
	n.lead(false)
}

// lead commits what gathers, or only reads.
func (n *node) lead(read bool) {
	n.reads = n.reads || read
	if n.leading || !n.serving || n.solo.away || n.gathering == nil && !n.reads {
		return
	}
	n.leading = true
	n.process.world.spawn(n.process, n.commit)
}

func (n *node) commit() {
	p := n.process
	ctx := context.Background()
	for !p.dead && (n.gathering != nil || n.reads) {
		n.reads = false
		b, began := n.gathering, p.world.instant()
		if b == nil {
			if err := n.replica.Read(ctx); err != nil {
				n.failed("read", err)
				n.unreached(began, nil)
			}
		} else {
			n.gathering, n.flying = nil, b
			err := n.replica.Commit(ctx, &b.Batch)
			n.flying = nil
			switch {
			case err == nil && n.solo.breaker != nil:
				n.solo.breaker.Succeeded()
			case err != nil:
				n.failed("commit", err)
				if !n.unreached(began, b) {
					n.fail(b)
				}
			}
		}
		if n.solo.away {
			break
		}
	}
	n.leading = false
}

// arm sets the alarm for when a Tick is to be committed, if it is not set for an earlier
// time.
func (n *node) arm() {
	next := n.replica.NextAt()
	if next >= n.alarm {
		return
	}
	n.alarm = next
	n.process.after(max(next.Sub(n.replica.Now()), time.Millisecond), func() {
		if n.alarm == next {
			n.ring()
		}
	})
}

// ring lets time pass, if that changes anything.
func (n *node) ring() {
	n.alarm = limiter.Never
	if n.replica.NextAt() <= n.replica.Now() {
		n.submit(&limiter.Tick{}, nil, nil)
	} else {
		n.arm()
	}
}

// meter tells the story of what is measured.
type meter struct{ process *process }

func (m meter) Committed(int, metrics.Time, metrics.Time) {}
func (m meter) Read(metrics.Time, metrics.Time)           {}
func (m meter) Uncounted(int)                             {}
func (m meter) Failed()                                   {}
func (m meter) Broke(cause string) {
	m.process.world.breaks++
	m.process.world.tell("%s: the log breaks: %s", m.process, cause)
}

func (m meter) Restored(leases int) {
	m.process.world.tell("%s: has restored %d leases", m.process, leases)
}

func (m meter) RollCall(length time.Duration) {
	m.process.world.tell("%s: a roll call is over after %v", m.process, length)
}
