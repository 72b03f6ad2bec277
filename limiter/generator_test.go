package limiter

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"
)

// A generator makes random configurations and commands. Quotas are small and names few,
// so that everything collides; what it sends next depends on what the engine answered.
type generator struct {
	*rand.Rand
	now    Time
	config *Configure
	count  uint64 // of leases proposed
	asked  []*Acquire
	open   []LeaseID // granted, perhaps ended since
	base   time.Duration
	hits   bool // it draws on counters as well
	counts bool // it has said that all know how
	calm   bool // no commands that break the promises: restores, reconfigurations, lies

	// Several processes append to the log; 0: nobody says who does.
	replicas int
	numbers  map[uint64]uint64 // of their batches
	alone    uint64            // only this one is heard for now; 0: all are
}

func newGenerator(seed uint64) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0x5eed))}
	g.now = Time(time.Date(2026, time.Month(1+g.IntN(12)), 1+g.IntN(28), 0, 0, 0, 0, time.UTC).UnixNano())
	g.now += Time(g.IntN(24 * int(time.Hour)))
	if g.IntN(8) == 0 { // the night in which clocks are changed
		g.now = Time(time.Date(2026, 3, 28+g.IntN(2), 20+g.IntN(4), 0, 0, 0, time.UTC).UnixNano())
	}
	g.base = pick(g, 10*time.Millisecond, time.Second, 10*time.Second, time.Minute, 2*time.Hour)
	g.calm = g.IntN(3) == 0
	g.replicas, g.numbers = pick(g, 0, 0, 1, 2, 3), map[uint64]uint64{}
	g.config = g.configure()
	return g
}

func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

// chance is true once in n.
func (g *generator) chance(n int) bool { return g.IntN(n) == 0 }

func (g *generator) upTo(d time.Duration) time.Duration { return time.Duration(g.Int64N(int64(d) + 1)) }

var madeZones = [][]ZoneOffset{nil, {{0, 3600}, {Time(1774746000e9), 7200}, {Time(1792890000e9), 3600}}, {{0, -8 * 3600}}, {{0, 19800}}}

func (g *generator) limit(name string, m Metric, shapes ...Shape) LimitSpec {
	s := LimitSpec{Name: name, Metric: m, Shape: pick(g, shapes...), Quota: int64(2 + g.IntN(12))}
	if m == Tokens || m == OutputTokens {
		s.Quota = int64(50 + g.IntN(400))
		if g.chance(20) {
			s.Quota = 1
		}
	}
	s.Margin = pick(g, uint32(0), 0, 100_000, 333_333)
	s.Window = g.base/2 + g.upTo(g.base)
	s.Jitter = pick(g, 0, s.Window/60, s.Window/3)
	switch s.Shape {
	case TokenBucket:
		s.Burst = pick(g, 0, 0, s.Quota/2+1, 2*s.Quota)
	case Calendar:
		s.Window, s.Period, s.Zone = 0, pick(g, Day, Day, Week, Month), pick(g, madeZones...)
		s.Quota *= 4
		s.Jitter = pick(g, time.Second, time.Hour)
	case Stock:
		s.Window, s.Jitter = 0, 0
		s.Quota = int64(1 + g.IntN(5))
	}
	return s
}

func (g *generator) limits(of ...LimitSpec) (limits []LimitSpec) {
	for _, l := range of {
		if !g.chance(3) {
			limits = append(limits, l)
		}
	}
	return limits
}

