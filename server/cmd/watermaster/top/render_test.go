package top

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares a text with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; see it with -update and git diff. Got:\n%s", path, got)
	}
}

// TestScreens draws every scene on screens of several sizes.
func TestScreens(t *testing.T) {
	for name, s := range scenes() {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, size := range [][2]int{{40, 16}, {80, 24}, {120, 24}, {200, 24}} {
				fmt.Fprintf(&b, "-- %d columns, %d lines --\n%s\n", size[0], size[1], strings.Join(Render(s, size[0], size[1]), "\n"))
			}
			golden(t, name, b.String())
		})
	}
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

// TestScreensFit: whatever the size, the screen is filled exactly, and nothing but the
// palette's own escapes reaches the terminal.
func TestScreensFit(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of screens")
	}
	for name, s := range scenes() {
		for _, s.Palette = range []Palette{Plain, Mono, Color} {
			for width := 1; width <= 210; width += 1 + width/10 {
				for _, height := range []int{1, 2, 4, 5, 9, 24} {
					lines := Render(s, width, height)
					if len(lines) != height {
						t.Fatalf("%s, %d columns: %d lines, want %d", name, width, len(lines), height)
					}
					for _, l := range lines {
						bare := escape.ReplaceAllString(l, "")
						if n := widthOf(bare); n > width || s.Palette != Plain && n != width {
							t.Fatalf("%s, %d columns: a line of %d: %q", name, width, n, l)
						}
						if i := strings.IndexFunc(bare, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }); i >= 0 {
							t.Fatalf("%s: a control character: %q", name, l)
						}
						if s.Palette == Plain && bare != l {
							t.Fatalf("%s: an escape in plain text: %q", name, l)
						}
					}
				}
			}
		}
	}
}

// TestEssentials: what an operator must see is there at every width from 40 on.
func TestEssentials(t *testing.T) {
	for width := 40; width <= 200; width++ {
		text := strings.Join(Render(scenes()["busy"], width, 24), "\n")
		for _, want := range []string{"SCOPE", "LIMIT", "USE", "WAIT", "140%", "1237", "closed 12s", "blocked 15m"} {
			if !strings.Contains(text, want) {
				t.Fatalf("%d columns: no %q in\n%s", width, want, text)
			}
		}
	}
}

// TestWiderTellsMore: a wider screen never has fewer columns in all.
func TestWiderTellsMore(t *testing.T) {
	rows := rowsOf(busy(), 0, ByUse, "")
	last := 0
	for width := 40; width <= 200; width++ {
		of, _ := place(rows, width)
		if len(of) < last && width != spacious {
			t.Errorf("%d columns of text at width %d, %d at one less", len(of), width, last)
		}
		last = len(of)
	}
	if last != len(columns) {
		t.Errorf("%d of %d columns at 200", last, len(columns))
	}
}

func TestColors(t *testing.T) {
	const yellow, red, white = "\x1b[33m", "\x1b[31m", "\x1b[1;97;41m"
	for _, tt := range []struct {
		held int64
		want string
	}{{0, ""}, {799, ""}, {800, yellow}, {899, yellow}, {900, red}, {999, red}, {1000, white}, {1400, white}} {
		s := State{Headroom: headroom(limit("organization", "tokens", 1000, 0), limit("project/a", "tokens", 1000, tt.held)), Order: ByName}
		s.Palette = Color
		got := Render(s, 80, 10)[4]
		if use := percent(float64(tt.held) / 1000); tt.want == "" && strings.Contains(got, "\x1b[3") || !strings.Contains(got, tt.want+pad(use, 4, true)) {
			t.Errorf("%d of 1000: %q, want %q before the use", tt.held, got, tt.want)
		}
		s.Palette = Mono
		for _, l := range Render(s, 80, 10) {
			for _, code := range escape.FindAllString(l, -1) {
				if strings.ContainsAny(code, "349") {
					t.Errorf("a color with NO_COLOR: %q", code)
				}
			}
		}
	}
}

// TestMarked: the marked limit is reversed, and is seen wherever it is.
func TestMarked(t *testing.T) {
	s := scenes()["scrolled"]
	s.Palette = Mono
	for _, at := range []int{0, 1, 17, 250, 498, 499} {
		s.Marked = keyOf(s.Headroom.Limits[at])
		found := 0
		for _, l := range Render(s, 80, 24) {
			if strings.HasPrefix(l, "\x1b[7m") {
				found++
				if !strings.Contains(l, s.Marked.Scope+"\x1b") && !strings.Contains(l, s.Marked.Scope+" ") {
					t.Errorf("%q is marked, want %s", l, s.Marked.Scope)
				}
			}
		}
		if found != 1 {
			t.Errorf("limit %d: %d lines are marked", at, found)
		}
	}
}
