//go:build mutants

package limiter

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// mutants are bugs as they are easily made: each is one change of one file, and the tests
// must notice every one of them. Run with
//
//	go test -tags mutants -run TestMutants -v ./limiter
var mutants = []struct{ name, file, old, new string }{
	{"refund into the newest entry", "window.go", "	e := w.at(number)\n	amount = min(amount, e.amount)", "	e := w.at(w.head + w.count - 1)\n	amount = min(amount, e.amount)"},
	{"refund of what has expired", "window.go", "	if number-w.head >= w.count {\n		return false", "	if number -= min(0, 1); w.count == 0 {\n		return false"},
	{"hold without the jitter", "limit.go", "r.hold = s.Window + s.Jitter", "r.hold = s.Window"},
	{"an entry held from its first charge", "window.go", "			e.last = max(e.last, now)\n", ""},
	{"no idempotency", "acquire.go", "t != nil && e.again(t, c)", "t != nil && t.state == ticketFree && e.again(t, c)"},
	{"no TTL", "pump.go", "e.timers.set(t, t.until)", "e.timers.set(t, Never)"},
	{"stocks kept past the TTL", "settle.go", "			if e.freeStock(t, &h) {", "			if t.shared && e.freeStock(t, &h) {"},
	{"a lease settles twice", "settle.go", "	if t.state != ticketSettled {\n		ev.Refunds", "	if t.state != ticketFree {\n		ev.Refunds"},
	{"debts dropped", "settle.go", "		l.charge(e.now, used-charged, t.class)\n	case used < charged:", "	case used < charged:"},
	{"unknown outcomes refunded", "settle.go", "case o == Unknown || !known:", "case !known:"},
	{"unsent means unused, whatever was reported", "settle.go", "return h.seen // what was reported was sent after all", "return 0"},
	{"reservation kept after release", "limit.go", "l.reserved = max(0, l.reserved-amount)", "l.reserved = max(0, l.reserved-amount/2)"},
	{"virtual time not lifted at activation", "queue.go", "	l.virtual = max(l.virtual, floor)\n", "	_ = floor\n"},
	{"idle time banked by a project", "queue.go", "	f.tag = max(f.tag, l.served)\n", ""},
	{"anybody passes a stopped head", "pump.go", "		if !l.stop.stops() && len(e.stopped) > 0 {", "		if !l.stop.stops() && len(e.stopped) > mostStopped {"},
	{"nobody passes a stopped head", "pump.go", "		if !l.stop.stops() && len(e.stopped) > 0 {\n			l.stop = e.guard(pl)", "		if !l.stop.stops() && len(e.stopped) > 0 {\n			l.stop = e.judge(p, e.stopped[0])"},
	{"pacer ignored", "limit.go pump.go", "	at := l.fitsAt(now, cost, l.room(class, cost))\n	if paced && l.pace > 0 {", "	at := l.fitsAt(now, cost, l.room(class, cost))\n	if paced && l.pace < 0 {"},
	{"reserve ignored", "limit.go", "	if c := r.caps[class]; cost <= c {\n		return c", "	if c := r.caps[class]; cost <= c {\n		return r.capacity"},
	{"bucket as if calls arrived at once", "limit.go", "mulDiv(burst, int64(s.Window), r.effective)-int64(s.Jitter))", "mulDiv(burst, int64(s.Window), r.effective))"},
	{"credits before the provider gives them", "bucket.go", "if e.last.Add(delay) >= now {", "if e.last >= now {"},
	{"a credit that wakes nobody", "limit.go", "			l.bucket.credits.add(", "			return false\n			l.bucket.credits.add("},
	{"midnight is sharp", "calendar.go", "		c.next += amount\n", "		c.next += amount - amount\n"},
	{"organization's limits forgotten", "pump.go", "	e.gatherFrom(e.limits, charges, ToOwner, variance)\n", ""},
	{"a parked project is not woken by its own release", "engine.go", "			if f != nil && f.state == flowParked {", "			if f != nil && f.state == flowReady {"},
	{"a newcomer unparks its project", "queue.go", "	if f.state != flowParked {\n		f.pool.ready(f)", "	if f.state != flowNone || f.first != nil {\n		f.pool.ready(f)"},
	{"parked until shared limits fit", "pump.go", "p.park(f, l.stop.ownAt)", "p.park(f, l.stop.at)"},
	{"a release that wakes nobody", "engine.go", "	case l.scope == ScopePool:\n		e.touch(e.poolNames[l.owner])", "	case l.scope == ScopePool:"},
	{"a head that leaves wakes nobody", "ticket.go", "		if wasHead {", "		if wasHead && p.waiting > 3 {"},
	{"those who are away are granted", "queue.go", "		if !pl.ticket.absent() {\n			return pl", "		if !pl.ticket.absent() || pl.next == nil {\n			return pl"},
	{"patience forgotten", "acquire.go", "	t.settleDown()\n	e.timers.set(t, t.until)", "	t.settleDown()\n	e.timers.set(t, t.until.Add(t.ttl))"},
	{"a cancel obeyed though another may have answered", "acquire.go", " && !t.shared:", ":"},
	{"the shorter gate wins", "gate.go", "if opens > o.opens {", "if opens < o.opens {"},
	{"a ramp that never ends", "gate.go", "return min(max(g.opens, g.clear), g.opens.Add(rampLength))", "return max(g.opens, g.clear)"},
	{"counters lost by a new configuration", "configure.go", "		l := find(r, r.Name)\n", "		l := find(r, r.Was)\n"},
	{"expired under the new rules", "configure.go", "			l.advance(e.now) // by", "			l.advance(0) // by"},
	{"log time runs backwards", "engine.go", "e.now = max(e.now, min(now, latest))", "e.now = min(now, latest)"},
	{"a map decides the order of the pools", "pump.go", "		for _, p := range e.pools {\n			if p.dirty", "		for _, p := range e.poolNames {\n			if p.dirty"},
	{"a snapshot without the pacer", "snapshot.go", "w.time(l.pacer.clear)", "w.time(l.pacer.clear * 0)"},
	{"a snapshot without who shared a key", "snapshot.go", "	w.bool(t.shared)\n", "	w.bool(t.away)\n"},
	{"a settlement that moves the queue wakes nobody", "settle.go", "	if ready.top() != top {", "	if ready.top() != top && by < 0 {"},
	{"a reservation that ends without refund wakes nobody", "settle.go", "	return true // if only", "	return used < h.amount // if only"},
	{"a second choice before its equals", "acquire.go", "		if better && diverted {", "		if (better || i > 0) && diverted {"},
	{"a long lease keeps idle projects from being forgotten", "project.go", "				e.listAppend(o)\n				continue\n", "				e.listAppend(o)\n				return nil, TooManyProjects\n"},
	{"a wait told too long for what others may take elsewhere", "queue.go", "	if places := t.places(); len(places) == 1 {", "	for i, pl := range t.places() {\n		if i > 0 {\n			pl.flow.addAhead(pl, 1)\n		}\n	}\n	if places := t.places(); len(places) >= 1 {"},
	{"a look changes a meter", "meter.go", "	m.turn(now, window)\n	m.slots[int(m.slot%meterSlots)*len(m.sums)+int(class)] -= amount", "	m.slots[int(m.slot%meterSlots)*len(m.sums)+int(class)] -= amount"},
	{"all output counted when the call began", "limit.go", "return l.window.addOver(since, now, now.Add(-l.hold), amount, l.span)", "return l.window.addAt(since, now, now.Add(-l.hold), amount, l.span)"},
	{"a bucket that forgets tokens when its quota changes", "configure.go", "			l.bucket.rescale(e.now, l.rule, r)\n", "			_ = r\n"},
	{"a counter holds a hit for ever so little longer", "counter.go", "return s.length - 1 }", "return s.length }"},
	{"all hits of a counter joined", "counter.go", "	if c.window.count >= exactHits {", "	if c.window.count >= 1 {"},
	{"the first hits are given back first", "counter.go", "		number := c.window.head + i - 1\n		part", "		number := c.window.head + c.window.count - i\n		part"},
	{"one that is over keeps none from being charged", "hit.go", "			refused = true", "			refused = len(h.Counters) == 1"},
	{"one quota that is over is enough", "hit.go", "quotas > 0 && spent == quotas", "spent > 0"},
	{"the second of a Hit is judged as if it were alone", "hit.go", "		used := h.before(i, e.events[first:])", "		used := h.before(0, e.events[first:])"},
	{"hits counted during a roll call", "hit.go", "n > MaxHits || e.call.underWay ||", "n > MaxHits ||"},
	{"all that somebody knows of a counter is added", "recount.go", "	missing := ever - known", "	missing := ever - known*0"},
	{"of a counter that is put back the oldest hits come first", "recount.go", "		rest -= s.Hits[last].amount()", "		rest -= s.Hits[len(s.Hits)-1-last].amount()"},
	{"a snapshot without what was told of a counter", "snapshot.go", "			w.int(c.told)", "			w.int(c.base)"},
	{"who cannot wait is paced", "acquire.go", "	t.unpaced = c.Unpaced\n", ""},
	{"a cold start trusted", "configure.go", "		e.beginCold(c.ColdStart, c.Kept)", "		e.beginCold(c.ColdStart*0, c.Kept)"},
	{"every configuration a cold start", "configure.go", "	if first {", "	if first || len(c.Pools) > 1 {"},
	{"a cold start in one lump", "cold.go", "l.window.add(now.Add(-ago), part, 0)", "l.window.add(now, part, 0)"},
	{"what is known ignored by a cold start", "cold.go", "ago >= kept && part > 0", "ago >= 0 && part > 0"},
	{"restored twice", "restore.go", "		if t := e.leases[s.Lease]; t != nil {", "		if t := e.leases[s.Lease]; t != nil && t.state == ticketSettled {"},
	{"nobody is silent", "process.go", "heardWithin   = 3 * time.Second", "heardWithin   = 300 * time.Second"},
	{"silent for ever", "process.go", "	if p.silent {\n		e.revive(p)", "	if p.silent && p.waiting == 0 {\n		e.revive(p)"},
	{"the silent keep their places", "process.go", "lapsesAfter   = 10 * time.Second", "lapsesAfter   = 10 * time.Minute"},
	{"revived in the wrong order", "process.go", "cmp.Compare(a.seq, b.seq) })\n	return own", "cmp.Compare(b.seq, a.seq) })\n	return own"},
	{"a silence that nobody looks for", "engine.go", "!p.silent && p.waiting < e.waiting {", "!p.silent && p.waiting > e.waiting {"},
	{"a late copy applied", "process.go", "	fresh := number > p.number\n", "	fresh := number >= p.number\n"},
	{"who only sends late copies is silent", "process.go", "	p.heard = e.now\n	if p.silent", "	if id != e.sender || p.number == 0 || p.silent || p.waiting == 0 {\n		p.heard = e.now\n	}\n	if p.silent"},
	{"a process with waiters forgotten", "process.go", "p.waiting > 0 || p.heard.Add(processKept) >= e.now", "p.heard.Add(processKept) >= e.now"},
	{"a place stays with a process that is gone", "acquire.go", "		t.silent = e.own(c.Lease.Incarnation, 1)\n	}\n", "		e.own(c.Lease.Incarnation, 1)\n	}\n"},
	{"granted in a roll call", "pump.go", "	if e.call.underWay {\n		p.nextAt = Never", "	if e.call.underWay && p.waiting > 2 {\n		p.nextAt = Never"},
	{"a roll call that waits for who began it", "rollcall.go", "p.missing = p != sender && ", "p.missing = "},
	{"a roll call over before its entry", "rollcall.go", "(r.missing > 0 || r.telling)", "r.missing > 0"},
	{"a roll call that wakes nobody", "rollcall.go", "	for _, p := range e.pools {\n		e.touch(p)\n	}\n", "	e.schedule()\n"},
	{"a roll call again for the same loss", "rollcall.go", "(!c.Restores || again)", "(!c.Restores || again && e.sender == 0)"},
	{"a roll call for the quick only", "rollcall.go", "		within = max(within, e.coldHold)\n", ""},
	{"granted before the loss is seen", "engine.go", "		e.lose(l) // before", "		e.pumpDue()\n		e.lose(l) // before"},
	{"a snapshot without batch numbers", "snapshot.go", "		w.uint(p.number)\n", "		w.uint(min(p.number, 1))\n"},
	{"a snapshot without who is missing", "snapshot.go", "		w.bool(p.missing)\n", "		w.bool(p.missing && p.silent)\n"},
	{"settled leases not restored", "lost.go", "return amount > 0 && latest.Add(l.hold) >= e.now", "return amount > 0 && t.state == ticketExpired && latest.Add(l.hold) >= e.now"},
	{"settlements not restored", "lost.go", "	case t.state == ticketSettled:\n		return true\n", "	case t.state == ticketSettled:\n		return t.unsent\n"},
	{"lives compared by the clock", "lost.go", "t.until.Sub(t.granted) > known.until.Sub(known.granted)", "t.until > known.until"},
	{"reports not restored", "lost.go", "	if t.seen == nil {\n		return false", "	if t.seen == nil || t.state == ticketOpen {\n		return false"},
	{"debts restored as of the grant", "restore.go", "			if h.late || h.flags&OnCompletion != 0 {", "			if h.flags&OnCompletion != 0 {"},
	{"restored as of now", "restore.go", "	t.granted = max(0, e.now.Add(-s.age()))", "	t.granted = max(0, e.now)"},
	{"a refund under way not restored", "restore.go", "l.Shape == TokenBucket && c.Refunded > 0", "l.Shape == Stock && c.Refunded > 0"},
	{"yesterday's charges restored as today's", "limit.go", "		if granted < l.calendar.begins {", "		if granted < 0 {"},
	{"who was granted in the lost tail waits on", "restore.go", "		case t.state == ticketOpen && t.pool != nil && e.now <=", "		case t.state == ticketExpired && t.pool != nil && e.now <="},
	{"a renewal extends for every replica that restores it", "restore.go", "switch until := t.granted.Add(s.life()); {", "switch until := e.now.Add(s.life()); {"},
}

