package simulate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// A proof collects what the trials came to, for the tables of PROOF.md and, in short, of the README.
type proof struct {
	replays     int
	throttled   int64
	calls       int64
	worst       provider.Ratio
	usedLeast   map[string][2]float64 // least used and what was wanted, by case
	waitWorst   map[string]time.Duration
	over        [2]int
	unknownUsed map[string]float64
	shares      map[string][2]float64
	expired     int64
}

var table = proof{
	worst: provider.Ratio{Quota: 1}, usedLeast: map[string][2]float64{}, waitWorst: map[string]time.Duration{},
	unknownUsed: map[string]float64{}, shares: map[string][2]float64{},
}

func large(o *outcome) string {
	if mooncake(o.trace) {
		return ", requests up to a tenth of the quota"
	}
	return ""
}

func (p *proof) never(o *outcome, w provider.Ratio) {
	p.replays++
	p.throttled += o.Throttled
	for _, c := range o.Classes {
		p.calls += c.Served
	}
	if w.Amount*p.worst.Quota > p.worst.Amount*w.Quota {
		p.worst = w
	}
}

func (p *proof) used(o *outcome, used, want float64) {
	key := fmt.Sprintf("%s, reserve %d %%%s", o.shape, o.reserve, large(o))
	if l, ok := p.usedLeast[key]; !ok || used < l[0] {
		p.usedLeast[key] = [2]float64{used, want}
	}
}

func (p *proof) waits(file string, load float64, shape string, reserve int, wait time.Duration) {
	key := fmt.Sprintf("%s, reserve %d %%", shape, reserve)
	p.waitWorst[key] = max(p.waitWorst[key], wait)
}

func (p *proof) unknown(o *outcome, over, windows int, used float64) {
	p.over[0] += over
	p.over[1] += windows
	key := "used" + large(o)
	if l, ok := p.unknownUsed[key]; !ok || used < l {
		p.unknownUsed[key] = used
	}
}

func (p *proof) share(name string, share float64) {
	l, ok := p.shares[name]
	if !ok {
		l = [2]float64{share, share}
	}
	p.shares[name] = [2]float64{min(l[0], share), max(l[1], share)}
}

func (p *proof) crashes(n int64) { p.expired = n }

// A sheet is a table in Markdown.
type sheet struct{ strings.Builder }

func (r *sheet) add(what, promised, got string) {
	if r.Len() == 0 {
		r.WriteString("| | promised | measured |\n|---|---|---|\n")
	}
	fmt.Fprintf(r, "| %s | %s | %s |\n", what, promised, got)
}

// neverRows is what both tables begin with.
func (p *proof) neverRows(r *sheet) {
	r.add(fmt.Sprintf("429s in %d replays, %s calls sent", p.replays, thousands(p.calls)), "0", fmt.Sprint(p.throttled))
	r.add("worst window or level of any provider, of its quota", "≤ 1.0000", fmt.Sprintf("%.4f", p.worst.Float()))
}

// crashRow is what both tables end with.
func (p *proof) crashRow(r *sheet) {
	r.add(fmt.Sprintf("slots held after %s workers died with their leases, TTL + 1 s later", thousands(p.expired)), "0", "0")
}

// summary is the table of the README: of each shape of the provider's windows the case that used least.
func (p *proof) summary() string {
	var r sheet
	p.neverRows(&r)
	least := map[string][2]float64{}
	for key, u := range p.usedLeast {
		shape, _, _ := strings.Cut(key, ",")
		if l, ok := least[shape]; !ok || u[0] < l[0] {
			least[shape] = u
		}
	}
	for _, shape := range sorted(least) {
		r.add("quota used while there is demand, in the worst case: "+shape, fmt.Sprintf("≥ %.3f", least[shape][1]), fmt.Sprintf("%.3f", least[shape][0]))
	}
	var wait time.Duration
	for _, w := range p.waitWorst {
		wait = max(wait, w)
	}
	r.add("interactive calls' p99 wait at 1.5 and 2 times the quota", "≤ 250 ms", fmt.Sprintf("%d ms", wait.Milliseconds()))
	p.crashRow(&r)
	return r.String()
}

