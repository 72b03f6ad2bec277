package metrics

import (
	"fmt"
	"slices"
	"testing"
)

func numbered(prefix string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s%03d", prefix, i))
	}
	return names
}

func usesOf(grants uint32, names ...string) (uses []Use) {
	for _, name := range names {
		uses = append(uses, Use{name, grants})
	}
	return uses
}

func TestProjectsHaveTheirOwn(t *testing.T) {
	p := newProjects()
	p.name([]string{"named"}, true)
	p.get("named").Expired()
	p.get("made").Expired()
	p.get("other").Expired()
	for _, name := range numbered("p", MaxProjects) {
		p.get(name).Expired()
	}
	want(t, "named", p.get("named").expired.Load(), 1)
	want(t, "made", p.get("made").expired.Load(), 1)
	want(t, "told apart", len(p.own), MaxProjects)
	want(t, "others", p.others.expired.Load(), 1+2) // the project called other, and two that have no room
	want(t, "one of the others", p.get("p099"), p.others)

	p.name([]string{"named"}, false) // without a template
	want(t, "told apart", len(p.own), 1)
	want(t, "one that is gone", p.get("made"), p.others)
	want(t, "named", p.get("named").expired.Load(), 1)
}

// TestNamedProjectsComeFirst: they take the places of others, as many as there are.
func TestNamedProjectsComeFirst(t *testing.T) {
	p := newProjects()
	p.name(nil, true)
	for _, name := range numbered("p", MaxProjects) {
		p.get(name)
	}
	named := numbered("n", 40)
	p.name(named, true)
	for _, name := range named {
		if p.own[name] == nil {
			t.Errorf("%s is not told apart", name)
		}
	}
	want(t, "told apart", len(p.own), MaxProjects)

	many := numbered("m", MaxProjects+50)
	p.name(many, true)
	want(t, "told apart", len(p.own), MaxProjects)
	for name := range p.own {
		if !slices.Contains(many, name) {
			t.Errorf("%s has a place that a named project needs", name)
		}
	}
	// Of too many named ones those come in that are used.
	if got := p.rank(append(usesOf(100, "m149"), usesOf(1000, "unnamed")...)); !slices.Contains(got, "m149") || slices.Contains(got, "unnamed") {
		t.Errorf("got %v, want m149 and nobody unnamed", got)
	}
}

func TestProjectsUsedMostComeIn(t *testing.T) {
	resident := numbered("p", MaxProjects-1)
	tests := []struct {
		name string
		uses []Use
		in   string // "": nobody
		out  string
	}{
		{"nobody else", nil, "", ""},
		{"used once", usesOf(1, "x"), "", ""},
		{"used often, as all are", append(usesOf(30, resident...), usesOf(59, "x")...), "", ""},
		{"used twice as often as the least", append(append(usesOf(500, resident[1:]...), usesOf(30, resident[0])...), usesOf(60, "x")...), "x", resident[0]},
		{"used where others are not", append(usesOf(500, resident[:50]...), usesOf(16, "x")...), "x", "p098"},
		{"called other", usesOf(1000, "other"), "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newProjects()
			p.name([]string{"named"}, true)
			before := p.rank(usesOf(1, resident...))
			if len(before) != MaxProjects || !slices.IsSorted(before) {
				t.Fatalf("%d projects have a place: %v", len(before), before)
			}
			after := p.rank(tt.uses)
			want := slices.Clone(before)
			if tt.in != "" {
				want = slices.DeleteFunc(append(want, tt.in), func(name string) bool { return name == tt.out })
				slices.Sort(want)
			}
			if !slices.Equal(after, want) {
				t.Errorf("got %v\nwant %v", after, want)
			}
		})
	}
}
