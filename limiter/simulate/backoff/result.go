package backoff

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/limiter/simulate/trace"
)

// A Result is what a fleet got.
type Result struct {
	Span time.Duration // until the last row
	End  time.Duration // until the last call was over

	Total    Group
	Classes  []Group // by name
	Projects []Group // by name

	Report   provider.Report
	Provider *provider.Provider // for Use and Amount
}

// A Group is what the rows of one class or project got. Counts are rows but for Throttled.
type Group struct {
	Name      string
	Offered   int64
	Served    int64
	Failed    int64 // the SDK gave up: Offered − Served
	TooLarge  int64 // of Failed: would never have fitted
	Throttled int64 // 429s
	Tokens    int64 // input and output of what was served

	// From the row's time until the provider admitted it, transit included; of those
	// that it did admit. Quantiles by nearest rank.
	Wait50, Wait99, WaitMax time.Duration
}

// FailedShare is the share of the rows that failed, 0 … 1.
func (g Group) FailedShare() float64 { return float64(g.Failed) / float64(max(g.Offered, 1)) }

func (g Group) String() string {
	return fmt.Sprintf("%s: offered %d, served %d, failed %d (%.1f %%, %d too large), 429s %d, waits p50 %v, p99 %v, max %v",
		g.Name, g.Offered, g.Served, g.Failed, 100*g.FailedShare(), g.TooLarge, g.Throttled,
		g.Wait50.Round(time.Millisecond), g.Wait99.Round(time.Millisecond), g.WaitMax.Round(time.Millisecond))
}

// String is a table for people to read; projects are left out.
func (r *Result) String() string {
	var b strings.Builder
	fmt.Fprintln(&b, r.Total)
	for _, g := range r.Classes {
		fmt.Fprintln(&b, g)
	}
	b.WriteString(r.Report.String())
	return b.String()
}

// A count gathers a group.
type count struct {
	Group
	waits []time.Duration
}

type tally struct {
	total             *count
	classes, projects map[string]*count
}

func newTally() tally {
	return tally{&count{Group: Group{Name: "all"}}, map[string]*count{}, map[string]*count{}}
}

// each does something to every group of a row.
func (t *tally) each(row trace.Row, do func(*count)) {
	do(t.total)
	do(named(t.classes, row.Class))
	do(named(t.projects, row.Client))
}

func named(all map[string]*count, name string) *count {
	c := all[name]
	if c == nil {
		c = &count{Group: Group{Name: name}}
		all[name] = c
	}
	return c
}

func (c *count) group() Group {
	g := c.Group
	slices.Sort(c.waits)
	g.Wait50, g.Wait99, g.WaitMax = rank(c.waits, 50), rank(c.waits, 99), rank(c.waits, 100)
	return g
}

// rank is the least of sorted waits that percent of them do not exceed, 0 of none.
func rank(waits []time.Duration, percent int) time.Duration {
	if len(waits) == 0 {
		return 0
	}
	return waits[(len(waits)*percent+99)/100-1]
}

func groups(all map[string]*count) (gs []Group) {
	for _, c := range all {
		gs = append(gs, c.group())
	}
	slices.SortFunc(gs, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	return gs
}
