package limiter

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestScenarios plays the transcripts in testdata/scenarios. In each, a line is a comment
// (#), a command, or (indented) what the engine said to the command above it. With -update
// the answers are written anew.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			p := &player{t: t, e: New(), begun: Time(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC).UnixNano()), leases: map[string]LeaseID{}, names: map[LeaseID]string{},
				others: map[string]*Engine{}, numbers: map[uint64]uint64{}}
			var got strings.Builder
			for line := range strings.Lines(string(text)) {
				if strings.HasPrefix(line, " ") {
					continue
				}
				got.WriteString(line)
				for _, answer := range p.play(strings.TrimSpace(line)) {
					got.WriteString("    " + answer + "\n")
				}
			}
			if *updateFlag {
				if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(text); got.String() != want && !*updateFlag {
				t.Errorf("%s differs:\n%s", path, firstDifference(got.String(), want))
			}
		})
	}
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\n got %s\nwant %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}

// A player turns lines into commands.
type player struct {
	t      *testing.T
	e      *Engine
	begun  Time
	now    Time // since begin
	config Configure
	count  uint64
	leases map[string]LeaseID // the latest of a key
	names  map[LeaseID]string

	others  map[string]*Engine // what other processes know, by name
	numbers map[uint64]uint64  // of the batches of a process
}

// words are the arguments of a line: name=value, or a name alone.
type words map[string]string

func (p *player) play(line string) []string {
	fields := strings.Fields(line)
	if len(fields) == 0 || fields[0] == "#" {
		return nil
	}
	verb, name, args := fields[0], "", words{}
	rest := fields[1:]
	if len(rest) > 0 && !strings.Contains(rest[0], "=") {
		name, rest = rest[0], rest[1:]
	}
	for _, f := range rest {
		k, v, _ := strings.Cut(f, "=")
		args[k] = v
	}
	if at, ok := args["at"]; ok {
		p.now = Time(p.span(at))
	}
	if from, ok := args["from"]; ok { // begins an entry of that process; again: a late copy of its latest
		if !p.begin(uint64(p.number(from)), args) {
			return []string{"a late copy"}
		}
	}
	if said, ok := p.playLog(verb, name, args); ok {
		return said
	}
	switch verb {
	case "class", "pool", "project", "limit":
		p.describe(verb, name, args)
		return nil
	case "configure": // cold=… and kept=… count for the first
		p.config.Generation++
		if args["after_loss"] == "exact" {
			p.config.AfterLoss = ExactRollCall
		}
		p.config.ColdStart = ColdStart(max(0, slices.Index([]string{"trust", "pace", "wait"}, args["cold"])))
		if args["kept"] != "" {
			p.config.Kept = p.span(args["kept"])
		}
		c, _, _ := new(Decoder).Command(AppendCommand(nil, &p.config)) // a copy
		return p.apply(c)
	case "forget": // a limit of the next configuration
		for i := range p.config.Pools {
			p.config.Pools[i].Limits = slices.DeleteFunc(p.config.Pools[i].Limits, func(l LimitSpec) bool { return l.Name == name })
		}
		return nil
	case "acquire":
		return p.apply(p.acquire(name, args))
	case "release":
		c := &Release{Lease: p.leases[name], Actual: p.charges(args)}
		if _, ok := args["unsent"]; ok {
			c.Outcome = Unsent
		} else if _, ok := args["unknown"]; ok {
			c.Outcome = Unknown
		}
		return p.apply(c)
	case "report":
		return p.apply(&Report{Lease: p.leases[name], Actual: p.charges(args)})
	case "gate":
		return p.apply(&Report{Gates: []Gate{{Pool: name, All: true, For: p.span(args["for"]), Blocked: args["blocked"] != ""}}})
	case "renew":
		return p.apply(&Renew{[]LeaseID{p.leases[name]}})
	case "cancel":
		c := &Cancel{Key: scenarioKey(name), Lease: p.leases[name]}
		if _, ok := args["gone"]; ok {
			c.Departure = Gone
		}
		return p.apply(c)
	case "tick":
		return p.apply(&Tick{})
	case "show":
		return p.show(name)
	case "snapshot":
		p.e = p.copy()
		return nil
	}
	p.t.Fatalf("unknown verb in %q", line)
	return nil
}

