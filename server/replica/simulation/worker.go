package simulation

import (
	"encoding/binary"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// A crowd is all workers, and how they behave.
type crowd struct {
	world     *world
	rate      float64       // jobs per second
	until     time.Duration // no jobs after it
	pausing   time.Duration // none before it
	homing    bool          // most go to one replica, for some time
	home      int
	homeUntil time.Duration
	jobs      uint64

	used    []use // calls that reached the provider
	refused int
	gaveUp  int
	late    int
	first   time.Duration // grant after the faults; 0: none
	unheard int           // releases that nobody took
}

// A use is a call that reached the provider under a grant.
type use struct {
	lease  limiter.LeaseID
	key    limiter.Key
	at     time.Duration
	pool   string
	tokens int64
	alone  bool
}

// A job is one call that somebody wants to make: it asks until it may go.
type job struct {
	crowd          *crowd
	number         uint64
	attempt        uint64
	project, class string
	pools          []string
	tokens, output int64 // estimates
	usedTokens     int64
	usedOutput     int64
	began          time.Duration
	rpc            int // counts RPCs: an answer to an earlier one is not heard
	sent           time.Duration
	state          jobState
}

type jobState byte

const (
	asking jobState = iota
	granted
	givenUp
)

// come lets jobs come until their time is over.
func (c *crowd) come() {
	w := c.world
	if w.now() > c.until {
		return
	}
	if w.now() < c.pausing {
		w.at(min(c.pausing, w.now()+milli*100), c.come)
		return
	}
	c.add()
	w.after(w.exponential(c.rate), c.come)
}

func (c *crowd) add() {
	w := c.world
	c.jobs++
	j := &job{crowd: c, number: c.jobs, began: w.now()}
	j.project, j.class = pick(w, "red", "blue"), pick(w, "interactive", "batch")
	j.pools = pick(w, []string{mainPool}, []string{mainPool}, []string{sidePool}, poolNames)
	j.tokens, j.output = 5+w.random.Int64N(36), 5+w.random.Int64N(30)
	j.usedTokens, j.usedOutput = j.tokens, j.output
	if w.chance(0.4) {
		j.usedTokens, j.usedOutput = 1+w.random.Int64N(j.tokens), w.random.Int64N(j.output+1)
	}
	j.ask()
}

func (j *job) key() (k limiter.Key) {
	binary.BigEndian.PutUint64(k[:], j.number)
	binary.BigEndian.PutUint64(k[8:], j.attempt)
	return k
}

// choose gives the replica that is asked.
func (c *crowd) choose() *host {
	w := c.world
	if c.homing && !w.chance(0.02) {
		if w.now() > c.homeUntil {
			c.home, c.homeUntil = w.random.IntN(len(w.hosts)), w.now()+w.between(time.Second, 4*time.Second)
		}
		if r := w.hosts[c.home]; r.process != nil && !(r.cut && w.chance(0.5)) {
			return r
		}
	}
	return w.hosts[w.random.IntN(len(w.hosts))]
}

// ask asks a replica, and another later.
func (j *job) ask() {
	c := j.crowd
	w := c.world
	if j.state != asking {
		return
	}
	if w.now()-j.began > patience {
		j.state = givenUp
		c.gaveUp++
		return
	}
	j.rpc++
	rpc := j.rpc
	j.sent = w.now()
	p := c.choose().process
	if p == nil {
		w.after(20*time.Millisecond, func() { j.again(rpc) })
		return
	}
	block := w.between(200*time.Millisecond, 2*time.Second)
	if w.chance(0.1) {
		block = w.between(0, 200*time.Millisecond)
	}
	call := &call{job: j, rpc: rpc, process: p, block: block}
	p.after(w.rpc(), func() { p.node.acquire(call) })
	deadline := block + 300*time.Millisecond
	if w.chance(0.1) {
		deadline = w.between(30*time.Millisecond, 1500*time.Millisecond)
	}
	w.after(deadline, func() {
		if j.state == asking && j.rpc == rpc { // gives this RPC up
			p.after(w.rpc(), func() { p.node.gone(call) })
			j.rpc++
			again := j.rpc
			w.after(w.between(0, 50*time.Millisecond), func() { j.again(again) })
		}
	})
}

func (j *job) again(rpc int) {
	if j.state == asking && j.rpc == rpc {
		j.ask()
	}
}

// told is called with the answer to an RPC.
func (j *job) told(rpc int, a *answer) {
	c := j.crowd
	w := c.world
	if j.state != asking || j.rpc != rpc {
		return
	}
	switch a.kind {
	case answerGrant:
		j.use(a)
	case answerWait:
		j.rpc++
		again := j.rpc
		d := w.between(0, 2*time.Millisecond)
		if w.chance(0.3) {
			d = w.between(0, 300*time.Millisecond)
		}
		w.after(d, func() { j.again(again) })
	case answerError:
		j.rpc++
		again := j.rpc
		w.after(w.between(10*time.Millisecond, 60*time.Millisecond), func() { j.again(again) })
	case answerRefusal:
		j.state = givenUp
		c.refused++
	}
}

// use makes the call, or gives the grant back where it has come too late.
func (j *job) use(a *answer) {
	c := j.crowd
	w := c.world
	deadline := j.sent + a.startWithin
	if w.now() > deadline {
		w.tell("job %d: too late for %v", j.number, a.lease)
		c.late++
		c.release(&limiter.Release{Lease: a.lease, Outcome: limiter.Unsent})
		j.attempt++ // a new request
		j.rpc++
		j.ask()
		return
	}
	j.state = granted
	if c.first == 0 && w.now() > w.quiet {
		c.first = w.now()
	}
	leaves := w.now()
	switch w.random.IntN(5) {
	case 0:
		leaves = deadline
	case 1:
		leaves = w.between(w.now(), deadline+1)
	}
	arrives := leaves + pick(w, 0, realTransit, w.between(0, realTransit))
	ends := j.sent + a.left // of the TTL, at the earliest
	w.at(arrives, func() { j.call(a, ends) })
}

// call is a call at the provider, which ends within the lease's TTL.
func (j *job) call(a *answer, ttlEnds time.Duration) {
	c := j.crowd
	w := c.world
	name := leaseName(a.lease)
	w.provider.count(a.pool, "requests", w.now(), 1, name)
	w.provider.count(a.pool, "tokens", w.now(), j.usedTokens, name)
	w.provider.count(a.pool, "calls", w.now(), 1, name)
	w.tell("job %d: its call arrives in %s under %s, %d tokens", j.number, a.pool, name, j.usedTokens)
	c.used = append(c.used, use{a.lease, j.key(), w.now(), a.pool, j.usedTokens, a.alone})
	ends := w.now() + w.between(50*time.Millisecond, 2*time.Second)
	if w.chance(0.1) {
		ends = ttlEnds
	}
	ends = min(ends, ttlEnds-50*time.Millisecond)
	crashes := w.chance(0.03)
	w.at(ends, func() {
		w.provider.count(a.pool, "calls", w.now(), -1, name)
		if provided[a.pool].output > 0 {
			w.provider.count(a.pool, "output", w.now(), j.usedOutput, name)
		}
		if crashes {
			w.tell("job %d: the worker is gone", j.number)
			return
		}
		c.release(&limiter.Release{Lease: a.lease, Actual: charges(a.pool, j.usedTokens, j.usedOutput)})
	})
	if w.chance(0.3) {
		w.at(w.between(w.now(), ends), func() {
			if p := c.choose().process; p != nil {
				p.after(w.rpc(), func() { p.node.renew(a.lease) })
			}
		})
	}
}

const releaseTries = 15

// release ends a lease, however often it takes.
func (c *crowd) release(r *limiter.Release) {
	w := c.world
	done, tries, began := false, 0, w.now()
	var try func()
	try = func() {
		if done {
			return
		}
		if tries++; tries > releaseTries {
			if began > w.quiet {
				c.unheard++
			}
			return
		}
		if p := c.choose().process; p != nil && !w.chance(w.network.lostRequest) {
			p.after(w.rpc(), func() {
				p.node.release(r, func() {
					w.after(w.rpc(), func() { done = true })
				})
			})
		}
		w.after(w.between(300*time.Millisecond, 600*time.Millisecond), try)
	}
	try()
}
