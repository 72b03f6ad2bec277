package simulate

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// The palette is that of Okabe and Ito, which the colour-blind can tell apart; neutral is legible on
// white and on black.
var palette = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"}

const neutral = "#7a7a7a"

// classColor is the colour of a class, the heaviest first.
func classColor(i int) string { return palette[[...]int{1, 4, 5, 0, 2, 3}[i%6]] }

const (
	plotWidth   = 960
	plotLeft    = 64
	plotRight   = 20
	plotTop     = 70
	panelHeight = 170
	panelGap    = 62
	mostLegend  = 31 // letters of a name: four fit beside one another
	inner       = plotWidth - plotLeft - plotRight
)

// A plot is panels below one another over one axis of time.
type plot struct {
	title, subtitle string
	span            time.Duration
	panels          []*axes
}

func newPlot(title, subtitle string, span time.Duration) *plot {
	return &plot{title: title, subtitle: subtitle, span: span}
}

type point struct {
	at    time.Duration
	value float64
}

type line struct {
	name, color string
	dashed      bool
	points      []point
}

// axes are one panel.
type axes struct {
	plot    *plot
	top     int
	scale   func(float64) float64 // 0 at the bottom … 1 at the top
	back    bytes.Buffer          // grid and texts
	front   bytes.Buffer
	legendX int
}

// panel begins the next panel.
func (p *plot) panel(title string, scale func(float64) float64) *axes {
	a := &axes{plot: p, top: plotTop + 22 + len(p.panels)*(panelHeight+panelGap), scale: scale, legendX: plotLeft}
	p.panels = append(p.panels, a)
	text(&a.back, plotLeft, float64(a.top-24), "start", "font-weight='600'", title)
	for _, t := range timeTicks(p.span) {
		x := a.x(t)
		fmt.Fprintf(&a.back, "<line x1='%.1f' y1='%d' x2='%.1f' y2='%d' stroke='%s' stroke-opacity='.25'/>\n", x, a.top, x, a.top+panelHeight, neutral)
		text(&a.back, x, float64(a.top+panelHeight+14), "middle", "", shortSpan(t))
	}
	fmt.Fprintf(&a.back, "<rect x='%d' y='%d' width='%d' height='%d' fill='none' stroke='%s' stroke-opacity='.5'/>\n", plotLeft, a.top, inner, panelHeight, neutral)
	return a
}

func (a *axes) x(t time.Duration) float64 {
	return plotLeft + inner*float64(t)/float64(a.plot.span)
}

func (a *axes) y(v float64) float64 {
	return float64(a.top) + panelHeight*(1-min(max(a.scale(v), 0), 1))
}

// tick draws a line across; strong for the one that matters.
func (a *axes) tick(v float64, name string, strong bool) {
	opacity, width := ".25", "1"
	if strong {
		opacity, width = "1", "1.5"
	}
	y := a.y(v)
	fmt.Fprintf(&a.back, "<line x1='%d' y1='%.1f' x2='%d' y2='%.1f' stroke='%s' stroke-opacity='%s' stroke-width='%s'/>\n",
		plotLeft, y, plotLeft+inner, y, neutral, opacity, width)
	text(&a.back, plotLeft-6, y+4, "end", "", name)
}

func (a *axes) line(l line) {
	style := "stroke-width='1.6'"
	if l.dashed {
		style = "stroke-width='1.2' stroke-dasharray='4 3' stroke-opacity='.85'"
	}
	if len(l.points) == 1 { // a line of one point is none
		fmt.Fprintf(&a.front, "<circle cx='%.1f' cy='%.1f' r='2' fill='%s'/>\n", a.x(l.points[0].at), a.y(l.points[0].value), l.color)
	}
	fmt.Fprintf(&a.front, "<polyline fill='none' stroke='%s' %s points='%s'/>\n", l.color, style, a.path(l.points))
}