// String is the whole table.
func (p *proof) String() string {
	var r sheet
	row := r.add
	p.neverRows(&r)
	for _, key := range sorted(p.usedLeast) {
		u := p.usedLeast[key]
		row("quota used while there is demand: "+key, fmt.Sprintf("≥ %.3f", u[1]), fmt.Sprintf("%.3f", u[0]))
	}
	for _, key := range sorted(p.waitWorst) {
		row("interactive calls' p99 wait at 1.5 and 2 times the quota: "+key, "≤ 250 ms", fmt.Sprintf("%d ms", p.waitWorst[key].Milliseconds()))
	}
	row("outputs unknown, counted as produced: windows over", "≤ 1 in 1,000", fmt.Sprintf("%d of %s", p.over[0], thousands(int64(p.over[1]))))
	for _, key := range sorted(p.unknownUsed) {
		row("outputs unknown: "+key, "≥ 0.78", fmt.Sprintf("%.3f", p.unknownUsed[key]))
	}
	for _, key := range sorted(p.shares) {
		within := "3 %"
		if key != "equal" {
			within = "5 %"
		}
		s := p.shares[key]
		row("backlogged projects' parts, "+key, "1 within "+within, fmt.Sprintf("%.3f … %.3f", s[0], s[1]))
	}
	p.crashRow(&r)
	return r.String()
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

const (
	tableBegins = "<!-- proof: written by make prove -->\n"
	tableEnds   = "<!-- end of proof -->\n"
)

// TestMain writes the tables after a whole proof.
func TestMain(m *testing.M) {
	code := m.Run()
	if *prove && code == 0 {
		if err := errors.Join(writeTable("PROOF.md", table.String()), writeTable("../../README.md", table.summary())); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func writeTable(file, text string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), tableBegins)
	_, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the table of proof", file)
	}
	return os.WriteFile(file, []byte(before+tableBegins+text+tableEnds+after), 0o644)
}

// TestTables: the README's table is that of PROOF.md in short, and both have a place where
// `make prove` writes.
func TestTables(t *testing.T) {
	whole, short := readTable(t, "PROOF.md"), readTable(t, "../../README.md")
	if len(short) < 4 || len(whole) < len(short) {
		t.Fatalf("the tables have %d and %d rows", len(whole), len(short))
	}
	for i, row := range short {
		name, figures, _ := strings.Cut(row, " | ")
		found := false
		for _, other := range whole {
			// A row of the summary is the worst of those with its name and more.
			what, rest, _ := strings.Cut(other, " | ")
			found = found || rest == figures && strings.HasPrefix(what, strings.Replace(name, ", in the worst case:", ":", 1))
		}
		if !found {
			t.Errorf("README.md, row %d: %s\nstands nowhere in PROOF.md: run make prove", i+1, row)
		}
	}
	file := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(file, []byte("above\n"+tableBegins+"old\n"+tableEnds+"below\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := proof{replays: 2, calls: 1234, worst: provider.Ratio{Amount: 1, Quota: 2}, expired: 7, usedLeast: map[string][2]float64{
		"round, reserve 0 %": {0.9, 0.8}, "round, reserve 5 %": {0.7, 0.6}, "square, reserve 0 %": {1, 0.9},
	}}
	if err := writeTable(file, p.summary()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"| 429s in 2 replays, 1,234 calls sent | 0 | 0 |",
		"| worst window or level of any provider, of its quota | ≤ 1.0000 | 0.5000 |",
		"| quota used while there is demand, in the worst case: round | ≥ 0.600 | 0.700 |",
		"| quota used while there is demand, in the worst case: square | ≥ 0.900 | 1.000 |",
		"| interactive calls' p99 wait at 1.5 and 2 times the quota | ≤ 250 ms | 0 ms |",
		"| slots held after 7 workers died with their leases, TTL + 1 s later | 0 | 0 |",
	}
	if got := readTable(t, file); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := writeTable("testdata/traces/README.md", ""); err == nil {
		t.Error("a page without a place for the table: want an error")
	}
}

// readTable gives the rows of the table of proof in a page.
func readTable(t *testing.T, file string) []string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), tableBegins)
	text, _, found := strings.Cut(rest, tableEnds)
	list := strings.Split(strings.TrimSpace(text), "\n")
	if !found || len(list) < 2 {
		t.Fatalf("%s has no table of proof", file)
	}
	return list[2:]
}
