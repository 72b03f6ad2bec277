package limiter

import (
	"cmp"
	"slices"
)

// Snapshot appends the whole state: the configuration in force, then what has been
// counted under it. The encoding is canonical: engines in the same state give the same
// bytes.
func (e *Engine) Snapshot(b []byte) []byte {
	e.forgetCounters()
	version := byte(snapshotVersion)
	if len(e.counters) > 0 {
		version = snapshotVersionCounters
	}
	w := &writer{append(b, version)}
	w.uint(uint64(len(e.config)))
	w.b = append(w.b, e.config...)
	w.time(e.now)
	w.uint(e.seq)
	w.fixed(e.digest)
	w.uint(e.projectSeq)
	w.processes(e)
	projects := e.allProjects()
	w.uint(uint64(len(projects)))
	for _, pr := range projects {
		w.string(pr.name)
		w.uint(pr.id)
		w.bool(pr.dynamic)
		w.time(pr.lastUsed)
	}
	limits := e.allLimits(projects)
	refs := make(map[*limit]uint64, len(limits))
	for i, l := range limits {
		refs[l] = uint64(i) + 1
		l.advance(e.now) // whether somebody has looked since must not show
		if l.meter.slots != nil {
			l.meter.turn(e.now, l.meterSpan())
		}
		w.limit(l)
	}
	for _, p := range e.pools {
		w.pool(p)
	}
	for _, pr := range projects {
		w.flows(pr)
	}
	tickets := make([]*ticket, 0, len(e.timers.timers))
	for _, tm := range e.timers.timers {
		tickets = append(tickets, tm.ticket)
	}
	slices.SortFunc(tickets, func(a, b *ticket) int { return cmp.Compare(a.seq, b.seq) })
	w.uint(uint64(len(tickets)))
	for _, t := range tickets {
		w.ticket(e, t, refs)
	}
	if version >= snapshotVersionCounters {
		w.counters(e)
	}
	return w.b
}

// counters writes them by shelf, each in the order in which it stands there.
func (w *writer) counters(e *Engine) {
	w.uint(e.evicted)
	w.uint(uint64(len(e.counters)))
	for _, s := range e.shelves {
		for c := s.oldest; c != nil; c = c.newer {
			c.window.expire(e.now, s.hold())
			w.b = append(w.b, c.id[:]...)
			w.span(s.length)
			w.int(c.ever)
			w.fixed(c.history)
			w.int(c.base)
			w.int(c.told)
			w.window(&c.window)
		}
	}
}

func (r *reader) counters(e *Engine) {
	e.evicted = r.uint()
	for n := r.length(30); n > 0 && !r.bad; n-- {
		id, length := CounterID(r.key()), r.span()
		if e.counters[id] != nil || length < 1 || length > longestWindow {
			r.fail()
			return
		}
		if e.counters == nil {
			e.counters = make(map[CounterID]*counter, n)
		}
		c := &counter{id: id, shelf: e.shelf(length), ever: r.int(), history: r.fixed(), base: r.int(), told: r.int()}
		r.window(&c.window)
		e.counters[id] = c
		c.older = c.shelf.newest // the order is as it was written
		if c.older == nil {
			c.shelf.oldest = c
		} else {
			c.older.newer = c
		}
		c.shelf.newest = c
	}
}

// allProjects lists the named ones by name, then the others in the order of their use.
func (e *Engine) allProjects() (all []*project) {
	for _, name := range sortedKeys(e.projects) {
		if pr := e.projects[name]; !pr.dynamic {
			all = append(all, pr)
		}
	}
	for pr := e.oldest; pr != nil; pr = pr.newer {
		all = append(all, pr)
	}
	return all
}

func (e *Engine) allLimits(projects []*project) (all []*limit) {
	all = append(all, e.limits...)
	for _, p := range e.pools {
		all = append(all, p.limits...)
	}
	for _, pr := range projects {
		all = append(all, pr.limits...)
	}
	return all
}

func (w *writer) window(o *window) {
	w.uint(uint64(o.head))
	w.uint(uint64(o.count))
	for i := uint32(0); i < o.count; i++ {
		en := o.at(o.head + i)
		w.time(en.first)
		w.time(en.last)
		w.int(en.amount)
	}
}