func (g *generator) configure() *Configure {
	c := &Configure{Generation: 1, MaxProjects: 2 + g.IntN(4), MaxWaiting: pick(g, 0, 0, 8)}
	if g.chance(4) {
		c.ColdStart, c.Kept = pick(g, Pace, Wait), pick(g, 0, 0, g.upTo(g.base))
	}
	c.AfterLoss = pick(g, QuickRollCall, QuickRollCall, ExactRollCall)
	c.Limits = g.limits(g.limit("t", Tokens, SlidingWindow, TokenBucket, Calendar), g.limit("c", Concurrency, Stock))
	for _, name := range []string{"a/x", "b/y", "c/z"}[:1+g.IntN(3)] {
		c.Pools = append(c.Pools, PoolSpec{Name: name, Models: []string{"m", "n"}, StartWithin: g.upTo(g.base / 4), Outputs: pick(g, nil, []Moments{{20, 300}, {}}),
			Limits: g.limits(
				g.limit("r", Requests, SlidingWindow), g.limit("r2", Requests, SlidingWindow, TokenBucket),
				g.limit("t", Tokens, SlidingWindow, SlidingWindow, TokenBucket, Calendar),
				g.limit("o", OutputTokens, SlidingWindow, TokenBucket), g.limit("c", Concurrency, Stock))})
	}
	project := func(name string) ProjectSpec {
		return ProjectSpec{Name: name, Weight: 1 + g.IntN(3), Limits: g.limits(
			g.limit("t", Tokens, SlidingWindow, TokenBucket), g.limit("c", Concurrency, Stock), g.limit("o", OutputTokens, SlidingWindow))}
	}
	c.Projects = []ProjectSpec{project("p"), {Name: "q", Weight: 2}}[:1+g.IntN(2)]
	if !g.chance(4) {
		t := project("")
		c.Template = &t
	}
	c.Classes = []ClassSpec{
		{Name: "interactive", Weight: 16, Reserve: pick(g, uint32(0), 50_000, 300_000)},
		{Name: "standard", Weight: 4, Reserve: pick(g, uint32(0), 0, 100_000), Paced: true, MaxWaiting: pick(g, 0, 4)},
		{Name: "batch", Weight: 1, Paced: !g.chance(4), MaxWaiting: pick(g, 0, 5)},
	}
	if g.chance(6) {
		c.Classes = append(c.Classes, ClassSpec{Name: "idle", Weight: 1, Paced: true})
	}
	return c
}

// reconfigure changes some of the configuration.
func (g *generator) reconfigure() *Configure {
	c := g.configure()
	old := g.config
	keep := func(ls, was []LimitSpec) {
		for i := range ls {
			for _, o := range was {
				if o.Name != ls[i].Name || o.Metric != ls[i].Metric {
					continue
				}
				if g.chance(2) {
					ls[i] = o
				}
				if g.chance(4) {
					ls[i].Name, ls[i].Was = ls[i].Name+"2", ls[i].Name
				}
			}
		}
	}
	keep(c.Limits, old.Limits)
	for i := range c.Pools {
		for j := range old.Pools {
			if c.Pools[i].Name == old.Pools[j].Name {
				keep(c.Pools[i].Limits, old.Pools[j].Limits)
			}
		}
	}
	if g.chance(4) {
		c.Pools[0].Name, c.Pools[0].Was = "a/renamed", "a/x"
	}
	if g.chance(4) {
		c.Projects = append(c.Projects, ProjectSpec{Name: "r", Was: pick(g, "q", "s", ""), Weight: 3})
	}
	if g.chance(4) {
		c.Classes = append(c.Classes[:1], c.Classes[2:]...)
	}
	c.Generation, c.Hash = old.Generation+int64(g.IntN(5))-1, g.Uint64()
	return c
}

func (g *generator) charges() (cs []Charge) {
	both := ToPool | ToOwner
	add := func(m Metric, amount int64, flags ChargeFlags) { cs = append(cs, Charge{m, flags, amount}) }
	add(Requests, 1, both)
	if !g.chance(3) {
		flags := pick(g, ToPool, both)
		if !g.chance(3) {
			flags |= OnCompletion
		}
		if g.chance(3) {
			flags |= Pooled
		}
		add(OutputTokens, int64(1+g.IntN(60)), flags)
	}
	amount := int64(1 + g.IntN(60))
	if g.chance(8) {
		amount = int64(g.IntN(600))
	}
	switch refund := pick(g, 0, Refundable, Refundable, OnCompletion); {
	case g.chance(4):
		add(Tokens, amount, ToPool|refund)
		add(Tokens, amount/2, ToOwner|refund)
	default:
		add(Tokens, amount, both|refund)
	}
	if !g.chance(3) {
		add(Concurrency, 1, both)
	}
	return cs
}

func (g *generator) key(n uint64) (k Key) {
	binary.LittleEndian.PutUint64(k[:], n)
	return k
}

