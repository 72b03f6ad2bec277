package limiter

// The queue of a pool is start-time fair queuing on two levels. Each class is a lane
// with a virtual time; in it each project with waiters is a flow with a tag. Serving a
// call adds its work, divided by the weight, to the tag of the flow and to the virtual
// time of the lane; the least is served next. Who becomes active is lifted to where the
// others are: idle time banks nothing.
//
// Work is the time of the pool that a call takes (rule.work), so that tokens, requests
// and pools of different quotas compare.

// A pool is a set of models that share one set of limits at a provider.
type pool struct {
	PoolSpec
	index  int
	limits []*limit // by metric
	gates  []gate
	lanes  []lane // by class: the heaviest first

	served  int64 // the virtual time at which the latest grant began
	waiting int   // places in all lanes
	nextAt  Time  // when a head that is stopped may fit; Never: when something is released
	dirty   bool  // something was released: look again
	parked  flowHeap
	spare   []*flow // dropped flows, to be used again
}

// A lane is one class in the queue of one pool.
type lane struct {
	virtual int64 // never falls
	served  int64 // the tag at which the latest grant in this lane began; never falls
	ready   flowHeap
	idle    flowHeap // flows without waiters whose tag is still above served
	waiting int      // places, parked ones included
	work    int64    // of all that wait
	stop    stop     // what stopped the head when it was last looked at
}

// A flow is one project in one lane.
type flow struct {
	pool    *pool
	project *project
	class   uint8
	state   flowState
	pos     int32 // in the heap of its state
	tag     int64 // where its next call begins
	finish  int64 // ready: where its head would end, tag + work/weight
	wake    Time  // when parked
	first   *place
	last    *place
	count   int     // places
	ahead   []int64 // by limit of the pool: what its places charge that stand here only, and whose callers are there
}

type flowState uint8

const (
	flowNone flowState = iota
	flowReady
	flowIdle
	flowParked // its head is stopped by a limit of the project's own
)

// A place is where a waiter stands in one pool's queue.
type place struct {
	ticket     *ticket
	flow       *flow
	prev, next *place
	skipped    bool // its turn came while its caller was away; not in the list
	only       bool // no other pool may serve the waiter
	rank       uint8
	model      string
	work       int64
	variance   int64 // of pooled charges
	charges    []Charge
}

// A class is a ClassSpec with its bound and count of waiters.
type class struct {
	ClassSpec
	waiting int
}

// activate lifts a lane that had nothing to serve to where the others are.
func (p *pool) activate(l *lane) {
	floor, found := int64(0), false
	for i := range p.lanes {
		o := &p.lanes[i]
		if o != l && o.ready.len() > 0 && (!found || o.virtual < floor) {
			floor, found = o.virtual, true
		}
	}
	if !found {
		floor = p.served
	}
	l.virtual = max(l.virtual, floor)
}

// ready puts a flow that has waiters where the pump finds it.
func (p *pool) ready(f *flow) {
	l := &p.lanes[f.class]
	switch f.state {
	case flowReady:
		return
	case flowIdle:
		l.idle.remove(f)
	case flowParked:
		p.parked.remove(f)
	}
	if l.ready.len() == 0 {
		p.activate(l)
	}
	f.tag = max(f.tag, l.served)
	f.state = flowReady
	f.finishAt()
	l.ready.push(f)
}

// finishAt finds where the head of a flow would end. Of flows that begin together the
// one with the smaller head goes first: a large call at the head of one project does not
// keep the small ones of others waiting.
func (f *flow) finishAt() {
	f.finish = f.tag
	if f.first != nil {
		f.finish = min(maxSpan, f.tag+share(f.first.work, f.project.weight))
	}
}

// reorder puts a ready flow where its head belongs now.
func (f *flow) reorder() {
	if f.state == flowReady && f.first != nil {
		f.finishAt()
		f.pool.lanes[f.class].ready.fix(f)
	}
}

// share is what work adds to a tag.
func share(work, weight int64) int64 { return max(1, mulDiv(work, virtualScale, weight)) }

// park takes a flow out until its own limits may let it go.
func (p *pool) park(f *flow, wake Time) {
	p.lanes[f.class].ready.remove(f)
	f.state, f.wake = flowParked, wake
	p.parked.push(f)
}

// rest takes a flow whose list is empty out of the queue. Its tag is kept while it is
// ahead of the others; after that nothing distinguishes it from a new flow.
func (p *pool) rest(f *flow) {
	l := &p.lanes[f.class]
	switch f.state {
	case flowReady:
		l.ready.remove(f)
	case flowParked:
		p.parked.remove(f)
	case flowIdle:
		l.idle.remove(f)
	}
	f.state = flowNone
	switch {
	case f.count > 0: // skipped places, whose callers may come back
	case f.tag > l.served:
		f.state = flowIdle
		l.idle.push(f)
	default:
		p.drop(f)
	}
}

