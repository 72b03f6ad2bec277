package limiter

import (
	"container/heap"
	"fmt"
	"testing"
	"time"
)

// A market lets callers stand in line before one pool and sees who gets how much. Callers
// that are backlogged always have their next call waiting; a call that was granted ends
// after a second with what was estimated.
type market struct {
	t      *testing.T
	e      *Engine
	now    Time
	count  uint64
	owner  map[LeaseID]*caller
	ends   ending
	events []Event
}

// A caller is a project in a class that asks for calls of one size.
type caller struct {
	project, class string
	size           int64
	every          time.Duration // 0: backlogged
	served         int64         // tokens
	calls          int
	worst          time.Duration // wait
	waits          time.Duration // their sum
}

type ended struct {
	at    Time
	lease LeaseID
}

type ending []ended

func (h ending) Len() int           { return len(h) }
func (h ending) Less(i, j int) bool { return h[i].at < h[j].at }
func (h ending) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *ending) Push(x any)        { *h = append(*h, x.(ended)) }
func (h *ending) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

const marketQuota = 1_000_000 // tokens a minute

func newMarket(t *testing.T, weights map[string]int) *market {
	m := &market{t: t, e: New(), now: Time(1_800_000_000e9), owner: map[LeaseID]*caller{}}
	c := &Configure{Generation: 1, MaxProjects: 2000, Template: &ProjectSpec{Weight: 1},
		Pools: []PoolSpec{{Name: "a", Models: []string{"m"}, Limits: []LimitSpec{
			{Name: "tpm", Metric: Tokens, Quota: marketQuota, Window: time.Minute, Jitter: time.Second}}}},
		Classes: []ClassSpec{{Name: "interactive", Weight: 16, Reserve: 50_000}, {Name: "standard", Weight: 4, Paced: true}, {Name: "batch", Weight: 1, Paced: true}}}
	for name, w := range weights { // their order does not matter
		c.Projects = append(c.Projects, ProjectSpec{Name: name, Weight: w})
	}
	m.apply(c)
	return m
}

func (m *market) apply(c Command) {
	m.events = m.e.Apply(c, m.now, m.events[:0])
	for i := range m.events {
		ev := &m.events[i]
		switch ev.Kind {
		case Granted:
			w := m.owner[ev.Lease]
			w.served += w.size
			w.calls++
			w.worst = max(w.worst, ev.Waited)
			w.waits += ev.Waited
			heap.Push(&m.ends, ended{m.now + Time(time.Second), ev.Lease})
		case Refused:
			m.t.Fatalf("refused: %+v", ev)
		}
	}
}

func (m *market) ask(w *caller) {
	m.count++
	var k Key
	for i := range 8 {
		k[i] = byte(m.count >> (8 * i))
	}
	c := &Acquire{Key: k, Lease: LeaseID{1, m.count}, Project: w.project, Class: w.class, Arrived: m.now, MaxWait: 24 * time.Hour, TTL: time.Hour,
		Targets: []Target{{Pool: "a", Model: "m", Charges: []Charge{{Tokens, ToPool | ToOwner, w.size}}}}}
	m.owner[c.Lease] = w
	m.apply(c)
}

// run lets time pass for the callers, and forgets afterwards what they got in the warm-up.
func (m *market) run(callers []*caller, warm, length time.Duration) {
	due := make([]Time, len(callers))
	end := m.now + Time(warm+length)
	measured := false
	for m.now < end {
		for i, w := range callers {
			switch {
			case w.every == 0:
				for n := m.waiting(w); n < int(max(2, 30_000/w.size)); n++ {
					m.ask(w)
				}
			case due[i] <= m.now:
				due[i] = m.now + Time(w.every)
				m.ask(w)
			}
		}
		next := m.e.NextAt()
		for i, w := range callers {
			if w.every > 0 {
				next = min(next, due[i])
			}
		}
		if len(m.ends) > 0 {
			next = min(next, m.ends[0].at)
		}
		m.now = max(m.now, next)
		if !measured && m.now >= end-Time(length) {
			measured = true
			for _, w := range callers {
				w.served, w.calls, w.worst, w.waits = 0, 0, 0, 0
			}
		}
		if len(m.ends) > 0 && m.ends[0].at <= m.now {
			x := heap.Pop(&m.ends).(ended)
			m.apply(&Release{Lease: x.lease})
		} else {
			m.apply(&Tick{})
		}
	}
}

// waiting counts the calls of a caller that wait.
func (m *market) waiting(w *caller) int {
	pr := m.e.projects[w.project]
	if pr == nil {
		return 0
	}
	if f := pr.flows[m.e.pools[0].flowIndex(m.e.classNames[w.class])]; f != nil {
		return f.count
	}
	return 0
}

