package top

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A column is one thing that is told of every limit.
type column struct {
	title string
	// Of two columns the one of the lower rank stays when there is no room for both.
	rank int
	// Set for numbers.
	right bool
	// How narrow it may get: while there is room for more columns, and at all. 0: no
	// narrower than its texts.
	comfort, least int
	cell           func(*row) piece
}

const scopeTitle = "SCOPE"

// essential columns are there at any width that they fit into.
const essential = 3

const (
	barWidth   = 8
	sparkWidth = 10 // of six minutes each
	// From this width on there are two spaces between columns.
	spacious = 140
)

// columns are all of them, from left to right.
var columns = []column{
	{title: scopeTitle, rank: 2, comfort: 24, least: 8, cell: func(r *row) piece { return piece{r.scope, 0} }},
	{title: "LIMIT", rank: 0, comfort: 14, least: 8, cell: func(r *row) piece { return piece{r.name, 0} }},
	{title: "QUOTA", rank: 7, right: true, cell: quota},
	{title: "USED", rank: 8, right: true, cell: amountOf(func(r *row) int64 { return r.limit.GetHeld() })},
	{title: "RESERVED", rank: 12, right: true, cell: amountOf(func(r *row) int64 { return r.limit.GetReserved() })},
	{title: "LEFT", rank: 6, right: true, cell: amountOf(func(r *row) int64 { return r.limit.GetRemaining() })},
	{title: "USE", rank: 1, right: true, cell: func(r *row) piece {
		return piece{pad(percent(r.limit.GetUtilization()), len("100%"), true), usage(r.limit.GetUtilization())}
	}},
	{title: "", rank: 5, cell: func(r *row) piece {
		return piece{bar(r.limit.GetUtilization(), barWidth), usage(r.limit.GetUtilization()) &^ over}
	}},
	{title: "LAST HOUR", rank: 10, cell: func(r *row) piece { return piece{sparkline(r.limit.GetTrend(), sparkWidth), 0} }},
	{title: "%/H", rank: 13, right: true, cell: func(r *row) piece { return piece{slope(r.limit.GetTrend().GetSlopePerHour()), 0} }},
	{title: "FULL IN", rank: 11, right: true, cell: fullIn},
	{title: "WAIT", rank: 3, right: true, cell: func(r *row) piece {
		if r.waiting == 0 {
			return piece{"-", faint}
		}
		return piece{amount("", r.waiting), bold}
	}},
	{title: "LONGEST", rank: 9, right: true, cell: func(r *row) piece {
		if r.waiting == 0 {
			return piece{"-", faint}
		}
		return piece{duration(r.longest), bold}
	}},
	{title: "GATE", rank: 4, cell: gate},
	{title: "WAITING BY CLASS", rank: 14, comfort: 24, least: 16, cell: byClass},
}

func amountOf(of func(*row) int64) func(*row) piece {
	return func(r *row) piece { return piece{amount(r.limit.GetMetric(), of(r)), 0} }
}

// quota tells the effective quota, and the configured one if it is another.
func quota(r *row) piece {
	full, effective := amount(r.limit.GetMetric(), r.limit.GetQuota()), amount(r.limit.GetMetric(), r.limit.GetEffectiveQuota())
	if full == effective {
		return piece{full, 0}
	}
	return piece{effective + "/" + full, 0}
}

func fullIn(r *row) piece {
	switch t := r.limit.GetTimeToExhaustion(); {
	case r.limit.GetRemaining() == 0:
		return piece{"full", bold}
	case t == nil:
		return piece{"-", faint}
	default:
		return piece{duration(t.AsDuration() - r.age), 0}
	}
}

// gate tells what closes the limit's pool the longest.
func gate(r *row) piece {
	var longest time.Duration
	word, look := "", caution
	for _, g := range r.limit.GetGates() {
		left := max(0, g.GetRemaining().AsDuration()-r.age)
		if g.GetBlocked() {
			word, look = "blocked", over|bold
		} else if word == "" {
			word = "closed"
		}
		longest = max(longest, left)
	}
	if word == "" {
		return piece{"-", faint}
	}
	if longest == 0 { // it may be open by now: the message is old
		return piece{word, look}
	}
	return piece{word + " " + duration(longest), look}
}