func (w *writer) limit(l *limit) {
	w.window(&l.window)
	w.time(l.bucket.full)
	w.window(&l.bucket.credits)
	w.uint(uint64(l.calendar.number))
	w.time(l.calendar.begins)
	w.time(l.calendar.ends)
	w.int(l.calendar.current)
	w.int(l.calendar.next)
	w.time(l.pacer.clear)
	w.int(l.stock)
	w.int(l.reserved)
	w.int(l.pool.mean)
	w.int(l.pool.variance)
	w.int(l.refundable)
	w.bool(l.meter.slots != nil)
	if l.meter.slots != nil {
		w.int(l.meter.slot)
		for _, s := range l.meter.slots {
			w.int(s)
		}
	}
}

func (w *writer) pool(p *pool) {
	w.int(p.served)
	w.time(p.nextAt)
	w.uint(uint64(len(p.gates)))
	for _, g := range p.gates {
		w.uint(uint64(g.Metric))
		w.bool(g.All)
		w.bool(g.Blocked)
		w.time(g.opens)
		w.time(g.clear)
	}
	for i := range p.lanes {
		w.int(p.lanes[i].virtual)
		w.int(p.lanes[i].served)
	}
}

func (w *writer) flows(pr *project) {
	n := uint64(0)
	for _, f := range pr.flows {
		if f != nil {
			n++
		}
	}
	w.uint(n)
	for i, f := range pr.flows {
		if f != nil {
			w.uint(uint64(i))
			w.b = append(w.b, byte(f.state))
			w.int(f.tag)
			w.time(f.wake)
		}
	}
}

// nobodysPool stands in a snapshot for the pool whose name is empty: an empty name there says
// that the configuration no longer has the pool of a lease.
const nobodysPool = "\x00"

func (w *writer) ticket(e *Engine, t *ticket, refs map[*limit]uint64) {
	w.key(&t.key)
	w.lease(t.lease)
	w.uint(t.seq)
	w.b = append(w.b, byte(t.state), t.class, t.rank)
	w.bool(t.away)
	w.bool(t.shared)
	w.bool(t.keyed)
	w.bool(t.unsent)
	w.string(t.project.name)
	w.time(t.arrived)
	w.time(t.until)
	w.span(t.ttl)
	w.time(e.timers.timers[t.timer].at)
	w.uint(uint64(len(t.places())))
	for _, pl := range t.places() {
		w.uint(uint64(pl.flow.pool.index))
		w.bool(pl.skipped)
		w.b = append(w.b, pl.rank)
		w.string(pl.model)
		w.charges(pl.charges)
	}
	w.time(t.granted)
	if t.pool != nil && t.pool.Name == "" {
		w.string(nobodysPool)
	} else {
		w.string(t.poolName())
	}
	w.string(t.modelName())
	w.int(t.work)
	n := uint64(0)
	for i := range t.holds {
		if !e.table[t.holds[i].limit].dead {
			n++
		}
	}
	w.uint(n)
	for i := range t.holds {
		if h := e.unpack(t, i); !h.limit.dead {
			w.uint(refs[h.limit])
			w.int(h.amount)
			w.int(h.seen)
			w.uint(uint64(h.number))
			w.b = append(w.b, byte(h.flags))
			w.bool(h.done)
			w.bool(h.late)
		}
	}
}

// Load makes an engine of a snapshot. Bytes that no engine wrote give ErrCodec, those of a
// later one ErrVersion.
func Load(b []byte) (*Engine, error) {
	r := &reader{b: b}
	e := New()
	version := r.byte()
	if version > snapshotVersionCounters {
		return nil, ErrVersion
	} else if version == 0 {
		return nil, ErrCodec
	}
	r.former = version < snapshotVersion
	if n := r.length(1); n > 0 {
		var d Decoder
		c, rest, err := d.Command(r.b[:n])
		cfg, ok := c.(*Configure)
		if err != nil || !ok || len(rest) > 0 {
			return nil, ErrCodec
		}
		r.b = r.b[n:]
		e.configure(cfg)
		e.events = nil
	}
	e.now, e.seq, e.digest, e.projectSeq = r.time(), r.uint(), r.fixed(), r.uint()
	r.processes(e)
	projects := r.projects(e)
	if r.bad {
		return nil, ErrCodec
	}
	limits := e.allLimits(projects)
	for _, l := range limits {
		r.limit(l, len(e.classes))
	}
	for _, p := range e.pools {
		r.pool(p)
	}
	flows := map[*flow]Time{}
	for _, pr := range projects {
		r.flows(e, pr, flows)
	}
	for n := r.length(30); n > 0 && !r.bad; n-- {
		r.ticket(e, limits)
	}
	if version >= snapshotVersionCounters {
		r.counters(e)
	}
	if r.bad || len(r.b) > 0 || !e.settleFlows(projects, flows) {
		return nil, ErrCodec
	}
	e.schedule()
	e.watch()
	return e, nil
}