// area fills between two lines; below may be nil, which is the bottom.
func (a *axes) area(above, below []point, color string) {
	if len(above) == 0 {
		return
	}
	back := []point{{above[len(above)-1].at, 0}, {above[0].at, 0}}
	if below != nil {
		back = back[:0]
		for i := len(below) - 1; i >= 0; i-- {
			back = append(back, below[i])
		}
	}
	fmt.Fprintf(&a.front, "<polygon fill='%s' fill-opacity='.8' points='%s %s'/>\n", color, a.path(above), a.path(back))
}

func (a *axes) path(points []point) string {
	var b strings.Builder
	for i, p := range points {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%.1f,%.1f", a.x(p.at), a.y(p.value))
	}
	return b.String()
}

// legend names a colour, in a row above the panel.
func (a *axes) legend(name, color string) {
	if r := []rune(name); len(r) > mostLegend {
		name = "…" + string(r[len(r)-mostLegend+1:])
	}
	y := a.top - 9
	fmt.Fprintf(&a.back, "<line x1='%d' y1='%d' x2='%d' y2='%d' stroke='%s' stroke-width='3'/>\n", a.legendX, y, a.legendX+18, y, color)
	text(&a.back, float64(a.legendX+23), float64(y+4), "start", "font-size='11'", name)
	a.legendX += 23 + int(6.1*float64(len([]rune(name)))) + 14
}

func text(b *bytes.Buffer, x, y float64, anchor, style, s string) {
	fmt.Fprintf(b, "<text x='%.1f' y='%.1f' text-anchor='%s' %s>", x, y, anchor, style)
	escape(b, s)
	b.WriteString("</text>\n")
}

func escape(b *bytes.Buffer, s string) {
	_ = xml.EscapeText(b, []byte(s)) // a buffer does not fail
}

func (p *plot) writeTo(w io.Writer) error {
	height := plotTop + 22 + len(p.panels)*(panelHeight+panelGap) - panelGap + 34
	var b bytes.Buffer
	fmt.Fprintf(&b, "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' viewBox='0 0 %d %d' font-family='system-ui, sans-serif' font-size='12' fill='%s'>\n",
		plotWidth, height, plotWidth, height, neutral)
	b.WriteString("<title>")
	escape(&b, p.title)
	b.WriteString("</title>\n")
	text(&b, plotLeft, 22, "start", "font-size='14' font-weight='600'", p.title)
	text(&b, plotLeft, 40, "start", "", p.subtitle)
	for _, a := range p.panels {
		b.Write(a.back.Bytes())
		b.Write(a.front.Bytes())
	}
	b.WriteString("</svg>\n")
	_, err := w.Write(b.Bytes())
	return err
}

// timeTicks are about eight round times.
func timeTicks(span time.Duration) (ticks []time.Duration) {
	steps := []time.Duration{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600}
	step := steps[len(steps)-1] * time.Second
	for _, s := range steps {
		if s *= time.Second; span/s <= 10 {
			step = s
			break
		}
	}
	for span/step > 10 {
		step *= 2
	}
	for t := time.Duration(0); t <= span; t += step {
		ticks = append(ticks, t)
	}
	return ticks
}

// niceTicks are round values from 0 up to the least round one that is not below most.
func niceTicks(most float64) (ticks []float64, top float64) {
	step := math.Pow10(int(math.Floor(math.Log10(most))))
	for _, f := range []float64{0.2, 0.25, 0.5, 1, 2} {
		if f*step >= 1 && most/(f*step) <= 5 {
			step *= f
			break
		}
	}
	for v := 0.0; v < most+step; v += step {
		ticks = append(ticks, v)
	}
	return ticks, ticks[len(ticks)-1]
}

// short writes a count.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%gk", v/1e3)
	}
	return fmt.Sprintf("%g", v)
}

// shortSpan writes a round duration: 10ms, 90s, 1h30m.
func shortSpan(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