func within(t *testing.T, what string, got, want, part float64) {
	t.Helper()
	if got < want*(1-part) || got > want*(1+part) {
		t.Errorf("%s is %.4f, want %.4f ± %.0f %%", what, got, want, part*100)
	}
}

func TestBackloggedProjectsAreEqual(t *testing.T) {
	m := newMarket(t, nil)
	callers := []*caller{
		{project: "small", class: "batch", size: 500},
		{project: "middle", class: "batch", size: 3000},
		{project: "large", class: "batch", size: 9000},
	}
	m.run(callers, 3*time.Minute, time.Hour)
	all := 0.0
	for _, w := range callers {
		all += float64(w.served)
	}
	for _, w := range callers {
		within(t, "the share of "+w.project, float64(w.served)/all, 1.0/3, 0.03)
	}
	within(t, "the part of the quota that is used", all/(marketQuota*60), 0.92, 0.07)
}

func TestWeightsOfProjects(t *testing.T) {
	m := newMarket(t, map[string]int{"two": 2, "one": 1})
	two, one := &caller{project: "two", class: "standard", size: 4000}, &caller{project: "one", class: "standard", size: 1000}
	m.run([]*caller{two, one}, 3*time.Minute, time.Hour)
	within(t, "two : one", float64(two.served)/float64(one.served), 2, 0.05)
}

func TestWeightsOfClasses(t *testing.T) {
	m := newMarket(t, nil)
	standard, batch := &caller{project: "p", class: "standard", size: 4000}, &caller{project: "q", class: "batch", size: 4000}
	m.run([]*caller{standard, batch}, 3*time.Minute, time.Hour)
	within(t, "standard : batch", float64(standard.served)/float64(batch.served), 4, 0.05)
}

// TestAHeavyClassLeavesTheOthersTheirShare: a class whose demand alone exceeds the quota
// gets its weight's share of it, and not all.
func TestAHeavyClassLeavesTheOthersTheirShare(t *testing.T) {
	m := newMarket(t, nil)
	callers := []*caller{{project: "a", class: "interactive", size: 4000}, {project: "b", class: "standard", size: 4000}, {project: "c", class: "batch", size: 4000}}
	m.run(callers, 3*time.Minute, time.Hour)
	all := float64(callers[0].served + callers[1].served + callers[2].served)
	for i, weight := range []float64{16, 4, 1} {
		within(t, "the share of "+callers[i].class, float64(callers[i].served)/all, weight/21, 0.1)
	}
}

func TestManyBatchProjectsChangeNothingForAnInteractiveOne(t *testing.T) {
	waits := map[int]time.Duration{}
	for _, n := range []int{1, 1000} {
		m := newMarket(t, nil)
		agent := &caller{project: "agent", class: "interactive", size: 2000, every: 500 * time.Millisecond}
		callers := []*caller{agent}
		for i := range n {
			callers = append(callers, &caller{project: fmt.Sprint("job-", i), class: "batch", size: 3000})
		}
		m.run(callers, 3*time.Minute, 10*time.Minute)
		if agent.worst > 250*time.Millisecond {
			t.Errorf("beside %d batch projects an interactive call waited %v", n, agent.worst)
		}
		waits[n] = agent.waits / time.Duration(agent.calls)
	}
	if waits[1000] > waits[1]+10*time.Millisecond {
		t.Errorf("beside 1000 batch projects interactive calls wait %v, beside one %v", waits[1000], waits[1])
	}
}

// TestALargeBatchCallIsServed holds the bound of algorithms.md §3: once at the head, a call
// waits (its work + one largest call of each active project of its class) / its share of
// the rate, and one hold.
func TestALargeBatchCallIsServed(t *testing.T) {
	m := newMarket(t, nil)
	const size, small = 120_000, 2000
	large := &caller{project: "large", class: "batch", size: size}
	callers := []*caller{large}
	for i := range 5 {
		callers = append(callers, &caller{project: fmt.Sprint("small-", i), class: "batch", size: small})
	}
	for i := range 3 {
		callers = append(callers, &caller{project: fmt.Sprint("agent-", i), class: "interactive", size: 4000, every: 1500 * time.Millisecond})
		callers = append(callers, &caller{project: fmt.Sprint("web-", i), class: "standard", size: 4000})
	}
	m.run(callers, 3*time.Minute, 2*time.Hour)
	// Two of its calls stand in line: one waits for the other as well.
	rate := float64(marketQuota) / 60 / 21 // the share of batch while all are busy
	bound := 2 * time.Duration((size+5*small+size)/(rate/6)*float64(time.Second))
	bound += 2 * 61 * time.Second
	if large.calls == 0 || large.worst > bound {
		t.Errorf("a large batch call waited %v, at most %v expected; %d were served", large.worst, bound, large.calls)
	}
	t.Logf("%d large calls, the longest wait %v, bound %v", large.calls, large.worst, bound)
}