func (p *player) copy() *Engine {
	e, err := Load(p.e.Snapshot(nil))
	if err != nil {
		p.t.Fatal(err)
	}
	return e
}

func (p *player) begin(process uint64, args words) bool {
	if _, ok := args["again"]; !ok {
		p.numbers[process]++
	}
	return p.e.Begin(process, p.numbers[process], p.begun+p.now)
}

// playLog plays what has to do with processes and with losses.
func (p *player) playLog(verb, name string, args words) (said []string, ok bool) {
	switch verb {
	case "heartbeat":
		return p.apply(&Tick{}), true
	case "join":
		return p.apply(&Join{Incarnation: uint64(p.number(args["from"])), Behaviour: 1}), true
	case "loss":
		_, restores := args["restores"]
		return p.apply(&Loss{History: uint64(p.number(args["history"])), Restores: restores}), true
	case "keep": // what somebody knows from here on, who reads no longer
		p.others[name] = p.copy()
		return nil, true
	case "swap": // from here on the engine is the other
		p.e, p.others[name] = p.others[name], p.e
		return nil, true
	case "restore": // what the other knows
		lost := p.others[name].Lost(p.e, nil)
		for i := range lost {
			s := &lost[i]
			said = append(said, fmt.Sprintf("lost %s age=%v left=%v settled=%v", p.names[s.Lease], s.Age, s.Left, s.Settled))
		}
		return append(said, p.apply(&Restore{lost})...), true
	case "processes":
		for _, o := range p.e.Peers(nil) {
			s := fmt.Sprintf("process %d number=%d heard=%v waiting=%d", o.Incarnation, o.Number, (p.begun + p.now).Sub(o.Heard), o.Waiting)
			if p.e.Missing(o.Incarnation) {
				s += " missing"
			}
			said = append(said, s)
		}
		if since, missing, underWay := p.e.RollCall(); underWay {
			said = append(said, fmt.Sprintf("roll call since=%v missing=%d", time.Duration(since-p.begun), missing))
		}
		return said, true
	}
	return nil, false
}

