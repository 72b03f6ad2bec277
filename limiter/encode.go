package limiter

// AppendCommand appends the encoding of a command. Commands follow each other without
// anything between them.
func AppendCommand(b []byte, c Command) []byte {
	w := writer{append(b, byte(c.kind()))}
	switch c := c.(type) {
	case *Acquire:
		w.acquire(c)
	case *Release:
		w.lease(c.Lease)
		w.b = append(w.b, byte(c.Outcome))
		w.charges(c.Actual)
		w.gates(c.Gates)
	case *Report:
		w.lease(c.Lease)
		w.charges(c.Actual)
		w.gates(c.Gates)
	case *Renew:
		w.uint(uint64(len(c.Leases)))
		for _, id := range c.Leases {
			w.lease(id)
		}
	case *Cancel:
		w.key(&c.Key)
		w.lease(c.Lease)
		w.b = append(w.b, byte(c.Departure))
	case *Tick:
	case *Configure:
		w.configure(c)
	case *Join:
		w.fixed(c.Incarnation)
		w.uint(uint64(c.Behaviour))
	case *Restore:
		w.uint(uint64(len(c.Leases)))
		for i := range c.Leases {
			w.leaseState(&c.Leases[i])
		}
	case *Loss:
		w.fixed(c.History)
		w.bool(c.Restores)
	case *Upgrade:
		w.uint(uint64(c.Behaviour))
	case *Leave:
		w.fixed(c.Incarnation)
		w.bool(c.Spent)
	case *Hit:
		w.hit(c)
	case *GiveBack:
		w.string(c.Project)
		w.string(c.Pool)
		w.charges(c.Charges)
	case *Recount:
		w.fixed(c.History)
		w.bool(c.Stranger)
		w.uint(uint64(len(c.Counters)))
		for i := range c.Counters {
			w.counterState(&c.Counters[i])
		}
	}
	return w.b
}

func (w *writer) acquire(c *Acquire) {
	w.key(&c.Key)
	w.lease(c.Lease)
	w.string(c.Project)
	w.string(c.Class)
	w.time(c.Arrived)
	w.span(c.MaxWait)
	w.span(c.TTL)
	w.uint(uint64(len(c.Targets)))
	for i := range c.Targets {
		t := &c.Targets[i]
		w.string(t.Pool)
		w.string(t.Model)
		w.b = append(w.b, t.Rank)
		w.uint(uint64(t.Above))
		w.charges(t.Charges)
	}
}

func (w *writer) hit(c *Hit) {
	w.bool(c.Always)
	w.uint(uint64(len(c.Counters)))
	for i := range c.Counters {
		x := &c.Counters[i]
		w.b = append(w.b, x.Counter[:]...)
		w.int(x.Quota)
		w.span(x.Window)
		w.int(x.Amount)
		w.b = append(w.b, byte(x.Mode))
	}
}

func (w *writer) counterState(s *CounterState) {
	w.b = append(w.b, s.Counter[:]...)
	w.span(s.Window)
	w.int(s.Ever)
	w.uint(uint64(len(s.Hits)))
	for _, h := range s.Hits {
		w.span(h.Age)
		w.int(h.Amount)
	}
}

func (w *writer) gates(gs []Gate) {
	w.uint(uint64(len(gs)))
	for i := range gs {
		w.string(gs[i].Pool)
		w.uint(uint64(gs[i].Metric))
		w.bool(gs[i].All)
		w.span(gs[i].For)
		w.bool(gs[i].Blocked)
	}
}

func (w *writer) leaseState(s *LeaseState) {
	w.key(&s.Key)
	w.lease(s.Lease)
	w.string(s.Project)
	w.string(s.Class)
	w.string(s.Pool)
	w.string(s.Model)
	w.span(s.Age)
	w.span(s.Left)
	w.span(s.TTL)
	w.bool(s.Settled)
	w.bool(s.Unsent)
	w.span(s.Ended)
	w.uint(uint64(len(s.Charges)))
	for i := range s.Charges {
		c := &s.Charges[i]
		w.uint(uint64(c.Metric))
		w.b = append(w.b, byte(c.Flags))
		w.int(c.Amount)
		w.int(c.Seen)
		w.int(c.Refunded)
		w.bool(c.Late)
	}
}