func (g *generator) acquire() *Acquire {
	g.count++
	c := &Acquire{Key: g.key(g.count), Lease: LeaseID{g.process(), g.count}}
	c.Project = pick(g, "p", "p", "q", "q", "s", "t", "u", "v")
	if g.chance(60) {
		c.Project = ""
	}
	c.Class = g.config.Classes[g.IntN(len(g.config.Classes))].Name
	if g.chance(80) {
		c.Class = "nobody"
	}
	c.Arrived = g.now + pick(g, Time(0), 0, -1, 1)*Time(g.upTo(g.base/20))
	c.MaxWait = pick(g, 0, g.base/4, g.base, g.base, 4*g.base, time.Hour)
	c.TTL = pick(g, g.base/4, g.base, 10*time.Minute)
	for range 1 + g.IntN(3) {
		c.Targets = append(c.Targets, Target{
			Pool: pick(g, "a/x", "a/x", "b/y", "c/z", "a/renamed", "nowhere"), Model: pick(g, "m", "m", "n", "o"),
			Rank: uint8(g.IntN(3)), Above: pick(g, uint16(0), 0, 300, 900), Charges: g.charges(),
		})
	}
	slices.SortStableFunc(c.Targets, func(a, b Target) int { return int(a.Rank) - int(b.Rank) })
	g.asked = append(g.asked, c)
	return c
}

// counted draws on counters, or puts some back.
func (g *generator) counted() Command {
	if !g.counts {
		g.counts = true
		return &Upgrade{BehaviourHits}
	}
	name := func() CounterID { return CounterID{byte(g.IntN(5))} }
	if g.chance(12) {
		c := &Recount{History: uint64(g.IntN(4)), Stranger: g.chance(4)}
		for range 1 + g.IntN(3) {
			s := CounterState{Counter: name(), Window: g.base, Ever: int64(g.IntN(30))}
			for age := time.Duration(0); g.chance(2); age += g.upTo(g.base) {
				s.Hits = append(s.Hits, CounterAge{age, int64(1 + g.IntN(4))})
			}
			c.Counters = append(c.Counters, s)
		}
		return c
	}
	c := &Hit{Always: g.chance(8)}
	for range 1 + g.IntN(3) {
		c.Counters = append(c.Counters, CounterHit{name(), int64(g.IntN(40)), pick(g, g.base, g.base, g.base/3), int64(g.IntN(7) - 1), HitMode(g.IntN(3))})
	}
	return c
}

// process is one of those that are heard for now.
func (g *generator) process() uint64 {
	if g.alone > 0 {
		return g.alone
	}
	return uint64(1 + g.IntN(max(1, g.replicas)))
}

// entry says who sends a command, and in which batch; false: nobody knows.
func (g *generator) entry(c Command) (process, number uint64, ok bool) {
	if g.replicas == 0 || g.chance(4) {
		return 0, 0, false
	}
	if g.chance(12) {
		g.alone = pick(g, 0, 0, 1+uint64(g.IntN(g.replicas)))
	}
	process = g.process()
	if a, asks := c.(*Acquire); asks && !g.chance(8) {
		process = a.Lease.Incarnation
	}
	if g.chance(10) { // a late copy
		return process, g.numbers[process] - min(g.numbers[process], uint64(g.IntN(3))), true
	}
	g.numbers[process] += uint64(1 + g.IntN(2))
	return process, g.numbers[process], true
}

// repeat asks again, perhaps as another process.
func (g *generator) repeat() *Acquire {
	c := *g.recent()
	c.Arrived = g.now
	if !g.chance(4) {
		g.count++
		c.Lease = LeaseID{pick(g, g.process(), 2), g.count}
	}
	g.asked = append(g.asked, &c)
	return &c
}

func (g *generator) recent() *Acquire {
	if len(g.asked) == 0 {
		return g.acquire()
	}
	return g.asked[len(g.asked)-1-g.IntN(min(len(g.asked), 12))]
}

// lease is one of the latest granted, or one that nobody knows.
func (g *generator) lease() LeaseID {
	if len(g.open) == 0 || g.chance(30) {
		return LeaseID{9, 9}
	}
	return g.open[len(g.open)-1-g.IntN(min(len(g.open), 8))]
}