func (p *player) span(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func (p *player) number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func scenarioKey(name string) (k Key) { copy(k[:], name); return k }

func (p *player) describe(verb, name string, args words) {
	number := func(k string) int {
		if args[k] == "" {
			return 0
		}
		return int(p.number(args[k]))
	}
	_, paced := args["paced"]
	switch verb {
	case "class":
		p.config.Classes = append(p.config.Classes, ClassSpec{Name: name, Weight: number("weight"), Reserve: uint32(number("reserve_ppm")), MaxWaiting: number("max_waiting"), Paced: paced})
	case "pool":
		p.config.Pools = append(p.config.Pools, PoolSpec{Name: name, Was: args["was"], Models: []string{"m"}, StartWithin: time.Second})
	case "project":
		s := ProjectSpec{Name: name, Weight: max(1, number("weight"))}
		if p.config.MaxProjects = 100; name == "*" {
			s.Name, p.config.Template = "", &s
		} else {
			p.config.Projects = append(p.config.Projects, s)
		}
	case "limit":
		p.limit(name, args, int64(number("quota")), int64(number("burst")))
	}
}

// limit adds a limit, or changes the one of that name, in the scope that it names.
func (p *player) limit(name string, args words, quota, burst int64) {
	s := LimitSpec{Name: name, Quota: quota, Burst: burst, Was: args["was"]}
	s.Metric, _ = BuiltinMetric(strings.TrimRight(name, "0123456789"))
	s.Shape = Shape(max(0, slices.Index([]string{"window", "bucket", "day", "stock"}, args["shape"])))
	if args["window"] != "" {
		s.Window = p.span(args["window"])
	}
	if args["jitter"] != "" {
		s.Jitter = p.span(args["jitter"])
	}
	scope := &p.config.Limits
	for i := range p.config.Pools {
		if p.config.Pools[i].Name == args["pool"] {
			scope = &p.config.Pools[i].Limits
		}
	}
	for i := range p.config.Projects {
		if p.config.Projects[i].Name == args["project"] {
			scope = &p.config.Projects[i].Limits
		}
	}
	if i := slices.IndexFunc(*scope, func(l LimitSpec) bool { return l.Name == name }); i >= 0 {
		(*scope)[i] = s
		return
	}
	*scope = append(*scope, s)
}

// charges reads metric=amount; output is counted when it is produced, refundable tokens
// are given back.
func (p *player) charges(args words) (cs []Charge) {
	for m, name := range metricNames {
		if v, ok := args[name]; ok {
			c := Charge{Metric(m), ToPool | ToOwner, p.number(v)}
			if c.Metric == OutputTokens {
				c.Flags |= OnCompletion
			} else if _, ok := args["refundable"]; ok {
				c.Flags |= Refundable
			}
			cs = append(cs, c)
		}
	}
	return cs
}

func (p *player) acquire(name string, args words) Command {
	p.count++
	c := &Acquire{Key: scenarioKey(name), Lease: LeaseID{1, p.count}, Project: "p", Class: "standard", Arrived: p.begun + p.now, MaxWait: time.Hour, TTL: time.Hour}
	if args["project"] != "" {
		c.Project = args["project"]
	}
	if args["class"] != "" {
		c.Class = args["class"]
	}
	if args["wait"] != "" {
		c.MaxWait = p.span(args["wait"])
	}
	if args["ttl"] != "" {
		c.TTL = p.span(args["ttl"])
	}
	if args["from"] != "" {
		c.Lease.Incarnation = uint64(p.number(args["from"]))
	}
	if args["by"] != "" {
		c.Lease.Incarnation = uint64(p.number(args["by"]))
	}
	for i, pool := range strings.Split(args["pool"], ",") {
		tg := Target{Pool: pool, Model: "m", Rank: uint8(i), Charges: p.charges(args)}
		if i > 0 && args["above"] != "" {
			tg.Above = uint16(p.number(args["above"]))
		}
		c.Targets = append(c.Targets, tg)
	}
	p.leases[name] = c.Lease
	p.names[c.Lease] = name
	return c
}

func (p *player) apply(c Command) (said []string) {
	for _, ev := range p.e.Apply(c, p.begun+p.now, nil) {
		said = append(said, p.say(&ev))
	}
	return said
}

var eventNames = []string{"", "granted", "queued", "refused", "settled", "renewed", "not found", "expired", "lapsed", "reported"}

var reasonNames = []string{"", "too_large", "queue_full", "wait_too_long", "gated", "provider_blocked", "no_target", "unknown_project", "unknown_class", "too_many_projects"}

func (p *player) say(ev *Event) string {
	name := p.names[ev.Lease]
	s := eventNames[ev.Kind] + " " + name
	add := func(format string, args ...any) { s += " " + fmt.Sprintf(format, args...) }
	switch ev.Kind {
	case Granted:
		p.leases[name] = ev.Lease
		add("pool=%s waited=%v start_within=%v", ev.Pool, ev.Waited, ev.StartWithin)
		if ev.Again {
			add("again")
		}
	case Queued, Refused:
		if ev.Reason != NoReason {
			add("%s", reasonNames[ev.Reason])
		}
		if ev.RetryAfter >= 0 {
			add("retry_after=%v", ev.RetryAfter)
		}
		for _, id := range ev.Binding[:ev.Bindings] {
			l, _ := p.e.Limit(id)
			add("by %s/%s", l.Owner, l.Spec.Name)
		}
	case Settled:
		if ev.Late {
			add("late")
		}
		add("refunds=%d debts=%d", ev.Refunds, ev.Debts)
	case Renewed:
		add("left=%v", ev.Left)
	}
	return s
}

// show tells how limits stand and who waits.
func (p *player) show(pool string) (said []string) {
	for _, l := range p.e.Limits(p.begun + p.now) {
		if l.Owner == pool || pool == "" {
			said = append(said, fmt.Sprintf("%s/%s held=%d reserved=%d remaining=%d", l.Owner, l.Spec.Name, l.Held, l.Reserved, l.Remaining))
		}
	}
	_, waiting := p.e.Counts()
	next := "never"
	if at := p.e.NextAt(); at != Never {
		next = time.Duration(at - p.begun - p.now).String()
	}
	return append(said, fmt.Sprintf("waiting=%d next=%s", waiting, next))
}
