package limiter

import (
	"cmp"
	"slices"
	"time"
)

// An mProcess is one that serves the organization. Its waiters are those whose latest
// proposal was its own.
type mProcess struct {
	id, number uint64
	behaviour  uint32
	heard      Time
	silent     bool
	missing    bool
}

// An mCall is a roll call.
type mCall struct {
	history            uint64
	underWay, same     bool // same: the entry that began it goes on
	since, until, last Time
	had                bool
}

func (m *model) process(id uint64) *mProcess {
	for _, p := range m.processes {
		if p.id == id {
			return p
		}
	}
	return nil
}

// waiters lists what a process owns.
func (m *model) waiters(p *mProcess) (own []*mTicket) {
	for _, t := range m.tickets {
		if t.state == ticketWaiting && t.lease.Incarnation == p.id {
			own = append(own, t)
		}
	}
	return own
}

// absent says that nobody would take a grant.
func (m *model) absent(t *mTicket) bool {
	p := m.process(t.lease.Incarnation)
	return t.away || p != nil && p.silent
}

// begin does what Engine.Begin does.
func (m *model) begin(id, number uint64, now Time) bool {
	m.now = max(m.now, now)
	m.entries++
	m.sender, m.call.same = id, false
	m.processes = slices.DeleteFunc(m.processes, func(p *mProcess) bool {
		return len(m.waiters(p)) == 0 && p.heard.Add(10*time.Minute) < m.now
	})
	p := m.hear(id)
	if number <= p.number {
		return false
	}
	p.number = number
	return true
}

func (m *model) hear(id uint64) *mProcess {
	p := m.process(id)
	if p == nil {
		p = &mProcess{id: id}
		m.processes = append(m.processes, p)
		slices.SortFunc(m.processes, func(a, b *mProcess) int { return cmp.Compare(a.id, b.id) })
	}
	p.heard = m.now
	if p.silent {
		p.silent = false
		for _, t := range m.waiters(p) {
			if !t.away {
				m.returned(t)
			}
		}
	}
	return p
}

func (m *model) join(c *Join) {
	p := m.hear(c.Incarnation)
	p.behaviour, p.missing = c.Behaviour, false
}

// listen finds who has become silent, and ends the places of those who have been for long.
func (m *model) listen() {
	for _, p := range m.processes {
		if p.number == 0 || p.heard+3e9 > m.now {
			continue
		}
		if own := m.waiters(p); len(own) > 0 && !p.silent {
			for _, t := range own {
				if !t.away {
					m.left(t)
				}
			}
			p.silent = true
		}
		if p.heard+10e9 <= m.now {
			for _, t := range m.waiters(p) {
				m.emit(Event{Kind: Lapsed, Key: t.key, Lease: t.lease})
				m.dismiss(t)
			}
		}
	}
}

// lose begins a roll call, if this loss is not one that is known.
func (m *model) lose(c *Loss) {
	sender := m.process(m.sender)
	m.call.same = sender != nil
	known := m.call.underWay || m.call.had && m.now < m.call.last+200e6
	if c.History == m.call.history && (!c.Restores || known) {
		if sender != nil {
			sender.missing = false
		}
		return
	}
	within, most := 3*time.Second, 5*time.Second
	if m.config.AfterLoss == ExactRollCall {
		for _, l := range append(slices.Clone(m.org), m.poolLimits()...) {
			if l.Shape <= TokenBucket && l.Window <= 10*time.Minute {
				within, most = max(within, l.hold()), max(most, l.hold())
			}
		}
	}
	m.call.history, m.call.underWay, m.call.since, m.call.until = c.History, true, m.now, m.now.Add(most)
	for _, p := range m.processes {
		p.missing = p != sender && p.heard.Add(within) > m.now
	}
}

func (m *model) poolLimits() (all []*mLimit) {
	for _, p := range m.pools {
		all = append(all, p.limits...)
	}
	return all
}

func (m *model) missing() (n int) {
	for _, p := range m.processes {
		if p.missing {
			n++
		}
	}
	return n
}

// answered ends the roll call when all have come, or it has taken too long.
func (m *model) answered() {
	if !m.call.underWay || m.now < m.call.until && (m.missing() > 0 || m.call.same) {
		return
	}
	m.call.underWay, m.call.had, m.call.last = false, true, m.now
	for _, p := range m.processes {
		p.missing = false
	}
	for _, p := range m.pools {
		p.look = true
	}
}

// nextOfProcesses gives the time at which a silence or the end of a roll call lets others go.
func (m *model) nextOfProcesses() Time {
	waiting := 0
	for _, t := range m.tickets {
		if t.state == ticketWaiting {
			waiting++
		}
	}
	at := Never
	switch {
	case waiting == 0:
	case m.call.underWay && m.missing() == 0:
		at = m.now
	case m.call.underWay:
		at = m.call.until
	default:
		for _, p := range m.processes {
			if own := len(m.waiters(p)); p.number > 0 && !p.silent && own > 0 && own < waiting {
				at = min(at, p.heard+3e9)
			}
		}
	}
	return at
}
