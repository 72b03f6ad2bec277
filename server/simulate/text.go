package simulate

import (
	"bufio"
	"fmt"
	"io"
	"path/filepath"
)

// mostProjects is how many projects the text lists.
const mostProjects = 12

// WriteText writes the report as tables for people.
func (r *Report) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	r.writeHead(b)
	r.groups().write(b)
	if n := len(r.Projects) - mostProjects; n > 0 {
		fmt.Fprintf(b, "and %s more projects\n", grouped(int64(n)))
	}
	fmt.Fprintln(b)
	r.limits().write(b)
	fmt.Fprintln(b)
	for _, n := range r.Notes {
		fmt.Fprintf(b, "Note: %s.\n", n)
	}
	fmt.Fprintln(b, r.Verdict)
	return b.Flush()
}

func (r *Report) writeHead(w io.Writer) {
	fmt.Fprintln(w, r.title())
	fmt.Fprintf(w, "%s, %s → %s\n", r.Organization, r.asked(), some(r.Pools, 4))
	fmt.Fprintf(w, "arrivals over %s (times × %.3g), all over after %s; jitter %s–%s; calls run %s + %s per token; seed %d\n\n",
		span(r.Arrivals.Duration()), r.Stretch, span(r.Span.Duration()), span(r.JitterMin.Duration()), span(r.JitterMax.Duration()),
		span(r.FirstToken.Duration()), span(r.TokenTime.Duration()), r.Seed)
}

func (r *Report) asked() string {
	if r.Route != "" {
		return "route " + r.Route
	}
	return "model " + r.Model
}

// title says what was replayed.
func (r *Report) title() string {
	title := fmt.Sprintf("%s: %s calls", filepath.Base(r.Trace), grouped(r.All.Offered))
	if r.Load > 0 {
		title += fmt.Sprintf(", load %.2f", r.Load)
	}
	return title + ", providers' windows: " + string(r.Shape)
}

// groups is the table of classes and projects.
func (r *Report) groups() *grid {
	t := &grid{}
	t.group("", "class, project", "offered")
	t.group("Watermaster", "served", "refused", "failed", "429s", "wait p50", "p99", "max")
	if r.All.BackOff != nil {
		t.group("back-off alone ("+r.SDK+")", "served", "failed", "429s", "wait p50", "p99", "max")
	}
	add := func(name string, g *Group) {
		f := &g.Watermaster
		row := append([]string{name, grouped(g.Offered), grouped(f.Served), grouped(f.Refused), grouped(f.Failed), grouped(f.Throttled)}, f.waits()...)
		if f := g.BackOff; f != nil {
			row = append(append(row, grouped(f.Served), grouped(f.Failed), grouped(f.Throttled)), f.waits()...)
		}
		t.row(row...)
	}
	t.rule()
	for i := range r.Classes {
		add(r.Classes[i].Name, &r.Classes[i])
	}
	t.rule()
	for i := range min(len(r.Projects), mostProjects) {
		add(r.Projects[i].Name, &r.Projects[i])
	}
	t.rule()
	add("all", &r.All)
	return t
}

// waits are those of the calls that were served.
func (f *Fate) waits() []string {
	if f.Served == 0 {
		return []string{"–", "–", "–"}
	}
	return []string{span(f.WaitP50.Duration()), span(f.WaitP99.Duration()), span(f.WaitMax.Duration())}
}

// limits is the table of the providers' limits.
func (r *Report) limits() *grid {
	t := &grid{}
	names := []string{"used", "in demand", "worst window", "peak", "429s"}
	t.group("", "limit of the provider", "quota", "shape")
	t.group("Watermaster", names...)
	if r.All.BackOff != nil {
		t.group("back-off alone", names...)
	}
	t.rule()
	for i := range r.Limits {
		l := &r.Limits[i]
		row := append([]string{l.Pool + " " + l.Limit, grouped(l.Quota), l.Shape}, l.Watermaster.cells()...)
		if l.BackOff != nil {
			row = append(row, l.BackOff.cells()...)
		}
		t.row(row...)
	}
	return t
}

func (s *LimitShare) cells() []string {
	demand := "–"
	if s.InDemand != nil {
		demand = percent(*s.InDemand, 1)
	}
	return []string{percent(s.Used, 1), demand, percent(s.Worst, 2), percent(s.Peak, 2), grouped(s.Throttled)}
}
