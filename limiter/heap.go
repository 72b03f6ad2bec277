package limiter

// A flowHeap orders flows by what matters in their state: ready ones by finish, idle ones
// by tag, parked ones by wake; equals by project, so that the order never depends on the heap's history.
type flowHeap struct{ flows []*flow }

func (h *flowHeap) len() int { return len(h.flows) }

func (h *flowHeap) top() *flow {
	if len(h.flows) == 0 {
		return nil
	}
	return h.flows[0]
}

func (f *flow) before(o *flow) bool {
	a, b := f.tag, o.tag
	switch f.state {
	case flowReady:
		a, b = f.finish, o.finish
	case flowParked:
		a, b = int64(f.wake), int64(o.wake)
	}
	if a != b {
		return a < b
	}
	if f.project != o.project {
		return f.project.id < o.project.id
	}
	return f.class < o.class
}

func (h *flowHeap) push(f *flow) {
	f.pos = int32(len(h.flows))
	h.flows = append(h.flows, f)
	h.up(int(f.pos))
}

func (h *flowHeap) remove(f *flow) {
	i, n := int(f.pos), len(h.flows)-1
	if i != n {
		h.flows[i] = h.flows[n]
		h.flows[i].pos = int32(i)
	}
	h.flows[n] = nil
	h.flows = h.flows[:n]
	if i < n {
		h.fixAt(i)
	}
}

func (h *flowHeap) fix(f *flow) { h.fixAt(int(f.pos)) }

func (h *flowHeap) fixAt(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

func (h *flowHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.flows[i].before(h.flows[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *flowHeap) down(i int) (moved bool) {
	for {
		child := 2*i + 1
		if child >= len(h.flows) {
			return moved
		}
		if child+1 < len(h.flows) && h.flows[child+1].before(h.flows[child]) {
			child++
		}
		if !h.flows[child].before(h.flows[i]) {
			return moved
		}
		h.swap(i, child)
		i, moved = child, true
	}
}

func (h *flowHeap) swap(i, j int) {
	h.flows[i], h.flows[j] = h.flows[j], h.flows[i]
	h.flows[i].pos, h.flows[j].pos = int32(i), int32(j)
}

// A timerHeap holds one timer a ticket: four children a node, the times beside the
// tickets, so that a sift touches few cache lines.
type timerHeap struct{ timers []timer }

type timer struct {
	at     Time
	ticket *ticket // earlier ones go first among equals
}

func (t timer) before(o timer) bool {
	return t.at < o.at || t.at == o.at && t.ticket.seq < o.ticket.seq
}

// set gives a ticket its timer, or moves it.
func (h *timerHeap) set(t *ticket, at Time) {
	e := timer{at, t}
	if t.timer < 0 {
		h.timers = append(h.timers, e)
		h.up(len(h.timers)-1, e)
		return
	}
	h.replace(int(t.timer), e)
}

func (h *timerHeap) clear(t *ticket) {
	if t.timer < 0 {
		return
	}
	i, n := int(t.timer), len(h.timers)-1
	last := h.timers[n]
	h.timers[n] = timer{}
	h.timers = h.timers[:n]
	if i < n {
		h.replace(i, last)
	}
	t.timer = -1
}

func (h *timerHeap) next() Time {
	if len(h.timers) == 0 {
		return Never
	}
	return h.timers[0].at
}

func (h *timerHeap) replace(i int, e timer) {
	if i > 0 && e.before(h.timers[(i-1)/4]) {
		h.up(i, e)
	} else {
		h.down(i, e)
	}
}

func (h *timerHeap) put(i int, e timer) {
	h.timers[i] = e
	e.ticket.timer = int32(i)
}

func (h *timerHeap) up(i int, e timer) {
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(h.timers[parent]) {
			break
		}
		h.put(i, h.timers[parent])
		i = parent
	}
	h.put(i, e)
}

func (h *timerHeap) down(i int, e timer) {
	for {
		child := 4*i + 1
		if child >= len(h.timers) {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, len(h.timers)); c++ {
			if h.timers[c].before(h.timers[least]) {
				least = c
			}
		}
		if !h.timers[least].before(e) {
			break
		}
		h.put(i, h.timers[least])
		i = least
	}
	h.put(i, e)
}
