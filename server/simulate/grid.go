package simulate

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A grid is aligned text: groups of columns beside one another, each under a title. The
// first column goes to the left, all others to the right.
type grid struct {
	groups []columnGroup
	rows   [][]string // nil: a rule
}

type columnGroup struct {
	title string
	names []string
}

func (t *grid) group(title string, names ...string) {
	t.groups = append(t.groups, columnGroup{title, names})
}

func (t *grid) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *grid) rule() { t.rows = append(t.rows, nil) }

const (
	between = "  "  // columns
	beside  = " │ " // groups
)

func (t *grid) write(w io.Writer) {
	widths := t.widths()
	var titles, names, rule []string
	i := 0
	for k, g := range t.groups {
		cells := widths[i : i+len(g.names)]
		whole := len(between) * (len(cells) - 1)
		for _, c := range cells {
			whole += c
		}
		titles = append(titles, pad(g.title, whole, true))
		rule = append(rule, strings.Repeat("─", whole))
		names = append(names, t.cells(g.names, cells, k == 0))
		i += len(g.names)
	}
	line := func(parts []string) { fmt.Fprintln(w, strings.TrimRight(strings.Join(parts, beside), " ")) }
	line(titles)
	line(names)
	for _, row := range t.rows {
		if row == nil {
			fmt.Fprintln(w, strings.Join(rule, "─┼─"))
			continue
		}
		var parts []string
		i := 0
		for k, g := range t.groups {
			parts = append(parts, t.cells(row[i:i+len(g.names)], widths[i:], k == 0))
			i += len(g.names)
		}
		line(parts)
	}
}

// widths are those of the columns; a title that is wider than its group widens its last one.
func (t *grid) widths() (widths []int) {
	for _, g := range t.groups {
		whole := len(between) * (len(g.names) - 1)
		for _, name := range g.names {
			n := utf8.RuneCountInString(name)
			for _, row := range t.rows {
				if row != nil {
					n = max(n, utf8.RuneCountInString(row[len(widths)]))
				}
			}
			widths = append(widths, n)
			whole += n
		}
		if more := utf8.RuneCountInString(g.title) - whole; more > 0 {
			widths[len(widths)-1] += more
		}
	}
	return widths
}

func (t *grid) cells(cells []string, widths []int, left bool) string {
	var parts []string
	for i, c := range cells {
		parts = append(parts, pad(c, widths[i], left && i == 0))
	}
	return strings.Join(parts, between)
}

func pad(s string, width int, left bool) string {
	space := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
	if left {
		return s + space
	}
	return space + s
}

// grouped writes a number with its thousands apart.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// percent writes a share.
func percent(x float64, digits int) string {
	return strconv.FormatFloat(100*x, 'f', digits, 64) + " %"
}

// span writes a duration with about three digits.
func span(d time.Duration) string {
	switch {
	case d == 0:
		return "0s"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d < time.Minute-50*time.Millisecond: // which rounds to less
		return d.Round(100 * time.Millisecond).String()
	}
	d = d.Round(time.Second)
	if d < time.Hour {
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
}
