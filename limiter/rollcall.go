package limiter

import "time"

// LossPolicy says for whom a roll call waits.
type LossPolicy uint8

const (
	// QuickRollCall waits for the processes that were heard in the last 3 s, at most 5 s.
	QuickRollCall LossPolicy = iota
	// ExactRollCall waits for all that were heard within the longest hold, at most one hold.
	// Limits that are longer than ten minutes do not count: to wait for them would keep all
	// away for too long, and processes are not remembered longer either.
	ExactRollCall
)

var lossPolicies = []string{"quick", "exact"}

// String gives its word in a configuration.
func (p LossPolicy) String() string {
	if int(p) >= len(lossPolicies) {
		return "unknown"
	}
	return lossPolicies[p]
}

const (
	quickRollCall = 5 * time.Second
	// restoresAgain is how long after a roll call another break of the same history is taken
	// for a part of what it was about.
	restoresAgain = 200 * time.Millisecond
)

// A rollCall is the time in which nothing is granted, after entries of the log may have been
// lost: until all that may know more than the log have told it.
type rollCall struct {
	history  uint64 // of the latest Loss
	underWay bool
	telling  bool // the entry that holds the latest Loss goes on: what else it brings comes first
	since    Time // when it began
	until    Time // when it ends, whoever has not come
	ended    Time // when the one before ended; 0: there was none
	missing  int  // processes that have not come
}

// lose begins a roll call, unless this loss is one that is known. Who tells of it has come:
// it restores in the same entry what it knew.
func (e *Engine) lose(c *Loss) {
	r := &e.call
	sender := e.process(e.sender)
	again := r.underWay || r.ended > 0 && e.now < r.ended.Add(restoresAgain)
	r.telling = sender != nil
	if c.History == r.history && (!c.Restores || again) {
		e.come(sender)
		return
	}
	within, most := heardWithin, quickRollCall
	if e.afterLoss == ExactRollCall {
		within = max(within, e.coldHold)
		most = max(most, e.coldHold)
	}
	r.history, r.underWay, r.since, r.until, r.missing = c.History, true, e.now, e.now.Add(most), 0
	for i := range e.processes {
		p := &e.processes[i]
		if p.missing = p != sender && p.heard.Add(within) > e.now; p.missing {
			r.missing++
		}
	}
	e.chainCall()
}

// come takes a process from those that are missing.
func (e *Engine) come(p *process) {
	if p != nil && p.missing {
		p.missing = false
		e.call.missing--
	}
}

// endCall ends the roll call if all have come, or its time is over; then all queues are
// looked at.
func (e *Engine) endCall() {
	r := &e.call
	if (r.missing > 0 || r.telling) && e.now < r.until {
		return
	}
	for i := range e.processes {
		e.processes[i].missing = false
	}
	r.underWay, r.missing, r.ended = false, 0, e.now
	e.chainCall()
	for _, p := range e.pools {
		e.touch(p)
	}
}

// chainCall mixes the roll call into the digest.
func (e *Engine) chainCall() {
	r := &e.call
	e.mix(r.history)
	e.mix(uint64(r.until))
	e.mix(uint64(r.missing))
	e.mix(uint64(e.now))
}

// RollCall tells since when nothing is granted because entries of the log may have been lost,
// and how many processes have not come yet.
func (e *Engine) RollCall() (since Time, missing int, underWay bool) {
	return e.call.since, e.call.missing, e.call.underWay
}

// History names the log as the latest Loss did; 0: there was none.
func (e *Engine) History() uint64 { return e.call.history }

// Missing says whether a roll call waits for a process: it has to restore what it knows and
// the log does not, and to join.
func (e *Engine) Missing(incarnation uint64) bool {
	p := e.process(incarnation)
	return p != nil && p.missing
}

// Behaviour is the version of the decisions that is in force. Where it is later than the
// build's, the build decides otherwise than those that know it: it must stop.
func (e *Engine) Behaviour() uint32 { return e.behaviour }

func (e *Engine) upgrade(c *Upgrade) {
	e.behaviour = max(e.behaviour, c.Behaviour)
	e.mix(uint64(e.behaviour))
}