func (w *writer) configure(c *Configure) {
	version := byte(configureVersion)
	if c.AfterLoss != QuickRollCall {
		version = configureVersionLoss
	}
	w.b = append(w.b, version)
	w.int(c.Generation)
	w.fixed(c.Hash)
	w.limits(c.Limits)
	w.uint(uint64(len(c.Pools)))
	for i := range c.Pools {
		p := &c.Pools[i]
		w.string(p.Name)
		w.string(p.Was)
		w.uint(uint64(len(p.Models)))
		for _, m := range p.Models {
			w.string(m)
		}
		w.uint(uint64(len(p.Outputs)))
		for _, m := range p.Outputs {
			w.int(m.Mean)
			w.int(m.Variance)
		}
		w.span(p.StartWithin)
		w.limits(p.Limits)
	}
	w.uint(uint64(len(c.Projects)))
	for i := range c.Projects {
		w.project(&c.Projects[i])
	}
	w.bool(c.Template != nil)
	if c.Template != nil {
		w.project(c.Template)
	}
	w.int(int64(c.MaxProjects))
	w.uint(uint64(len(c.Classes)))
	for i := range c.Classes {
		k := &c.Classes[i]
		w.string(k.Name)
		w.int(int64(k.Weight))
		w.uint(uint64(k.Reserve))
		w.int(int64(k.MaxWaiting))
		w.bool(k.Paced)
	}
	w.int(int64(c.MaxWaiting))
	w.b = append(w.b, byte(c.ColdStart))
	w.span(c.Kept)
	if version >= configureVersionLoss {
		w.b = append(w.b, byte(c.AfterLoss))
	}
}

func (w *writer) project(p *ProjectSpec) {
	w.string(p.Name)
	w.string(p.Was)
	w.int(int64(p.Weight))
	w.limits(p.Limits)
}

func (w *writer) limits(ls []LimitSpec) {
	w.uint(uint64(len(ls)))
	for i := range ls {
		l := &ls[i]
		w.string(l.Name)
		w.string(l.Was)
		w.uint(uint64(l.Metric))
		w.b = append(w.b, byte(l.Shape))
		w.int(l.Quota)
		w.span(l.Window)
		w.int(l.Burst)
		w.uint(uint64(l.Margin))
		w.span(l.Jitter)
		w.b = append(w.b, byte(l.Period))
		w.uint(uint64(len(l.Zone)))
		for _, z := range l.Zone {
			w.time(z.From)
			w.int(int64(z.Seconds))
		}
	}
}

// A Decoder reads commands. What it returns is overwritten by its next call, so that
// decoding allocates nothing in the steady state.
type Decoder struct {
	names   map[string]string
	acquire Acquire
	release Release
	report  Report
	renew   Renew
	cancel  Cancel
	tick    Tick
	join    Join
	loss    Loss
	upgrade Upgrade
	left    Leave
	hit     Hit
	back    GiveBack
}

// Command reads one command and gives the bytes behind it. It is total: bytes that no
// encoder wrote give ErrCodec, never a panic.
func (d *Decoder) Command(b []byte) (c Command, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, ErrCodec
	}
	r := reader{b: b[1:], names: d.names}
	switch commandKind(b[0]) {
	case kindAcquire, kindAcquireUnpaced:
		r.acquire(&d.acquire)
		d.acquire.Unpaced = commandKind(b[0]) == kindAcquireUnpaced
		c = &d.acquire
	case kindRelease:
		x := &d.release
		x.Lease, x.Outcome = r.lease(), Outcome(r.byte())
		x.Actual, x.Gates = r.charges(x.Actual), r.gates(x.Gates)
		r.bad = r.bad || x.Outcome > Unknown
		c = x
	case kindReport:
		x := &d.report
		x.Lease = r.lease()
		x.Actual, x.Gates = r.charges(x.Actual), r.gates(x.Gates)
		c = x
	case kindRenew:
		d.renew.Leases = d.renew.Leases[:0]
		for n := r.length(9); n > 0; n-- {
			d.renew.Leases = append(d.renew.Leases, r.lease())
		}
		c = &d.renew
	case kindCancel:
		d.cancel = Cancel{r.key(), r.lease(), Departure(r.byte())}
		r.bad = r.bad || d.cancel.Departure > Gone
		c = &d.cancel
	case kindTick:
		c = &d.tick
	case kindConfigure:
		c = r.configure()
	case kindJoin:
		d.join = Join{r.fixed(), uint32(r.uint())}
		c = &d.join
	case kindRestore, kindRestoreCounted:
		x := &Restore{}
		for n := r.length(8); n > 0; n-- {
			x.Leases = append(x.Leases, r.leaseState(commandKind(b[0])))
		}
		c = x
	case kindLoss:
		d.loss = Loss{r.fixed(), r.bool()}
		c = &d.loss
	case kindUpgrade:
		d.upgrade = Upgrade{uint32(r.uint())}
		c = &d.upgrade
	case kindLeave:
		d.left = Leave{r.fixed(), r.bool()}
		c = &d.left
	case kindHit:
		r.hit(&d.hit)
		c = &d.hit
	case kindGiveBack:
		x := &d.back
		x.Project, x.Pool = r.string(), r.string()
		x.Charges = r.charges(x.Charges)
		c = x
	case kindRecount:
		x := &Recount{History: r.fixed(), Stranger: r.bool()}
		for n := r.length(20); n > 0; n-- {
			x.Counters = append(x.Counters, r.counterState())
		}
		c = x
	default:
		r.fail()
	}
	d.names = r.names
	if r.bad {
		return nil, nil, ErrCodec
	}
	return c, r.b, nil
}

