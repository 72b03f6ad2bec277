package top

import (
	"errors"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A desk is a model with a clock of its own, on a screen of 80 × 24.
type desk struct {
	model
	clock time.Time
	last  tea.Cmd // what the latest message led to
}

func newDesk(s State) *desk {
	d := &desk{clock: time.Date(2026, 11, 25, 14, 3, 5, 0, time.UTC)}
	d.model = model{state: s, now: func() time.Time { return d.clock }}
	d.send(tea.WindowSizeMsg{Width: 80, Height: 24})
	return d
}

func (d *desk) send(msg tea.Msg) {
	var m tea.Model
	m, d.last = d.Update(msg)
	d.model = m.(model)
}

var named = map[string]rune{
	"up": tea.KeyUp, "down": tea.KeyDown, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd,
	"esc": tea.KeyEscape, "enter": tea.KeyEnter, "backspace": tea.KeyBackspace,
}

// keys presses keys, by their names or letters.
func (d *desk) keys(names ...string) {
	for _, name := range names {
		key := tea.KeyPressMsg{Code: named[name]}
		if key.Code == 0 {
			key.Code = []rune(name)[0]
			key.Text = name
		}
		if letter, ok := strings.CutPrefix(name, "ctrl+"); ok {
			key = tea.KeyPressMsg{Code: rune(letter[0]), Mod: tea.ModCtrl}
		}
		d.send(key)
	}
}

func (d *desk) screen() string { return d.View().Content }

// quits says whether the latest message led to the end.
func (d *desk) quits() bool {
	if d.last == nil {
		return false
	}
	_, ok := d.last().(tea.QuitMsg)
	return ok
}

func TestKeys(t *testing.T) {
	const third = "pool/account-24/model-15"
	for _, tt := range []struct {
		keys  string
		check func(*desk) bool
		want  string
	}{
		{"", func(d *desk) bool { return d.state.Marked == Key{} && d.state.Offset == 0 }, "the first is marked"},
		{"down down", func(d *desk) bool { return d.state.Marked.Scope == third }, "the third is marked"},
		{"j j j k", func(d *desk) bool { return d.state.Marked.Scope == third }, "the third is marked"},
		{"down up up", func(d *desk) bool { return d.state.Marked == Key{} }, "back at the top nothing is"},
		{"end", func(d *desk) bool { return d.state.Marked.Scope == "pool/account-00/model-0" && d.state.Offset == 480 }, "the last is"},
		{"pgdown", func(d *desk) bool { return d.state.marked(d.state.rows()) == 20 && d.state.Offset == 1 }, "20 further down"},
		{"end pgup", func(d *desk) bool { return d.state.marked(d.state.rows()) == 479 && d.state.Offset == 479 }, "20 further up"},
		{"end home", func(d *desk) bool { return d.state.Marked == Key{} && d.state.Offset == 0 }, "at the top"},
		{"n", func(d *desk) bool { return strings.Contains(d.screen(), "pool/account-00/model-0 ") }, "by name"},
		{"n u", func(d *desk) bool { return strings.Contains(d.screen(), "pool/account-24/model-19") }, "by use"},
		{"w", func(d *desk) bool { return strings.Contains(d.screen(), "by waiting") }, "by waiting"},
		{"down down n", func(d *desk) bool { return d.state.Marked.Scope == third && strings.Contains(d.screen(), third) }, "in another order it is still seen"},
		{"c", func(d *desk) bool { return strings.Contains(d.screen(), "CLASS") }, "details"},
		{"enter esc", func(d *desk) bool { return !strings.Contains(d.screen(), "CLASS") }, "no details"},
		{"?", func(d *desk) bool { return strings.Contains(d.screen(), "sort by use, by name") }, "help"},
		{"? ?", func(d *desk) bool { return strings.Contains(d.screen(), "SCOPE") }, "no help"},
		{"/ - 0 7 /", func(d *desk) bool { return strings.Contains(d.screen(), "filter: -07/") && len(d.state.rows()) == 20 }, "as it is typed"},
		{"/ - 0 7 q", func(d *desk) bool { return !d.quits() && len(d.state.rows()) == 0 }, "q is a letter of a filter"},
		{"/ - 0 7 q backspace enter", func(d *desk) bool { return !d.state.Typing && len(d.state.rows()) == 20 }, "kept"},
		{"/ - 0 7 enter esc", func(d *desk) bool { return len(d.state.rows()) == 500 }, "left"},
		{"/ x esc", func(d *desk) bool { return !d.state.Typing && len(d.state.rows()) == 500 }, "cleared"},
		{"/ x ctrl+u", func(d *desk) bool { return d.state.Typing && d.state.Filter == "" }, "emptied"},
		{"/ backspace", func(d *desk) bool { return d.state.Typing && d.state.Filter == "" }, "nothing to take back"},
		{"/ n o n e enter down end pgup c", func(d *desk) bool { return strings.Contains(d.screen(), `has "none" in its name`) }, "moving among nothing"},
		{"q", (*desk).quits, "the end"},
		{"ctrl+c", (*desk).quits, "the end"},
		{"/ ctrl+c", (*desk).quits, "the end"},
		{"? q", (*desk).quits, "the end"},
		{"x", func(d *desk) bool { return !d.quits() }, "nothing"},
	} {
		d := newDesk(State{})
		d.send(heard{many()})
		d.keys(strings.Fields(tt.keys)...)
		if !tt.check(d) {
			t.Errorf("%q: want %s\n%s", tt.keys, tt.want, d.screen())
		}
	}
}

// TestMessages: what comes of the server, and of time.
func TestMessages(t *testing.T) {
	d := newDesk(State{Address: "host:1"})
	see := func(when, want string, not ...string) {
		t.Helper()
		for _, n := range not {
			if strings.Contains(d.screen(), n) {
				t.Errorf("%s: there is %q\n%s", when, n, d.screen())
			}
		}
		if !strings.Contains(d.screen(), want) {
			t.Errorf("%s: no %q\n%s", when, want, d.screen())
		}
	}
	see("at first", "host:1: connecting")
	d.send(lost{status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp 1.2.3.4:1: connect: connection refused"`)})
	see("refused", "reconnecting; host:1: dial tcp 1.2.3.4:1: connect: connection refused")
	d.send(heard{busy()})
	see("a message", "closed 12s", "reconnecting", "connecting")

	d.clock = d.clock.Add(3 * time.Second)
	d.send(aged{})
	see("three seconds later", "closed 9s")
	see("three seconds later", "longest wait 1m38s")
	if d.last == nil {
		t.Error("time goes on only once")
	}
	d.send(lost{status.Error(codes.Unavailable, "gone")})
	d.clock = d.clock.Add(17 * time.Second)
	d.send(aged{})
	see("lost", "reconnecting; as of 20s ago; host:1: gone")
	d.send(heard{busy()})
	see("there again", "closed 12s", "reconnecting")

	d.send(tea.WindowSizeMsg{Width: 40, Height: 10})
	if lines := strings.Split(d.screen(), "\n"); len(lines) != 10 || widthOf(lines[9]) > 40 {
		t.Errorf("a smaller screen has %d lines", len(lines))
	}
	if !d.View().AltScreen {
		t.Error("what the terminal showed before would be lost")
	}
	d.send(tea.PasteMsg{Content: "pool"})
	if d.state.Filter != "" {
		t.Errorf("pasted into nothing: %q", d.state.Filter)
	}
	d.keys("/")
	d.send(tea.PasteMsg{Content: "po\x1bol"})
	if d.state.Filter != "po?ol" {
		t.Errorf("pasted: %q", d.state.Filter)
	}
	why := status.Error(codes.PermissionDenied, "no")
	d.send(ended{why})
	if !errors.Is(d.err, why) || !d.quits() {
		t.Errorf("it ended with %v, quits %t", d.err, d.quits())
	}
}
