package top

import "strings"

// A Palette says how much a terminal can show beside letters.
type Palette int

const (
	// Plain is text alone.
	Plain Palette = iota
	// Mono may be bold or reversed, but has no colors: for NO_COLOR.
	Mono
	// Color has the eight colors of every terminal.
	Color
)

// A style is how a piece of text looks: any of these together.
type style uint8

const (
	bold style = 1 << iota
	faint
	reverse
	caution // yellow
	alarm   // red
	over    // white on red
)

var escapes = []struct {
	of    style
	code  string
	color bool
}{
	{bold, "1", false},
	{faint, "2", false},
	{reverse, "7", false},
	{caution, "33", true},
	{alarm, "31", true},
	{over, "97;41", true},
}

// usage is the style of a utilization: from 80, 90 and 100 % on.
func usage(part float64) style {
	switch {
	case part >= 1:
		return over | bold
	case part >= high:
		return alarm
	case part >= elevated:
		return caution
	}
	return 0
}

const (
	elevated = 0.8
	high     = 0.9
)

// paint puts a style around a text.
func (p Palette) paint(s style, text string) string {
	var set []string
	for _, c := range escapes {
		if s&c.of != 0 && (p == Color || p == Mono && !c.color) {
			set = append(set, c.code)
		}
	}
	if len(set) == 0 || text == "" {
		return text
	}
	return "\x1b[" + strings.Join(set, ";") + "m" + text + "\x1b[m"
}

// A piece is text of one style.
type piece struct {
	text  string
	style style
}

// A line is what stands in one line of the screen.
type line []piece

// draw makes the line exactly that wide. A width of 0 is no bound: then spaces at the end
// are left out.
func (l line) draw(width int, p Palette, also style) string {
	var b strings.Builder
	left := width
	for i, part := range l {
		text := part.text
		if width > 0 {
			text = cut(text, left)
			left -= widthOf(text)
		} else if i == len(l)-1 {
			text = strings.TrimRight(text, " ")
		}
		b.WriteString(p.paint(part.style|also, text))
	}
	if width > 0 {
		b.WriteString(p.paint(also, strings.Repeat(" ", left)))
	}
	if p == Plain {
		return strings.TrimRight(b.String(), " ")
	}
	return b.String()
}
