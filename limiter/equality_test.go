package limiter

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"
)

var (
	seedFlag = flag.Uint64("seed", 0, "replay this one sequence of random commands")
	longFlag = flag.Bool("long", false, "run the long figures of the random tests")
)

// sequences gives how many random sequences to try, and how long they are.
func sequences() (count, length int) {
	if *longFlag {
		return 100_000, 200
	}
	if testing.Short() {
		return 1_000, 60
	}
	return 10_000, 60
}

// eachSeed runs a check for many seeds, on two goroutines, and tells the seed of the
// first that fails. With -seed it runs that one.
func eachSeed(t *testing.T, count int, run func(seed uint64) error) {
	if *seedFlag != 0 {
		if err := run(*seedFlag); err != nil {
			t.Fatalf("seed %d: %v", *seedFlag, err)
		}
		return
	}
	const workers = 2
	for w := range workers {
		t.Run(fmt.Sprint("part", w), func(t *testing.T) {
			t.Parallel()
			for i := w; i < count; i += workers {
				if err := run(uint64(i) + 1); err != nil {
					t.Fatalf("seed %d: %v\nreplay: go test -run '%s' -seed %d", i+1, err, t.Name(), i+1)
				}
			}
		})
	}
}

// TestEngineEqualsModel drives the engine and the model by the same random commands:
// after every one both must have said the same and hold the same.
func TestEngineEqualsModel(t *testing.T) {
	count, length := sequences()
	eachSeed(t, count, func(seed uint64) error { return compareWithModel(seed, length, t) })
}

func compareWithModel(seed uint64, length int, t *testing.T) error {
	g := newGenerator(seed)
	p := &pair{t: t, e: New()}
	for i := 0; i <= length; i++ {
		c, now := Command(g.config), g.now
		if i > 0 {
			c, now = g.next(p.e.NextAt())
		}
		fresh, err := p.begin(g, c, now)
		if err != nil {
			return fmt.Errorf("step %d: begin: %w", i, err)
		}
		if !fresh && i > 0 {
			continue
		}
		if err := p.apply(c, now); err != nil {
			return fmt.Errorf("step %d: %w\nafter  %s\nengine %s\nmodel  %s", i, err, describe(c), describeEvents(p.got), describeEvents(p.want))
		}
		g.learn(p.got)
	}
	return p.l.judge(p.e)
}

// A pair is an engine and the model beside it.
type pair struct {
	t         *testing.T
	e         *Engine
	m         model
	l         ledger
	got, want []Event
}

// begin begins an entry for a command, perhaps. False: the command is not to be applied.
func (p *pair) begin(g *generator, c Command, now Time) (bool, error) {
	process, number, ok := g.entry(c)
	if !ok {
		return true, nil
	}
	got, want := p.e.Begin(process, number, now), p.m.begin(process, number, now)
	if *seedFlag != 0 {
		p.t.Logf("entry %d of %d -> %v", number, process, got)
	}
	if got != want {
		return false, fmt.Errorf("batch %d of %d is fresh: %v, want %v", number, process, got, want)
	}
	return got, sameProcesses(p.e, &p.m)
}

// apply gives both a command and compares all there is to compare.
func (p *pair) apply(c Command, now Time) error {
	a, asks := c.(*Acquire)
	before := settledState(p.e, asks, now)
	p.got, p.want = p.e.Apply(c, now, p.got[:0]), nil
	retry := time.Duration(0)
	for i := range p.got {
		if ev := &p.got[i]; asks && ev.Key == a.Key && (ev.Kind == Queued || ev.Kind == Refused) {
			retry = ev.RetryAfter
		}
	}
	p.want = p.m.apply(c, now, retry)
	if *seedFlag != 0 {
		p.t.Logf("%s -> %s", describe(c), describeEvents(p.got))
	}
	if err := sameEvents(p.got, p.want); err != nil {
		return err
	}
	if err := sameState(p.e, &p.m); err != nil {
		return err
	}
	if err := consistent(p.e); err != nil {
		return err
	}
	if err := p.l.follow(p.e, &p.m, c, p.got); err != nil {
		return err
	}
	if len(p.got) == 1 && p.got[0].Kind == Refused && before != nil && !bytes.Equal(before, settledState(p.e, true, now)) {
		return errors.New("a refusal changed what is held")
	}
	return p.m.fault
}

