package simulation

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A change is made in a file of the repository, where what is old stands once.
type change struct{ file, old, new string }

// planted are the rules of the log, each left out in turn: the simulation has to find every
// one within so many seeds of a mix.
var planted = []struct {
	rule    string
	mix     string
	seeds   int
	changes []change
}{
	{"1: the keys expire by the sender's wall clock", "clockW", 100, []change{{
		"store/redis/append.go", "		commands = append(commands, more...)\n",
		`		for i := range more {
			more[i] = []any{"pexpireat", more[i][1], (batch.Claim.Wall + int64(batch.Hold)) / 1e6}
		}
		commands = append(commands, more...)
`,
	}}},
	{"2: a lease is named by the engine's counter", "split", 1000, []change{{
		"limiter/pump.go", "	known := len(e.leases)\n", "	e.seq++\n	t.lease = LeaseID{1, e.seq}\n	known := len(e.leases)\n",
	}}},
	{"3: a cancel is obeyed though another process was asked", "none", 1000, []change{{
		"limiter/acquire.go", " && !t.shared:", ":",
	}, {
		"limiter/acquire.go", " || e.sender != 0 && e.sender != c.Lease.Incarnation {", " {",
	}}},
	{"4: the charge of an unclaimed grant is given back when it is asked for again", "pause", 1000, []change{{
		"limiter/acquire.go", "	delete(e.keys, t.key)\n	t.keyed = false\n	return false",
		"	if t.state == ticketOpen {\n		e.settle(t, Unsent, nil)\n	}\n	delete(e.keys, t.key)\n	t.keyed = false\n	return false",
	}}},
	{"5: what an answer is late counts as waited", "stutter", 3000, []change{{
		"server/replica/simulation/call.go", "answerGrant, ev.Lease, ev.Pool, ev.StartWithin,",
		"answerGrant, ev.Lease, ev.Pool, startWithin + n.replica.Now().Sub(c.acquire.Arrived),",
	}}},
	{"6: a claim counts though its sender has missed a join", "clockpause", 1000, []change{{
		"store/redis/timeline.go", "	case e.claim.Base == t.base:", "	default:",
	}}},
	{"7: servers are not told apart", "failback,burstback,failover", 1000, []change{{
		"server/replica/simulation/transport.go", "	if identity == before {", "	if before != \"\" {",
	}, {
		"store/redis/load.go", "historyOf(text(5), server)", "historyOf(text(5), \"\")",
	}}},
	{"8: a log with one key is not begun anew", "evict", 100, []change{{
		"server/replica/simulation/script.go", "ok && len(xrange(log, at, at).([]any)) == 1 {", "ok && at != \"\" || log != nil {",
	}}},
	{"9: whoever finds the log missing begins it at once", "evict", 300, []change{{
		"store/redis/contest.go", "	created, echo := s.contest.enter()\n", "	if l != nil {\n		return nil\n	}\n	created, echo := s.contest.enter()\n",
	}}},
	{"10: what was settled is not restored", "burstwipe,burstfail", 1000, []change{{
		"limiter/lost.go", "		case known == nil && e.matters(t):", "		case known == nil && t.state == ticketOpen:",
	}}},
	{"11: what is restored has the times of the former log", "clockwipe", 3000, []change{{
		"limiter/lost.go", "		s.Left = max(1, t.until.Sub(e.now)) //", "		s.Left = time.Duration(t.until) //",
	}, {
		"limiter/lost.go", "Age: e.now.Sub(t.granted), TTL: t.ttl,", "Age: time.Duration(t.granted), TTL: t.ttl,",
	}, {
		"limiter/restore.go", "		s := &c.Leases[i]\n", "		s := &c.Leases[i]\n		s.Age = e.now.Sub(Time(s.Age))\n		s.Left = Time(s.Left).Sub(e.now)\n",
	}}},
	{"12: a wipe is taken for idleness", "wipefresh", 1000, []change{{
		"store/redis/load.go", "max(0, time.Duration(ns))", "max(time.Hour, time.Duration(ns))",
	}}},
	{"13: the margin is divided among those that are seen", "marginpart", 1000, []change{{
		"server/replica/simulation/solo.go", "	s.engine.Leave(", "	seen := settings(w.margin)\n	seen.MaxReplicas = n.seen()\n	s.engine.Leave(",
	}, {
		"server/replica/simulation/solo.go", "		Organization: settings(w.margin),", "		Organization: seen,",
	}, {
		"server/replica/simulation/solo.go", "// seek looks for", `func (n *node) seen() (count int) {
	for _, p := range n.engine.Peers(nil) {
		if p.Heard.Add(3*time.Second) > n.replica.Now() {
			count++
		}
	}
	return max(1, count)
}

// seek looks for`,
	}}},
	{"counters are not put back", "hitlate,hitfail,hitwipe", 1000, []change{{
		"server/replica/load.go", "	first = append(first, recounts...)\n", "	_ = recounts\n",
	}}},
	{"no roll call", "lateswitch,burstlate", 1000, []change{{
		"limiter/rollcall.go", "r.underWay, r.since, r.until, r.missing = c.History, true,", "r.underWay, r.since, r.until, r.missing = c.History, false,",
	}}},
	{"no Restore", "burstwipe,burstfail", 300, []change{{
		"server/replica/load.go", "	lost, in := r.missing()\n", "	lost, in := r.missing()\n	lost = lost[:0]\n",
	}}},
	{"Redis's clock is trusted", "clockR", 300, []change{{
		"store/redis/timeline.go", "		t.move(t.time+store.Time(t.elapsed(e)), e)\n", "		t.move(store.Time(e.Major)*1e6, e)\n",
	}, {
		"store/redis/timeline.go", "		t.move(e.claim.Time, e)\n", "		t.move(store.Time(e.Major)*1e6, e)\n",
	}}},
	{"a batch is sent again under another number", "lossy", 300, []change{{
		"server/replica/commit.go", "		r.sleep(pause)\n", "		r.sleep(pause)\n		if b.Number != 0 {\n			r.number++\n			b.Number = r.number\n		}\n",
	}}},
	{"a batch is applied as often as it is there", "lossy", 300, []change{{
		"limiter/process.go", "	e.watch()\n	return fresh\n", "	e.watch()\n	return fresh || true\n",
	}}},
}

