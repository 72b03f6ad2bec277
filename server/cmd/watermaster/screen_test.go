//go:build unix

package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// A screen is what a terminal shows of what is written to it: the sequences of xterm that
// are used, for runes of one column. Whatever else comes is remembered as strange.
type screen struct {
	mu        sync.Mutex
	cells     [][]rune
	main      [][]rune // what was there before the alternate screen; nil if that is not shown
	x, y      int
	hidden    bool // the cursor
	strange   []string
	remaining []byte // of a sequence that has not ended
	changed   chan struct{}
}

func newScreen(width, height int) *screen {
	return &screen{cells: blank(width, height), changed: make(chan struct{}, 1)}
}

func blank(width, height int) [][]rune {
	cells := make([][]rune, height)
	for i := range cells {
		cells[i] = []rune(strings.Repeat(" ", width))
	}
	return cells
}

// resize cuts at the right and at the bottom; what runs on it is told, and draws anew.
func (s *screen) resize(width, height int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.cells
	s.cells = blank(width, height)
	for i := range min(height, len(old)) {
		copy(s.cells[i], old[i])
	}
	s.x, s.y = min(s.x, width-1), min(s.y, height-1)
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := make([]string, len(s.cells))
	for i, l := range s.cells {
		lines[i] = strings.TrimRight(string(l), " ")
	}
	return strings.Join(lines, "\n")
}

// restored says whether the terminal is as it was: the first screen, and a cursor.
func (s *screen) restored() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.main == nil && !s.hidden
}

// Write implements io.Writer.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remaining = append(s.remaining, b...)
	for len(s.remaining) > 0 {
		n := s.take(s.remaining)
		if n == 0 {
			break
		}
		s.remaining = s.remaining[n:]
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return len(b), nil
}

// take takes one rune or sequence, and tells its length; 0: it has not ended.
func (s *screen) take(b []byte) int {
	if b[0] != 0x1b {
		if !utf8.FullRune(b) {
			return 0
		}
		r, n := utf8.DecodeRune(b)
		s.put(r)
		return n
	}
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '[':
		for i := 2; i < len(b); i++ {
			if b[i] >= 0x40 {
				s.control(string(b[2:i]), b[i])
				return i + 1
			}
		}
		return 0
	case ']': // a title or a color
		if i := strings.IndexAny(string(b), "\a\\"); i > 0 {
			return i + 1
		}
		return 0
	case 'M':
		s.y = max(0, s.y-1)
	case '7', '8', '=', '>':
	default:
		s.strange = append(s.strange, fmt.Sprintf("%q", b[:2]))
	}
	return 2
}

func (s *screen) put(r rune) {
	width := len(s.cells[0])
	switch r {
	case '\r':
		s.x = 0
	case '\n':
		if s.y++; s.y == len(s.cells) {
			s.y--
			s.cells = append(s.cells[1:], blank(width, 1)...)
		}
	case '\b':
		s.x = max(0, s.x-1)
	case '\t':
		s.x = min(width-1, s.x/8*8+8)
	default:
		if r < ' ' {
			s.strange = append(s.strange, fmt.Sprintf("%q", r))
			return
		}
		if s.x >= width {
			s.x = 0
			s.put('\n')
		}
		s.cells[s.y][s.x] = r
		s.x++
	}
}

// control does what a control sequence says.
func (s *screen) control(parameters string, final byte) {
	if strings.HasPrefix(parameters, "?") && (final == 'h' || final == 'l') {
		for mode := range strings.SplitSeq(parameters[1:], ";") {
			s.set(mode, final == 'h')
		}
		return
	}
	if final == 'm' || strings.ContainsAny(parameters, "?>=<$ ") { // looks, and questions to the terminal
		return
	}
	var n [2]int
	for i, p := range strings.SplitN(parameters, ";", 2) {
		n[i], _ = strconv.Atoi(p)
	}
	one := max(1, n[0])
	line, height := s.cells[s.y], len(s.cells)
	width := len(line)
	at := min(s.x, width)
	switch final {
	case 'A':
		s.y = max(0, s.y-one)
	case 'B':
		s.y = min(height-1, s.y+one)
	case 'C':
		s.x = min(width-1, s.x+one)
	case 'D':
		s.x = max(0, s.x-one)
	case 'G', '`':
		s.x = min(width, one) - 1
	case 'd':
		s.y = min(height, one) - 1
	case 'H', 'f':
		s.y, s.x = min(height, one)-1, min(width, max(1, n[1]))-1
	case 'J':
		s.erase(n[0])
	case 'K':
		from, to := at, width
		if n[0] > 0 {
			from, to = 0, min(width, at+1)
		}
		if n[0] == 2 {
			to = width
		}
		copy(line[from:to], []rune(strings.Repeat(" ", to-from)))
	case 'X':
		copy(line[at:], []rune(strings.Repeat(" ", min(one, width-at))))
	case 'P':
		s.cells[s.y] = append(append(line[:at:at], line[min(width, at+one):]...), []rune(strings.Repeat(" ", min(one, width-at)))...)
	case '@':
		s.cells[s.y] = append(append(line[:at:at], []rune(strings.Repeat(" ", one))...), line[at:]...)[:width]
	case 'L':
		s.cells = append(append(s.cells[:s.y:s.y], blank(width, one)...), s.cells[s.y:]...)[:height]
	case 'M':
		s.cells = append(append(s.cells[:s.y:s.y], s.cells[min(height, s.y+one):]...), blank(width, min(one, height-s.y))...)
	case 'r', 't', 'u', 'n', 'c':
	default:
		s.strange = append(s.strange, "CSI "+parameters+string(final))
	}
}

func (s *screen) erase(what int) {
	width := len(s.cells[0])
	if what == 2 {
		s.cells = blank(width, len(s.cells))
		return
	}
	at := min(s.x, width)
	copy(s.cells[s.y][at:], []rune(strings.Repeat(" ", width-at)))
	copy(s.cells[s.y+1:], blank(width, len(s.cells)-s.y-1))
}

func (s *screen) set(mode string, on bool) {
	switch mode {
	case "25":
		s.hidden = !on
	case "1049":
		if on {
			s.main, s.cells = s.cells, blank(len(s.cells[0]), len(s.cells))
		} else if s.main != nil {
			s.cells, s.main = s.main, nil
			s.y = min(s.y, len(s.cells)-1)
		}
	}
}