// sameEvents compares what was said, but for bounds and explanations.
func sameEvents(got, want []Event) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d events, want %d", len(got), len(want))
	}
	for i := range got {
		a, b := got[i], want[i]
		if a.Kind != Refused && a.Kind != Queued && a.RetryAfter != 0 {
			return fmt.Errorf("event %d has a RetryAfter", i)
		}
		a.RetryAfter, b.RetryAfter = 0, 0
		a.Binding, a.Bindings = b.Binding, b.Bindings
		if a != b {
			return fmt.Errorf("event %d is %+v, want %+v", i, a, b)
		}
	}
	return nil
}

// sameState compares what the limits and the queues hold.
func sameState(e *Engine, m *model) error {
	if len(e.pools) != len(m.pools) || len(e.projects) != len(m.projects) {
		return fmt.Errorf("%d pools, %d projects, want %d, %d", len(e.pools), len(e.projects), len(m.pools), len(m.projects))
	}
	if err := sameLimits(m, e.limits, m.org); err != nil {
		return err
	}
	for i, p := range e.pools {
		q := m.pools[i]
		if err := sameLimits(m, p.limits, q.limits); err != nil {
			return err
		}
		for k := range p.lanes {
			if l := &p.lanes[k]; l.virtual != q.virtual[k] || l.served != q.begun[k] {
				return fmt.Errorf("lane %d of %s stands at %d, %d, want %d, %d", k, p.Name, l.virtual, l.served, q.virtual[k], q.begun[k])
			}
		}
		if p.served != q.served || p.nextAt != q.nextAt {
			return fmt.Errorf("pool %s: served %d, next %d, want %d, %d", p.Name, p.served, p.nextAt, q.served, q.nextAt)
		}
	}
	for _, q := range m.projects {
		pr := e.projects[q.name]
		if pr == nil || pr.id != q.id || pr.weight != q.weight || pr.dynamic != q.dynamic {
			return fmt.Errorf("project %s is %+v", q.name, pr)
		}
		if err := sameLimits(m, pr.limits, q.limits); err != nil {
			return err
		}
		for i, f := range pr.flows {
			p, k := m.pools[i/len(m.classes)], i%len(m.classes)
			o := m.flow(p, q, k, false)
			switch {
			case (f == nil) != (o == nil):
				return fmt.Errorf("flow of %s in %s: %+v, want %+v", q.name, p.Name, f, o)
			case f != nil && (f.tag != o.tag || o.ready != (f.state == flowReady) || o.parked != (f.state == flowParked) || o.parked && o.wake != f.wake):
				return fmt.Errorf("flow of %s in %s: %+v, want %+v", q.name, p.Name, f, o)
			}
		}
	}
	if err := sameProcesses(e, m); err != nil {
		return err
	}
	switch next := m.nextAt(); {
	case e.NextAt() > next:
		return fmt.Errorf("NextAt is %d, %v late", e.NextAt(), e.NextAt().Sub(next))
	case m.couldGrant(next - 1):
		return fmt.Errorf("something could be granted before NextAt")
	}
	return nil
}

func sameProcesses(e *Engine, m *model) error {
	var want []Peer
	for _, p := range m.processes {
		want = append(want, Peer{p.id, p.behaviour, p.heard, p.number, len(m.waiters(p))})
		if got := e.Missing(p.id); got != p.missing {
			return fmt.Errorf("the roll call waits for %d: %v, want %v", p.id, got, p.missing)
		}
	}
	if got := e.Peers(nil); !slices.Equal(got, want) {
		return fmt.Errorf("the processes are %+v, want %+v", got, want)
	}
	since, missing, underWay := e.RollCall()
	if underWay != m.call.underWay || missing != m.missing() || underWay && since != m.call.since {
		return fmt.Errorf("a roll call since %d waits for %d: %v, want %d, %d, %v", since, missing, underWay, m.call.since, m.missing(), m.call.underWay)
	}
	if e.Behaviour() != max(1, m.behaviour) || e.Entries() != m.entries {
		return fmt.Errorf("behaviour %d after %d entries, want %d, %d", e.Behaviour(), e.Entries(), m.behaviour, m.entries)
	}
	return nil
}