var mutantFlag = flag.String("mutant", "", "plant only those whose names match")

func TestMutants(t *testing.T) {
	root := t.TempDir()
	sources, tests := copySources(t, root)
	if out, err := runTests(root); err != nil {
		t.Fatalf("the tests fail without any mutation:\n%s", out)
	}
	failed := regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)
	t.Logf("%d tests' files; %d mutants", tests, len(mutants))
	only := regexp.MustCompile(*mutantFlag)
	for _, m := range mutants {
		if !only.MatchString(m.name) {
			continue
		}
		start := time.Now()
		file := ""
		for _, f := range strings.Fields(m.file) {
			if strings.Count(sources[f], m.old) == 1 {
				file = f
			}
		}
		if file == "" {
			t.Errorf("%s: no longer to be found exactly once in %s", m.name, m.file)
			continue
		}
		path := filepath.Join(root, "limiter", file)
		write(t, path, strings.Replace(sources[file], m.old, m.new, 1))
		out, err := runTests(root)
		write(t, path, sources[file])
		caught := failed.FindAllStringSubmatch(out, -1)
		switch {
		case err == nil:
			t.Errorf("%-52s SURVIVED", m.name)
		case len(caught) == 0 && !strings.Contains(out, "panic:"):
			t.Errorf("%s: does not compile:\n%s", m.name, out)
		default:
			by := "a panic"
			if len(caught) > 0 {
				by = ""
				for _, c := range caught {
					by += c[1] + " "
				}
			}
			t.Logf("%-52s %5.1fs caught by %s", m.name, time.Since(start).Seconds(), by)
		}
	}
}

