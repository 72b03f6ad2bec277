package provider

import (
	"fmt"
	"strings"
	"time"
)

// A Report is what a provider has seen so far.
type Report struct {
	Totals
	Limits []LimitReport // the configured ones in order, each followed by its parts' limit
}

// Totals count calls.
type Totals struct {
	Calls       int64 // arrivals
	Accepted    int64
	Unfit       int64 // did not fit: refused, or with Lenient accepted nevertheless
	MaxInFlight int64
}

// Refused counts the calls that were not admitted.
func (t Totals) Refused() int64 { return t.Calls - t.Accepted }

// A LimitReport is what one limit has seen so far. Amounts are in its metric's unit.
type LimitReport struct {
	Limit
	Offered   int64 // asked on arrival, refused calls included
	Accepted  int64 // counted: admitted, produced and settled, less what was credited
	Throttled int64 // calls that this limit had no room for, alone or among others

	// Worst is the most that was accepted in any window (s, s+Window], whatever the
	// shape, against the quota, and WorstEnd where that window ends. Credits lower
	// the windows that end after them. For a stock, the most in flight.
	Worst    Ratio
	WorstEnd time.Duration

	// Peak is the most that the limit stood at by its own shape: a fixed window's sum, a
	// bucket's use (rounded up) against its burst. Counted refusals are in it.
	// Overdraws counts the charges that left it above: calls with Lenient, else output
	// and settlements, which cannot be refused.
	Peak      Ratio
	Overdraws int64
}

// A Ratio is an exact fraction of a quota.
type Ratio struct{ Amount, Quota int64 }

// Over says whether the amount exceeds the quota.
func (r Ratio) Over() bool { return r.Amount > r.Quota }

// Float is for people to read.
func (r Ratio) Float() float64 { return float64(r.Amount) / float64(r.Quota) }

func (r Ratio) String() string { return fmt.Sprintf("%d/%d (%.4f)", r.Amount, r.Quota, r.Float()) }

// Report tells what was seen until now.
func (p *Provider) Report() Report {
	r := Report{Totals: p.totals}
	for _, n := range p.lines {
		worst, end := n.record.worst()
		r.Limits = append(r.Limits, LimitReport{
			Limit: n.Limit, Offered: n.offered, Accepted: n.accepted, Throttled: n.throttled,
			Worst: Ratio{worst, n.Quota}, WorstEnd: time.Duration(end),
			Peak: Ratio{n.peak, n.bound()}, Overdraws: n.overdraws,
		})
	}
	return r
}

// InFlight is the number of calls in flight.
func (p *Provider) InFlight() int { return len(p.flights.calls) }

// Amount is what limit i of the report accepted from the bin that holds from until
// before the bin that holds to: exact where both are multiples of Config.Bin. What is
// credited lowers the bin of the charge; what a call produces counts when it is produced. For a stock it is call·ns.
func (p *Provider) Amount(i int, from, to time.Duration) int64 {
	return p.lines[i].record.between(p.now, int64(from), int64(to))
}

// Use is the share of what limit i allows over the bins of [from, to) that was accepted:
// 1 is the long-run rate, and a bucket that starts full can reach more. It is for people
// to read; Amount is exact. 0 where there is no whole bin.
func (p *Provider) Use(i int, from, to time.Duration) float64 {
	n := p.lines[i]
	span := float64((to/p.config.Bin - from/p.config.Bin) * p.config.Bin)
	if span <= 0 {
		return 0
	}
	used := float64(p.Amount(i, from, to)) / float64(n.Quota)
	if n.Shape == Stock {
		return used / span
	}
	return used * float64(n.Window) / span
}

// String is a table for people to read.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "calls %d, accepted %d, unfit %d, most in flight %d\n", r.Calls, r.Accepted, r.Unfit, r.MaxInFlight)
	for _, l := range r.Limits {
		fmt.Fprintf(&b, "%v: offered %d, accepted %d, throttled %d, worst window %v, peak %v, overdraws %d\n",
			l.Limit, l.Offered, l.Accepted, l.Throttled, l.Worst, l.Peak, l.Overdraws)
	}
	return b.String()
}