func (r *reader) acquire(c *Acquire) {
	c.Key, c.Lease = r.key(), r.lease()
	c.Project, c.Class = r.string(), r.string()
	c.Arrived, c.MaxWait, c.TTL = r.time(), r.span(), r.span()
	n := r.length(5)
	for i := 0; i < n; i++ {
		if i == cap(c.Targets) {
			c.Targets = append(c.Targets[:i], Target{})
		}
		c.Targets = c.Targets[:i+1]
		t := &c.Targets[i]
		t.Pool, t.Model, t.Rank = r.string(), r.string(), r.byte()
		t.Above = uint16(min(r.uint(), 1<<16-1))
		t.Charges = r.charges(t.Charges)
	}
	c.Targets = c.Targets[:n]
}

func (r *reader) hit(c *Hit) {
	c.Always, c.Counters = r.bool(), c.Counters[:0]
	for n := r.length(20); n > 0; n-- {
		x := CounterHit{CounterID(r.key()), r.int(), r.span(), r.int(), HitMode(r.byte())}
		r.bad = r.bad || x.Mode > Quota
		c.Counters = append(c.Counters, x)
	}
}

func (r *reader) counterState() CounterState {
	s := CounterState{CounterID(r.key()), r.span(), r.int(), nil}
	for n := r.length(2); n > 0; n-- {
		s.Hits = append(s.Hits, CounterAge{r.span(), r.int()})
	}
	return s
}

func (r *reader) gates(gs []Gate) []Gate {
	gs = gs[:0]
	for n := r.length(5); n > 0; n-- {
		gs = append(gs, Gate{r.string(), r.metric(), r.bool(), r.span(), r.bool()})
	}
	return gs
}

// leaseState reads a lease as a Restore of that kind has it: the former one did not say how
// its charges had been counted.
func (r *reader) leaseState(kind commandKind) (s LeaseState) {
	s.Key, s.Lease = r.key(), r.lease()
	s.Project, s.Class, s.Pool, s.Model = r.string(), r.string(), r.string(), r.string()
	s.Age, s.Left, s.TTL, s.Settled = r.span(), r.span(), r.span(), r.bool()
	if kind == kindRestore {
		for _, c := range r.charges(nil) {
			s.Charges = append(s.Charges, HeldCharge{Charge: c})
		}
		return s
	}
	s.Unsent, s.Ended = r.bool(), r.span()
	for n := r.length(6); n > 0; n-- {
		s.Charges = append(s.Charges, HeldCharge{Charge{r.metric(), ChargeFlags(r.byte()), r.amount()}, r.amount(), r.amount(), r.bool()})
	}
	return s
}

func (r *reader) configure() *Configure {
	c := &Configure{}
	version := r.byte()
	if version == 0 || version > configureVersionLoss {
		r.fail()
		return c
	}
	c.Generation, c.Hash = r.int(), r.fixed()
	c.Limits = r.limits()
	for n := r.length(5); n > 0; n-- {
		p := PoolSpec{Name: r.string(), Was: r.string()}
		for m := r.length(1); m > 0; m-- {
			p.Models = append(p.Models, r.string())
		}
		for m := r.length(2); m > 0; m-- {
			p.Outputs = append(p.Outputs, Moments{r.int(), r.int()})
		}
		p.StartWithin, p.Limits = r.span(), r.limits()
		c.Pools = append(c.Pools, p)
	}
	for n := r.length(4); n > 0; n-- {
		c.Projects = append(c.Projects, r.project())
	}
	if r.bool() {
		t := r.project()
		c.Template = &t
	}
	c.MaxProjects = int(r.int())
	for n := r.length(5); n > 0; n-- {
		c.Classes = append(c.Classes, ClassSpec{r.string(), int(r.int()), uint32(r.uint()), int(r.int()), r.bool()})
	}
	c.MaxWaiting = int(r.int())
	c.ColdStart, c.Kept = ColdStart(r.byte()), r.span()
	if version >= configureVersionLoss {
		c.AfterLoss = LossPolicy(r.byte())
		r.bad = r.bad || c.AfterLoss > ExactRollCall
	}
	return c
}

func (r *reader) project() ProjectSpec {
	return ProjectSpec{r.string(), r.string(), int(r.int()), r.limits()}
}

func (r *reader) limits() (ls []LimitSpec) {
	for n := r.length(11); n > 0; n-- {
		l := LimitSpec{Name: r.string(), Was: r.string(), Metric: r.metric(), Shape: Shape(r.byte())}
		l.Quota, l.Window, l.Burst, l.Margin = r.int(), r.span(), r.int(), uint32(r.uint())
		l.Jitter, l.Period = r.span(), Period(r.byte())
		for z := r.length(2); z > 0; z-- {
			l.Zone = append(l.Zone, ZoneOffset{r.time(), int32(r.int())})
		}
		ls = append(ls, l)
	}
	return ls
}