func (g *generator) actual() (cs []Charge) {
	for _, m := range []Metric{OutputTokens, Tokens} {
		if g.chance(3) {
			continue
		}
		amount := int64(g.IntN(40))
		if !g.calm && g.chance(5) {
			amount = int64(g.IntN(200))
		}
		cs = append(cs, Charge{m, pick(g, ToPool, ToOwner, ToPool|ToOwner, ToPool|ToOwner), amount})
	}
	return cs
}

func (g *generator) gates() (gs []Gate) {
	for range g.IntN(2) {
		gs = append(gs, Gate{Pool: pick(g, "a/x", "b/y", "nowhere"), Metric: pick(g, Requests, Tokens), All: g.chance(2),
			For: g.upTo(g.base), Blocked: g.chance(4)})
	}
	return gs
}

func (g *generator) restore() *Restore {
	c := &Restore{}
	for range 1 + g.IntN(3) {
		g.count++
		s := LeaseState{Key: g.key(g.count), Lease: LeaseID{3, g.count}, Project: pick(g, "p", "q", "s", "w"),
			Class: pick(g, "interactive", "batch", "none"), Pool: pick(g, "a/x", "b/y"), Model: "m",
			Age: g.upTo(2 * g.base), Left: g.upTo(2*g.base) - g.base/4, TTL: g.base, Settled: g.chance(3)}
		s.Unsent, s.Ended = s.Settled && g.chance(4), g.upTo(s.Age)
		for _, c := range g.charges() {
			h := HeldCharge{Charge: c, Late: s.Settled && g.chance(3)}
			if s.Settled {
				h.Refunded = pick(g, 0, int64(g.IntN(50)))
			} else {
				h.Seen = pick(g, 0, int64(g.IntN(50)))
			}
			s.Charges = append(s.Charges, h)
		}
		if g.chance(4) {
			s.Lease = g.lease()
		}
		g.open = append(g.open, s.Lease)
		c.Leases = append(c.Leases, s)
	}
	return c
}

// next gives a command and its time. nextAt is when the engine has something to do.
func (g *generator) next(nextAt Time) (Command, Time) {
	switch n := g.IntN(40); {
	case n < 12:
	case n < 30:
		g.now += Time(g.upTo(g.base / 10))
	case n < 34:
		g.now += Time(g.upTo(g.base))
	case n < 36 && nextAt < g.now+Time(24*time.Hour):
		g.now = max(g.now, nextAt+Time(g.IntN(3)-1))
	case n == 36 && g.chance(4):
		g.now += Time(g.upTo(48 * time.Hour))
	}
	now := g.now
	if g.chance(40) {
		now -= Time(g.upTo(time.Hour)) // a clock that jumps back
	}
	if g.replicas > 0 && g.chance(12) {
		switch g.IntN(5) {
		case 0:
			return &Upgrade{uint32(g.IntN(3))}, now
		case 1, 2:
			return &Loss{uint64(1 + g.IntN(3)), g.chance(2)}, now
		}
		return &Join{g.process(), 1}, now
	}
	if g.hits && g.chance(4) {
		return g.counted(), now
	}
	switch n := g.IntN(100); {
	case n < 42:
		return g.acquire(), now
	case n < 52:
		return g.repeat(), now
	case n < 70:
		c := &Release{Lease: g.lease(), Outcome: pick(g, Used, Used, Used, Unknown, Unsent), Actual: g.actual()}
		if g.chance(20) {
			c.Gates = g.gates()
		}
		return c, now
	case n < 76:
		return &Report{Lease: g.lease(), Actual: g.actual()}, now
	case n < 79:
		return &Report{Gates: g.gates()}, now
	case n < 83:
		return &Renew{Leases: []LeaseID{g.lease(), g.lease()}}, now
	case n < 92:
		a := g.recent()
		return &Cancel{Key: a.Key, Lease: a.Lease, Departure: pick(g, Away, Gone)}, now
	case n < 95 && !g.calm && g.chance(2):
		g.config = g.reconfigure()
		return g.config, now
	case n < 97 && !g.calm:
		return g.restore(), now
	case n < 98:
		return &Join{Incarnation: uint64(g.IntN(3)), Behaviour: 1}, now
	}
	return &Tick{}, now
}

// learn takes note of what the engine answered.
func (g *generator) learn(events []Event) {
	for i := range events {
		if events[i].Kind == Granted && !events[i].Again {
			g.open = append(g.open, events[i].Lease)
		}
	}
}
