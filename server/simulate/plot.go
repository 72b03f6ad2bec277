package simulate

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// mostLines is how many limits the plot shows, the most used.
const mostLines = 4

// WritePlot draws the outcome as SVG: use of the limits, the queue, and the waits, over time.
func (o *Outcome) WritePlot(w io.Writer) error {
	span := max(o.result.Span, o.ended, bin)
	p := newPlot(o.Report.title(), o.Report.subtitle(), span)
	o.plotUse(p, span)
	o.plotQueue(p)
	o.plotWaits(p)
	return p.writeTo(w)
}

func (r *Report) subtitle() string {
	s := fmt.Sprintf("%s, %s; jitter %s–%s, seed %d", r.Organization, r.asked(), span(r.JitterMin.Duration()), span(r.JitterMax.Duration()), r.Seed)
	if r.Stretch != 1 {
		s += fmt.Sprintf(", times × %.3g", r.Stretch)
	}
	if r.All.BackOff != nil {
		s += "; dashed: the same fleet by back-off alone (" + r.SDK + ")"
	}
	return s
}

// plotUse draws what the latest window held of each limit.
func (o *Outcome) plotUse(p *plot, span time.Duration) {
	uses := slices.Clone(o.Report.Limits)
	slices.SortStableFunc(uses, func(a, b LimitUse) int { return cmp.Compare(b.Watermaster.Used, a.Watermaster.Used) })
	uses = slices.DeleteFunc(uses, func(u LimitUse) bool { return u.Window.Duration() > mostSustained })
	title := "use of the quota, latest window"
	if n := len(uses) - mostLines; n > 0 {
		uses = uses[:mostLines]
		title += fmt.Sprintf(" (the %d most used of %d limits)", mostLines, mostLines+n)
	}
	most := 1.05 // so that the line at 100 % is not the frame
	var lines []line
	for k, u := range uses {
		i := slices.Index(o.standins[u.Pool].Names, u.Limit)
		name := u.Limit
		if len(o.pools) > 1 {
			name = u.Pool + " " + name
		}
		ours := line{name: name, color: palette[k%len(palette)], points: windowUse(o.providers[u.Pool], i, span)}
		if o.baseline != nil {
			theirs := windowUse(o.baseline.providers[u.Pool], i, span)
			lines = append(lines, line{color: ours.color, dashed: true, points: theirs})
			most = max(most, highest(theirs))
		}
		lines = append(lines, ours)
		most = max(most, highest(ours.points))
	}
	ticks, top := niceTicks(most * 100)
	a := p.panel(title, func(v float64) float64 { return v * 100 / top })
	for _, v := range ticks {
		a.tick(v/100, fmt.Sprintf("%g %%", v), v == 100)
	}
	for _, l := range lines {
		a.line(l)
		if l.name != "" {
			a.legend(l.name, l.color)
		}
	}
}

// windowUse gives what the window that ends there held against the quota, the most in each of the
// plot's steps.
func windowUse(p *provider.Provider, limit int, span time.Duration) (points []point) {
	l := p.Report().Limits[limit]
	quota, bins := float64(l.Quota), int((l.Window+bin-1)/bin)
	if l.Shape == provider.Stock {
		quota, bins = quota*float64(bin), 1
	} else if whole := time.Duration(bins) * bin; whole != l.Window {
		quota *= float64(whole) / float64(l.Window)
	}
	step := stepOf(span)
	var sum int64
	most := 0.0
	for b := range int(span / bin) {
		sum += p.Amount(limit, time.Duration(b)*bin, time.Duration(b+1)*bin)
		if b >= bins {
			sum -= p.Amount(limit, time.Duration(b-bins)*bin, time.Duration(b-bins+1)*bin)
		}
		most = max(most, float64(sum)/quota)
		if end := time.Duration(b+1) * bin; end%step == 0 {
			points = append(points, point{end, most})
			most = 0
		}
	}
	return points
}

// stepOf is how far the points of a plot are apart: whole bins, about 500 of them.
func stepOf(span time.Duration) time.Duration {
	return max(1, (span/500+bin-1)/bin) * bin
}

// plotQueue stacks what waits, the heaviest class at the bottom.
func (o *Outcome) plotQueue(p *plot) {
	t := o.result.Timeline
	step := stepOf(o.result.Span)
	stacks := make([][]point, len(t.Classes))
	most := 0.0
	for b := int(step/bin) - 1; b < len(t.Samples); b += int(step / bin) {
		var sum float64
		for i, n := range t.Samples[b].Waiting {
			sum += float64(n)
			stacks[i] = append(stacks[i], point{time.Duration(b+1) * bin, sum})
		}
		most = max(most, sum)
	}
	ticks, top := niceTicks(max(most, 1))
	a := p.panel("calls that wait, stacked by class", func(v float64) float64 { return v / top })
	for _, v := range ticks {
		a.tick(v, short(v), false)
	}
	for i := len(stacks) - 1; i >= 0; i-- {
		var below []point
		if i > 0 {
			below = stacks[i-1]
		}
		a.area(stacks[i], below, classColor(i))
		a.legend(t.Classes[i], classColor(i))
	}
}

// waitTicks are those of the waits, which go from nothing to hours.
var waitTicks = []time.Duration{
	10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour,
}

// plotWaits draws the p99 of each minute, logarithmically.
func (o *Outcome) plotWaits(p *plot) {
	t := o.result.Timeline
	lines := make([]line, len(t.Classes))
	most := time.Second
	for i, name := range t.Classes {
		lines[i] = line{name: name, color: classColor(i)}
		for m, minute := range t.Minutes {
			if minute[i].Calls > 0 {
				at := min(time.Duration(m)*time.Minute+time.Minute/2, o.result.Span)
				lines[i].points = append(lines[i].points, point{at, minute[i].P99.Seconds()})
				most = max(most, minute[i].P99)
			}
		}
	}
	low, ticks := math.Log10(waitTicks[0].Seconds()), waitTicks[:3]
	for len(ticks) < len(waitTicks) && ticks[len(ticks)-1] < most {
		ticks = waitTicks[:len(ticks)+1]
	}
	high := math.Log10(max(most, ticks[len(ticks)-1]).Seconds())
	a := p.panel("wait, p99 of the calls that were served in each minute (logarithmic; up to 10 ms at the bottom)", func(v float64) float64 {
		return (math.Log10(max(v, waitTicks[0].Seconds())) - low) / (high - low)
	})
	for _, d := range ticks {
		a.tick(d.Seconds(), shortSpan(d), false)
	}
	for i := len(lines) - 1; i >= 0; i-- {
		a.line(lines[i])
		a.legend(lines[i].name, lines[i].color)
	}
}

func highest(points []point) (most float64) {
	for _, p := range points {
		most = max(most, p.value)
	}
	return most
}