// drop forgets a flow that is in no heap and has no places.
func (p *pool) drop(f *flow) {
	f.project.flows[p.flowIndex(f.class)] = nil
	f.project = nil
	p.spare = append(p.spare, f)
}

// forgetIdle drops the flows that are no longer ahead of their lane.
func (p *pool) forgetIdle(l *lane) {
	for f := l.idle.top(); f != nil && f.tag <= l.served; f = l.idle.top() {
		l.idle.remove(f)
		f.state = flowNone
		p.drop(f)
	}
}

func (p *pool) flowIndex(class uint8) int { return p.index*len(p.lanes) + int(class) }

// flow finds the flow of a project in a lane, or makes it.
func (p *pool) flow(pr *project, class uint8) *flow {
	i := p.flowIndex(class)
	if f := pr.flows[i]; f != nil {
		return f
	}
	var f *flow
	if n := len(p.spare); n > 0 {
		f, p.spare = p.spare[n-1], p.spare[:n-1]
		clear(f.ahead)
		*f = flow{ahead: f.ahead}
	} else {
		f = &flow{ahead: make([]int64, len(p.limits))}
	}
	f.pool, f.project, f.class = p, pr, class
	pr.flows[i] = f
	return f
}

// moveTag changes the tag of a flow where it stands.
func (p *pool) moveTag(f *flow, by int64) {
	f.tag = min(f.tag+by, maxSpan)
	l := &p.lanes[f.class]
	switch f.state {
	case flowReady:
		f.reorder()
	case flowIdle:
		l.idle.fix(f)
	}
}

// enqueue puts a place at the end of its flow, and the flow where the pump finds it. A
// parked one stays parked: its head is the same.
func (f *flow) enqueue(pl *place) {
	f.append(pl)
	if f.state != flowParked {
		f.pool.ready(f)
	}
}

func (f *flow) append(pl *place) {
	pl.flow, pl.prev, pl.next = f, f.last, nil
	if f.last == nil {
		f.first = pl
	} else {
		f.last.next = pl
	}
	f.last = pl
	f.count++
	l := &f.pool.lanes[f.class]
	l.waiting++
	l.work += pl.work
	f.pool.waiting++
}

// unlink takes a place out of the list, but not out of the counts.
func (f *flow) unlink(pl *place) {
	if pl.prev == nil {
		f.first = pl.next
		defer f.reorder()
	} else {
		pl.prev.next = pl.next
	}
	if pl.next == nil {
		f.last = pl.prev
	} else {
		pl.next.prev = pl.prev
	}
	pl.prev, pl.next = nil, nil
}

// relink puts back a place that was skipped, by the order of arrival: behind after, if it
// is known to be before it, or nil.
func (f *flow) relink(pl, after *place) {
	pl.skipped = false
	next := f.first
	if after != nil {
		next = after.next
	}
	for next != nil && next.ticket.seq <= pl.ticket.seq {
		after, next = next, next.next
	}
	pl.prev, pl.next = after, next
	if after == nil {
		f.first = pl
	} else {
		after.next = pl
	}
	if next == nil {
		f.last = pl
	} else {
		next.prev = pl
	}
	if after == nil {
		f.pool.ready(f)
		f.reorder()
	}
}

// leave takes a place out of the queue for good.
func (f *flow) leave(pl *place) {
	wasHead := f.first == pl
	if !pl.skipped {
		f.unlink(pl)
	}
	f.count--
	l := &f.pool.lanes[f.class]
	l.waiting--
	l.work -= pl.work
	f.pool.waiting--
	if pl.only && !pl.ticket.absent() {
		f.addAhead(pl, -1)
	}
	if f.first == nil {
		f.pool.rest(f) // f may be dropped: not to be used from here on
	} else if wasHead && f.state == flowParked {
		f.pool.ready(f) // another head, with other needs
	}
}

// settleDown is told when a waiter stands in all queues that it may stand in. What has no
// other way surely charges the limits of this pool before those behind it.
func (t *ticket) settleDown() {
	if places := t.places(); len(places) == 1 {
		pl := places[0]
		pl.only = true
		if !t.absent() {
			pl.flow.addAhead(pl, 1)
		}
	}
}

func (f *flow) addAhead(pl *place, sign int64) {
	c := 0
	for i, l := range f.pool.limits {
		for c < len(pl.charges) && pl.charges[c].Metric < l.Metric {
			c++
		}
		for k := c; k < len(pl.charges) && pl.charges[k].Metric == l.Metric; k++ {
			if pl.charges[k].Flags&ToPool != 0 {
				f.ahead[i] += sign * pl.charges[k].Amount
			}
		}
	}
}

// head gives the first place whose caller is there. Places of callers that are away are
// skipped: they come back in front when the caller does.
func (f *flow) head() *place {
	for f.first != nil {
		pl := f.first
		if !pl.ticket.absent() {
			return pl
		}
		f.unlink(pl)
		pl.skipped = true
	}
	f.pool.rest(f)
	return nil
}