func (w *writer) processes(e *Engine) {
	w.uint(uint64(len(e.processes)))
	for i := range e.processes {
		p := &e.processes[i]
		w.fixed(p.id)
		w.uint(uint64(p.behaviour))
		w.time(p.heard)
		w.uint(p.number)
		w.bool(p.silent)
		w.bool(p.missing)
	}
	w.uint(e.entries)
	w.fixed(e.sender)
	w.uint(uint64(e.behaviour))
	c := &e.call
	w.fixed(c.history)
	w.bool(c.underWay)
	w.bool(c.telling)
	w.time(c.since)
	w.time(c.until)
	w.time(c.ended)
	w.seats(e)
}

func (r *reader) processes(e *Engine) {
	former := uint64(0)
	for n := r.length(10); n > 0; n-- {
		p := process{id: r.fixed(), behaviour: uint32(r.uint()), heard: r.time()}
		if !r.former {
			p.number, p.silent, p.missing = r.uint(), r.bool(), r.bool()
		}
		if len(e.processes) > 0 && p.id <= former {
			r.fail()
			return
		}
		former = p.id
		if p.missing {
			e.call.missing++
		}
		e.processes = append(e.processes, p)
	}
	if r.former {
		return
	}
	e.entries, e.sender, e.behaviour = r.uint(), r.fixed(), uint32(r.uint())
	c := &e.call
	c.history, c.underWay, c.telling = r.fixed(), r.bool(), r.bool()
	c.since, c.until, c.ended = r.time(), r.time(), r.time()
	r.seats(e)
}

func (r *reader) projects(e *Engine) (all []*project) {
	for n := r.length(4); n > 0; n-- {
		name, id, dynamic, used := r.string(), r.uint(), r.bool(), r.time()
		pr := e.projects[name]
		switch {
		case r.bad || dynamic && pr != nil || !dynamic && pr == nil:
			r.fail()
			return nil
		case dynamic:
			rules := e.template
			if rules == nil {
				rules = &projectRules{ProjectSpec: ProjectSpec{Weight: 1}}
			}
			seq := e.projectSeq
			pr = e.newProject(name, rules, true)
			e.projectSeq = seq
		}
		pr.id, pr.lastUsed = id, used
		all = append(all, pr)
	}
	return all
}

func (r *reader) window(o *window) {
	o.head = uint32(r.uint())
	n := r.length(3)
	for i := 0; i < n; i++ {
		if int(o.count) == len(o.ring) {
			o.grow()
		}
		o.count++
		en := entry{r.time(), r.time(), max(0, r.int())}
		*o.at(o.head + o.count - 1) = en
		o.total += en.amount
	}
}

func (r *reader) limit(l *limit, classes int) {
	r.window(&l.window)
	l.bucket.full = r.time()
	r.window(&l.bucket.credits)
	l.calendar = calendar{uint32(r.uint()), r.time(), r.time(), r.int(), r.int()}
	l.pacer.clear = r.time()
	l.stock, l.reserved = r.int(), r.int()
	l.pool.add(r.int(), r.int())
	l.refundable = r.int()
	if !r.bool() {
		return
	}
	if l.meter.slots == nil {
		l.meter = newMeter(classes)
	}
	l.meter.slot = max(0, r.int())
	for i := range l.meter.slots {
		l.meter.slots[i] = r.int()
		l.meter.sums[i%classes] += l.meter.slots[i]
	}
}

func (r *reader) pool(p *pool) {
	p.served, p.nextAt, p.dirty = r.int(), r.time(), false
	for n := r.length(5); n > 0; n-- {
		p.gates = append(p.gates, gate{r.metric(), r.bool(), r.bool(), r.time(), r.time()})
	}
	for i := range p.lanes {
		p.lanes[i].virtual, p.lanes[i].served = r.int(), r.int()
	}
}

