package top

import (
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"
)

// terminal has the widths that terminals use. The locale does not change them: bars and
// dots would become twice as wide.
var terminal = runewidth.Condition{StrictEmojiNeutral: true}

const ellipsis = "…"

// clean replaces what is not plainly visible: control characters could take over the
// terminal, and marks of direction could show one name as another.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Variation_Selector, r):
			return -1 // terminals disagree on how wide it makes what it follows
		case r == ' ' || unicode.IsGraphic(r) && !unicode.IsSpace(r) && r != unicode.ReplacementChar:
			return r
		}
		return '?'
	}, s)
}

// runeWidth gives the columns that a rune takes: 0, 1 or 2.
func runeWidth(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	return terminal.RuneWidth(r)
}

// widthOf gives the columns that a text takes.
func widthOf(s string) (n int) {
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// cut shortens a text to a width; its end becomes "…".
func cut(s string, width int) string {
	if widthOf(s) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	return head(s, width-1) + ellipsis
}

// squeeze shortens a name to a width. Its middle becomes "…": of pool/ACCOUNT/POOL both
// ends tell it from others.
func squeeze(s string, width int) string {
	if widthOf(s) <= width {
		return s
	}
	if width < 8 {
		return cut(s, width)
	}
	front := head(s, width/2)
	return front + ellipsis + tail(s, width-1-widthOf(front))
}

// head gives as much of the beginning as fits.
func head(s string, width int) string {
	for i, r := range s {
		if width -= runeWidth(r); width < 0 {
			return s[:i]
		}
	}
	return s
}

// tail gives as much of the end as fits. It does not begin with a mark that belongs to the
// letter before.
func tail(s string, width int) string {
	runes := []rune(s)
	from := len(runes)
	for i := len(runes) - 1; i >= 0; i-- {
		w := runeWidth(runes[i])
		if width -= w; width < 0 {
			break
		}
		if w > 0 {
			from = i
		}
	}
	return string(runes[from:])
}

// pad fills a text up to a width, at its left or right.
func pad(s string, width int, left bool) string {
	space := strings.Repeat(" ", max(0, width-widthOf(s)))
	if left {
		return space + s
	}
	return s + space
}
