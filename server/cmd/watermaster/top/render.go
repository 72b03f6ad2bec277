package top

import (
	"fmt"
	"time"
)

// Lines that are always there: two above the table, its titles, and one below.
const (
	headLines  = 2
	titleLines = 1
	footLines  = 1
)

// Render draws a screen: exactly height lines, each of exactly width columns (with Plain,
// less the spaces at the end), and escapes as the palette says. Both are ≥ 1.
func Render(s State, width, height int) []string {
	screen := make([]string, 0, height)
	put := func(l line, also style) {
		if len(screen) < height {
			screen = append(screen, l.draw(width, s.Palette, also))
		}
	}
	rows := s.rows()
	for _, l := range s.head(rows, width) {
		put(l, 0)
	}
	var details []line
	seen := s.room(rows, height)
	switch {
	case s.Help:
		for _, l := range help {
			put(line{{l, 0}}, 0)
		}
	case s.Replicas && s.Headroom != nil:
		for _, l := range fold(replicas(s.Headroom.GetLog(), s.Age), height-len(screen)-footLines) {
			put(l, 0)
		}
	case len(rows) == 0:
		put(line{{s.nothing(), 0}}, 0)
	default:
		s.scroll(rows, seen)
		marked := s.marked(rows)
		of, gap := place(rows, width)
		put(titles(of, gap), 0)
		for i := s.Offset; i < min(len(rows), s.Offset+seen); i++ {
			look := style(0)
			if i == marked {
				look = reverse
			}
			put(rows[i].tell(of, gap), look)
		}
		if s.Details {
			details = rows[marked].details(width)
		}
	}
	for _, l := range fold(details, height-len(screen)-footLines) {
		put(l, 0)
	}
	for len(screen) < height-footLines {
		put(nil, 0)
	}
	screen = screen[:min(len(screen), max(0, height-footLines))]
	put(s.foot(rows, seen, width), 0)
	return screen
}

// room is how many limits a screen has room for. The details take at most half of it.
func (s *State) room(rows []row, height int) int {
	n := height - headLines - titleLines - footLines
	if s.Details && len(rows) > 0 {
		n -= min(n/2, len(rows[s.marked(rows)].details(0)))
	}
	return max(1, n)
}

// nothing says why there are no limits to see.
func (s *State) nothing() string {
	switch {
	case s.Headroom == nil:
		return "waiting for the server's first answer"
	case len(s.Headroom.GetLimits()) == 0:
		return "no limit is configured, or none is selected by --account, --pool and --project"
	}
	return fmt.Sprintf("no scope or limit has %q in its name: / changes the filter, esc clears it", clean(s.Filter))
}

// head is the organization in one line, and the connection in another.
func (s *State) head(rows []row, width int) []line {
	return []line{s.summary(rows, width), s.connection()}
}

func (s *State) summary(rows []row, width int) line {
	if s.Headroom == nil {
		return line{{"watermaster top", bold}}
	}
	used, closed := 0, 0
	longest := time.Duration(0)
	for i := range rows {
		if rows[i].limit.GetUtilization() >= high {
			used++
		}
		if len(rows[i].limit.GetGates()) > 0 {
			closed++
		}
		longest = max(longest, rows[i].longest)
	}
	parts := []piece{
		{clean(s.Headroom.GetOrganization()), bold},
		{s.Headroom.GetTime().AsTime().In(s.zone()).Format(time.TimeOnly), 0},
	}
	if used > 0 {
		parts = append(parts, piece{fmt.Sprintf("%d at ≥90%%", used), alarm})
	}
	if closed > 0 {
		parts = append(parts, piece{fmt.Sprintf("%d closed", closed), caution})
	}
	if longest > 0 {
		parts = append(parts, piece{"longest wait " + duration(longest), 0})
	}
	parts = append(parts, sharing(s.Headroom.GetLog())...)
	parts = append(parts, piece{count(len(s.Headroom.GetLimits()), "limit"), 0},
		piece{fmt.Sprintf("revision %d", s.Headroom.GetConfigRevision()), faint})
	return inOneLine(parts, width)
}

// inOneLine puts as many parts beside each other as fit; the first always, cut to half of the
// line if need be.
func inOneLine(parts []piece, width int) (l line) {
	left := width
	for i, p := range parts {
		if i > 0 {
			if widthOf(p.text)+2 > left {
				break
			}
			l = append(l, piece{"  ", 0})
			left -= 2
		} else {
			p.text = squeeze(p.text, min(width, max(16, width/2)))
		}
		l = append(l, p)
		left -= widthOf(p.text)
	}
	return l
}

func count(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

func (s *State) connection() line {
	switch {
	case s.Trouble != "":
		text := "reconnecting; "
		if s.Headroom != nil {
			text += "as of " + duration(s.Age) + " ago; "
		}
		return line{{text + clean(s.Address) + ": " + clean(s.Trouble), alarm | bold}}
	case !s.Connected:
		return line{{clean(s.Address) + ": connecting", 0}}
	}
	return line{{clean(s.Address), faint}}
}

// foot tells the keys, or has the filter that is being typed.
func (s *State) foot(rows []row, seen, width int) line {
	if s.Typing {
		return line{{"filter: ", bold}, {clean(s.Filter), 0}, {" ", reverse}, {"  enter keeps it, esc clears it", faint}}
	}
	if s.Help {
		return line{{"? goes back  q quits", faint}}
	}
	if s.Replicas {
		return line{{"r goes back  q quits  ? helps", faint}}
	}
	var parts []piece
	parts = append(parts, piece{"q quits", faint}, piece{"? helps", faint})
	if n := len(rows); n > seen {
		parts = append(parts, piece{fmt.Sprintf("%d-%d of %d", s.Offset+1, min(n, s.Offset+seen), n), 0})
	}
	if s.Filter != "" {
		parts = append(parts, piece{"only " + clean(s.Filter), bold})
	}
	order := s.Order
	if order == "" {
		order = ByUse
	}
	parts = append(parts, piece{"by " + string(order) + " (u n w)", faint}, piece{"c consumers", faint}, piece{"/ filters", faint})
	if s.Headroom.GetLog() != nil {
		parts = append(parts, piece{"r replicas", faint})
	}
	return inOneLine(parts, width)
}