// TestPlanted plants one bug at a time into the code that is simulated.
func TestPlanted(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the simulation once for each bug")
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`-mix (\w+) -from (\d+) -seeds 1: (.*)`)
	for _, p := range planted {
		t.Run(p.rule, func(t *testing.T) {
			start := time.Now()
			binary := build(t, root, p.changes)
			run := exec.Command(binary, "-test.run", "^TestSeeds$", "-mix", p.mix, "-seeds", strconv.Itoa(p.seeds), "-stop") //nolint:gosec // it is built here
			out, err := run.CombinedOutput()
			if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			first := found.FindStringSubmatch(string(out))
			switch {
			case first != nil:
				t.Logf("found by mix %s, seed %s, after %.1f s: %s", first[1], first[2], time.Since(start).Seconds(), first[3])
			case strings.Contains(string(out), "panic in "):
				t.Logf("found by a panic, after %.1f s", time.Since(start).Seconds())
			default:
				t.Errorf("not found by %d seeds of mix %s:\n%s", p.seeds, p.mix, out)
			}
		})
	}
}

// build builds the simulation with changes.
func build(t *testing.T, root string, changes []change) (binary string) {
	t.Helper()
	dir := t.TempDir()
	texts := map[string]string{}
	for _, c := range changes {
		path := filepath.Join(root, filepath.FromSlash(c.file))
		if _, read := texts[path]; !read {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = string(text)
		}
		if n := strings.Count(texts[path], c.old); n != 1 {
			t.Fatalf("%s holds %d times, and not once:\n%s", c.file, n, c.old)
		}
		texts[path] = strings.Replace(texts[path], c.old, c.new, 1)
	}
	replace := map[string]string{}
	for path, text := range texts {
		replace[path] = filepath.Join(dir, strconv.Itoa(len(replace))+".go")
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "planted.test")
	c := exec.Command("go", "test", "-vet=off", "-overlay", list, "-c", "-o", binary, ".") //nolint:gosec // likewise
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("with the bug it does not build:\n%s", out)
	}
	return binary
}
