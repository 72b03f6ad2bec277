package simulate

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A Meter shows progress to people: a bar that is drawn over and over on a terminal, and
// otherwise a line every few seconds.
type Meter struct {
	Out      io.Writer
	Terminal bool
	Now      func() time.Time // the real clock

	phase string
	began time.Time // the phase
	shown time.Time
	drawn bool
}

const (
	redraw  = 100 * time.Millisecond
	reprint = 3 * time.Second
	barCols = 30
)

// Show is for Options.Progress.
func (m *Meter) Show(p Progress) {
	now := m.Now()
	if p.Phase != m.phase {
		m.Clear()
		m.phase, m.began, m.shown = p.Phase, now, now
		if m.Terminal {
			m.shown = now.Add(-redraw)
		}
	}
	every := reprint
	if m.Terminal {
		every = redraw
	}
	if now.Sub(m.shown) < every {
		return
	}
	m.shown = now
	text := fmt.Sprintf("%s %3.0f %%  %s calls, %s of traffic", p.Phase, 100*p.Done, grouped(p.Calls), span(p.At))
	if took := now.Sub(m.began); took > 0 && p.At > took {
		text += fmt.Sprintf(", %s × as fast", grouped(int64(p.At/took)))
	}
	if !m.Terminal {
		fmt.Fprintln(m.Out, text)
		return
	}
	full := int(p.Done * barCols)
	fmt.Fprintf(m.Out, "\r\x1b[K[%s%s] %s", strings.Repeat("#", full), strings.Repeat("·", barCols-full), text)
	m.drawn = true
}

// Clear takes the bar away.
func (m *Meter) Clear() {
	if m.drawn {
		fmt.Fprint(m.Out, "\r\x1b[K")
		m.drawn = false
	}
}