// copySources copies the package, with the tests that are to notice, into a module alone.
func copySources(t *testing.T, root string) (sources map[string]string, tests int) {
	sources = map[string]string{}
	if err := os.MkdirAll(filepath.Join(root, "limiter"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(root, "limiter", "testdata", "scenarios"), os.DirFS("testdata/scenarios")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "go.mod"), "module github.com/watermaster-project/watermaster\n\ngo 1.26\n")
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, "_test.go") {
			if strings.Contains(string(text), "package limiter_test") || f == "mutants_test.go" {
				continue
			}
			tests++
		} else {
			sources[f] = string(text)
		}
		write(t, filepath.Join(root, "limiter", f), string(text))
	}
	return sources, tests
}

func write(t *testing.T, path, text string) {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// runTests runs the tests that look for differences, the short ones.
func runTests(root string) (string, error) {
	cmd := exec.Command("go", "test", "-short", "-count=1", "-vet=off", "-timeout=60s", "-failfast",
		"-run", "^(TestEngineEqualsModel|TestSnapshotsAndBytesChangeNothing|TestScenarios|TestLostIsRestored|TestHit|TestHitNotYet|TestHitModel|TestRecount|TestUnpaced)$", "./limiter")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("go test: %w", err)
	}
	return string(out), nil
}