func byClass(r *row) piece {
	var list []string
	for _, c := range r.limit.GetByClass() {
		if c.GetWaiting() > 0 {
			list = append(list, fmt.Sprintf("%s %s ≤%s", clean(c.GetPriorityClass()), amount("", c.GetWaiting()),
				duration(c.GetLongestWait().AsDuration()+r.age)))
		}
	}
	if list == nil {
		return piece{"-", faint}
	}
	return piece{strings.Join(list, ", "), 0}
}

// A placed column has a width.
type placed struct {
	*column
	width int
	want  int // for all of every text
}

// place chooses the columns that fit into a width, and gives each its own. A width of 0 is
// no bound.
func place(rows []row, width int) (chosen []placed, gap int) {
	gap = 2
	if width > 0 && width < spacious {
		gap = 1
	}
	all := make([]placed, len(columns))
	for i := range columns {
		c := &columns[i]
		all[i] = placed{column: c, want: widthOf(c.title)}
		for j := range rows {
			all[i].want = max(all[i].want, widthOf(c.cell(&rows[j]).text))
		}
		all[i].width = all[i].want
	}
	if width == 0 {
		return all, gap
	}
	gates := slices.ContainsFunc(rows, func(r row) bool { return len(r.limit.GetGates()) > 0 })
	isEssential := func(p *placed) bool { return p.rank <= essential || gates && p.title == "GATE" }

	left := width + gap
	byRank := make([]*placed, len(all))
	for i := range all {
		byRank[i] = &all[i]
	}
	slices.SortFunc(byRank, func(a, b *placed) int { return a.rank - b.rank })
	taken := map[*placed]bool{}
	take := func(p *placed, w int) {
		if w+gap <= left {
			p.width, taken[p] = w, true
			left -= w + gap
		}
	}
	for _, p := range byRank {
		if isEssential(p) {
			take(p, p.bound(p.least))
		}
	}
	grow := func(to func(*placed) int) {
		for more := true; more; { // by one each, so that no long name takes all
			more = false
			for _, p := range byRank {
				if taken[p] && left > 0 && p.width < to(p) {
					p.width++
					left--
					more = true
				}
			}
		}
	}
	grow(func(p *placed) int { return p.bound(p.comfort) })
	for _, p := range byRank {
		if !taken[p] {
			take(p, p.bound(p.comfort))
		}
	}
	grow(func(p *placed) int { return p.want })
	for i := range all {
		if taken[&all[i]] {
			chosen = append(chosen, all[i])
		}
	}
	return chosen, gap
}

// bound is how wide it is if it need not be wider than n; 0 is no bound.
func (p *placed) bound(n int) int {
	if n == 0 {
		return p.want
	}
	return min(n, p.want)
}

// shortScope shortens a scope to a width: names matter more than what they are of.
func shortScope(s string, width int) string {
	if _, name, ok := strings.Cut(s, "/"); ok && widthOf(s) > width {
		s = name
	}
	return squeeze(s, width)
}

// titles is the line above the limits.
func titles(of []placed, gap int) line {
	l := make(line, 0, 2*len(of))
	for i, c := range of {
		if i > 0 {
			l = append(l, piece{strings.Repeat(" ", gap), 0})
		}
		l = append(l, piece{pad(cut(c.title, c.width), c.width, c.right), bold})
	}
	return l
}

// tell is the line of a limit.
func (r *row) tell(of []placed, gap int) line {
	l := make(line, 0, 2*len(of))
	for i, c := range of {
		if i > 0 {
			l = append(l, piece{strings.Repeat(" ", gap), 0})
		}
		p := c.cell(r)
		if c.title == scopeTitle {
			p.text = shortScope(p.text, c.width)
		} else if c.least > 0 {
			p.text = squeeze(p.text, c.width)
		}
		l = append(l, piece{pad(p.text, c.width, c.right), p.style})
	}
	return l
}