// flows reads tags; the flows take their places in the heaps once all waiters are there.
func (r *reader) flows(e *Engine, pr *project, flows map[*flow]Time) {
	for n := r.length(4); n > 0; n-- {
		i, state, tag, wake := r.uint(), flowState(r.byte()), r.int(), r.time()
		if i >= uint64(len(pr.flows)) || state > flowParked || pr.flows[i] != nil {
			r.fail()
			return
		}
		p := e.pools[int(i)/len(e.classes)]
		f := p.flow(pr, uint8(int(i)%len(e.classes)))
		f.tag, f.pos = tag, int32(state)
		flows[f] = wake
	}
}

func (r *reader) ticket(e *Engine, limits []*limit) {
	t := &ticket{key: r.key(), lease: r.lease(), seq: r.uint(), timer: -1}
	t.state, t.class, t.rank = ticketState(r.byte()), r.byte(), r.byte()
	t.away, t.shared, t.keyed = r.bool(), r.bool(), r.bool()
	if !r.former {
		t.unsent = r.bool()
	}
	t.project = e.projects[r.string()]
	t.arrived, t.until, t.ttl = r.time(), r.time(), r.span()
	timer := r.time()
	if r.bad || t.project == nil || int(t.class) >= len(e.classes) || t.state == ticketFree || t.state > ticketSettled {
		r.fail()
		return
	}
	for n := r.length(5); n > 0; n-- {
		r.place(e, t)
	}
	if p := e.process(t.lease.Incarnation); p != nil && t.state == ticketWaiting {
		t.silent = p.silent
	}
	t.settleDown()
	t.granted = r.time()
	switch name := r.string(); name {
	case "":
	case nobodysPool:
		t.pool = e.poolNames[""]
	default:
		t.pool = e.poolNames[name]
	}
	model := r.string()
	if t.pool != nil {
		t.model = t.pool.modelIndex(model)
	}
	t.work = r.int()
	for n := r.length(6); n > 0; n-- {
		i := r.uint()
		if i == 0 || i > uint64(len(limits)) {
			r.fail()
			return
		}
		h := hold{limits[i-1], r.amount(), r.amount(), uint32(r.uint()), ChargeFlags(r.byte()), r.bool(), false}
		if !r.former {
			h.late = r.bool()
		}
		t.keep(&h)
	}
	if r.bad {
		return
	}
	t.project.tickets++
	if t.keyed {
		e.keys[t.key] = t
	}
	if t.state == ticketWaiting {
		e.classes[t.class].waiting++
		e.waiting++
		e.own(t.lease.Incarnation, 1)
	} else {
		e.leases[t.lease] = t
		if t.state == ticketOpen {
			e.open++
			e.lastEnd = max(e.lastEnd, t.until)
		}
	}
	e.timers.set(t, timer)
}

func (r *reader) place(e *Engine, t *ticket) {
	i, skipped, rank, model := r.uint(), r.bool(), r.byte(), r.string()
	pl := &place{ticket: t, rank: rank, charges: r.charges(nil)}
	if r.bad || i >= uint64(len(e.pools)) || t.state != ticketWaiting {
		r.fail()
		return
	}
	p := e.pools[i]
	pl.model, _ = p.model(model)
	pl.work = p.work(pl.charges, ToPool)
	if pl.pooled() {
		pl.variance = p.moments(pl.model).Variance
	}
	f := p.flow(t.project, t.class)
	f.append(pl)
	if skipped {
		f.unlink(pl)
		pl.skipped = true
	}
	e.stand(t, pl)
}

// settleFlows puts the flows into the heaps of their states.
func (e *Engine) settleFlows(projects []*project, flows map[*flow]Time) bool {
	for _, pr := range projects {
		for _, f := range pr.flows {
			if f == nil {
				continue
			}
			wake, known := flows[f]
			if !known {
				return false
			}
			p := f.pool
			f.state, f.wake = flowState(f.pos), wake
			switch {
			case f.state == flowReady && f.first != nil:
				f.finishAt()
				p.lanes[f.class].ready.push(f)
			case f.state == flowIdle && f.count == 0:
				p.lanes[f.class].idle.push(f)
			case f.state == flowParked && f.first != nil:
				p.parked.push(f)
			case f.state == flowNone && f.first == nil && f.count > 0:
			default:
				return false
			}
		}
	}
	return true
}