func sameLimits(m *model, ls []*limit, ws []*mLimit) error {
	if len(ls) != len(ws) {
		return fmt.Errorf("%d limits, want %d", len(ls), len(ws))
	}
	for i, l := range ls {
		w := ws[i]
		if l.capacity != w.capacity || l.Name != w.Name {
			return fmt.Errorf("limit %s of %d, want %s of %d", l.Name, l.capacity, w.Name, w.capacity)
		}
		l.advance(m.now)
		if got, want := l.used(m.now), m.used(w, m.now); got != want {
			return fmt.Errorf("%s of %q is used by %d, want %d", l.Name, l.owner, got, want)
		}
		if l.pace > 0 != w.paced() || l.pace > 0 && l.pacer.clear != w.pacedOut {
			return fmt.Errorf("%s of %q is paced out at %d, want %d", l.Name, l.owner, l.pacer.clear, w.pacedOut)
		}
	}
	return nil
}

// couldGrant says whether any head that stands ready would go at a later time, if
// nothing but time had passed.
func (m *model) couldGrant(at Time) bool {
	if at <= m.now || m.call.underWay {
		return false
	}
	defer func(now Time) { m.now = now }(m.now)
	m.now = at
	for _, p := range m.pools {
		var stopped []*mPlace
		tried := make([]bool, len(m.classes))
		for len(stopped) <= 2 {
			class := -1
			for c := range m.classes {
				if !tried[c] && p.active(c) && (class < 0 || p.virtual[c] < p.virtual[class]) {
					class = c
				}
			}
			if class < 0 {
				break
			}
			tried[class] = true
			pl := m.foremost(p, class)
			if pl == nil {
				continue
			}
			s := m.judge(pl)
			if s.at <= at && (len(stopped) == 0 || m.guard(pl, stopped) <= at) {
				return true
			}
			stopped = append(stopped, pl)
		}
	}
	return false
}

// foremost is the head of a lane, found without changing anything.
func (m *model) foremost(p *mPool, class int) (head *mPlace) {
	var flow *mFlow
	finish := int64(0)
	for _, f := range p.flows {
		if !f.ready || f.class != class {
			continue
		}
		line := m.line(p, f, false)
		end := f.tag + m.weigh(line[0].work, f.project.weight)
		line = slices.DeleteFunc(line, func(pl *mPlace) bool { return m.absent(pl.ticket) })
		if len(line) > 0 && (flow == nil || end < finish || end == finish && f.project.id < flow.project.id) {
			flow, finish, head = f, end, line[0]
		}
	}
	return head
}

// settledState is what limits, leases and gates hold, or nil if it was not asked for.
func settledState(e *Engine, asked bool, now Time) []byte {
	if !asked || e.NextAt() <= max(e.now, now) {
		return nil
	}
	w := &writer{b: make([]byte, 0, 1024)}
	for _, l := range e.table {
		if l != nil && l.scope != ScopeProject {
			l.advance(max(e.now, now))
			w.limit(l)
		}
	}
	for _, p := range e.pools {
		for _, g := range p.gates {
			w.time(g.opens)
			w.time(g.clear)
		}
	}
	w.uint(uint64(len(e.leases)))
	return w.b
}

func describe(c Command) string { return fmt.Sprintf("%T%+v", c, c) }

func describeEvents(events []Event) (s string) {
	for _, ev := range events {
		s += fmt.Sprintf("{%d/%d key %d lease %v %s w %v l %v r %v %d/%d} ", ev.Kind, ev.Reason, ev.Key[0], ev.Lease, ev.Pool, ev.Waited, ev.Left, ev.RetryAfter, ev.Refunds, ev.Debts)
	}
	return s
}
