package top

import (
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// A model is what the screen is at, for Bubble Tea: messages, keys and time change it.
type model struct {
	state         State
	now           func() time.Time
	heard         time.Time // when the latest message came
	width, height int       // of the screen; 0 until it is known
	err           error     // why it ended, if not because it was told to
}

// aged says that a second has gone by.
type aged struct{}

func (m model) age() tea.Cmd {
	return tea.Tick(time.Second, func(time.Time) tea.Msg { return aged{} })
}

// Init implements tea.Model.
func (m model) Init() tea.Cmd { return m.age() }

// Update implements tea.Model.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var then tea.Cmd
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case heard:
		m.state.Headroom, m.state.Connected, m.state.Trouble = msg.headroom, true, ""
		m.heard = m.now()
	case lost:
		m.state.Connected, m.state.Trouble = false, Reason(msg.err)
	case ended:
		m.err = msg.err
		return m, tea.Quit
	case aged:
		then = m.age()
	case tea.KeyPressMsg:
		m.state, then = press(m.state, m.height, msg)
	case tea.PasteMsg:
		if m.state.Typing {
			m.state.Filter += clean(msg.Content)
		}
	}
	if m.state.Headroom != nil {
		m.state.Age = max(0, m.now().Sub(m.heard))
	}
	rows := m.state.rows()
	m.state.scroll(rows, m.state.room(rows, m.height))
	return m, then
}

// View implements tea.Model.
func (m model) View() tea.View {
	v := tea.View{AltScreen: true}
	if m.width > 0 && m.height > 0 {
		v.Content = strings.Join(Render(m.state, m.width, m.height), "\n")
	}
	return v
}

// press does what a key says.
func press(s State, height int, key tea.KeyPressMsg) (State, tea.Cmd) {
	name := key.String()
	switch name {
	case "ctrl+c":
		return s, tea.Quit
	case "ctrl+z":
		return s, tea.Suspend
	}
	if s.Typing {
		s.edit(key)
		return s, nil
	}
	rows := s.rows()
	switch name {
	case "q":
		return s, tea.Quit
	case "?", "h":
		s.Help = !s.Help
	case "esc":
		s.leave()
	case "u":
		s.Order = ByUse
	case "n":
		s.Order = ByName
	case "w":
		s.Order = ByWaiting
	case "c", "enter":
		s.Details = !s.Details
	case "r":
		s.Replicas = !s.Replicas
	case "/":
		s.Typing, s.Help = true, false
	case "up", "k":
		s.mark(rows, -1)
	case "down", "j":
		s.mark(rows, 1)
	case "pgup":
		s.mark(rows, -s.room(rows, height))
	case "pgdown", "space":
		s.mark(rows, s.room(rows, height))
	case "home", "g":
		s.mark(rows, -len(rows))
	case "end", "G":
		s.mark(rows, len(rows))
	}
	return s, nil
}

// edit changes the filter.
func (s *State) edit(key tea.KeyPressMsg) {
	switch key.String() {
	case "enter":
		s.Typing = false
	case "esc":
		s.Typing, s.Filter = false, ""
	case "backspace":
		if r := []rune(s.Filter); len(r) > 0 {
			s.Filter = string(r[:len(r)-1])
		}
	case "ctrl+u":
		s.Filter = ""
	default:
		s.Filter += clean(key.Text)
	}
}

// leave goes back by one step: out of the help, the replicas, the details, the filter.
func (s *State) leave() {
	switch {
	case s.Help:
		s.Help = false
	case s.Replicas:
		s.Replicas = false
	case s.Details:
		s.Details = false
	default:
		s.Filter = ""
	}
}

// mark marks the limit that is so many further down. At the first one nothing is marked:
// the mark then stays at the top, whichever limit comes there.
func (s *State) mark(rows []row, by int) {
	if len(rows) == 0 {
		return
	}
	to := max(0, min(len(rows)-1, s.marked(rows)+by))
	s.Marked = Key{}
	if to > 0 {
		s.Marked = keyOf(rows[to].limit)
	}
}
