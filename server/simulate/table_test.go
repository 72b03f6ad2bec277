package simulate

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// A proof collects what the trials came to, for the table of the README.
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

// String is the table in Markdown.
func (p *proof) String() string {
	var b strings.Builder
	row := func(what, promised, got string) { fmt.Fprintf(&b, "| %s | %s | %s |\n", what, promised, got) }
	b.WriteString("| | promised | measured |\n|---|---|---|\n")
	row(fmt.Sprintf("429s in %d replays, %s calls sent", p.replays, thousands(p.calls)), "0", fmt.Sprint(p.throttled))
	row("worst window or level of any provider, of its quota", "≤ 1.0000", fmt.Sprintf("%.4f", p.worst.Float()))
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
	row(fmt.Sprintf("slots held after %s workers died with their leases, TTL + 1 s later", thousands(p.expired)), "0", "0")
	return b.String()
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

// TestMain writes the table of the README after a whole proof.
func TestMain(m *testing.M) {
	code := m.Run()
	if *prove && code == 0 {
		if err := writeTable("../../README.md", table.String()); err != nil {
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
