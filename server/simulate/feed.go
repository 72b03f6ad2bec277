package simulate

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/trace"
	"github.com/watermaster-project/watermaster/server/config"
)

// A feed gives the rows of a trace, as often as it is asked, with all filled in that they
// lack, and with the classes and projects of the configuration.
type feed struct {
	path    string
	options trace.Options
	fill    trace.Fill
	classes []string // the heaviest first
	named   []string // projects that are configured; nil: any will do
	format  string

	clients map[string]string // of the trace, as what project they serve
}

func newFeed(path string, o trace.Options, seed uint64, cfg *config.Config, org *config.Organization) (*feed, error) {
	f := &feed{path: path, options: o, fill: trace.Fill{Seed: seed}, clients: map[string]string{}}
	for i := range cfg.Classes {
		f.classes = append(f.classes, cfg.Classes[i].Name)
	}
	if org.Template == nil {
		for i := range org.Projects {
			f.named = append(f.named, org.Projects[i].Name)
		}
		if len(f.named) == 0 {
			return nil, fmt.Errorf("simulate: organization %s has no projects, so nobody may ask", org.Name)
		}
	}
	r, err := trace.Open(path, o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f.format = r.Format()
	return f, nil
}

// own says whether the names in the trace are meant: those of a published trace stand for
// whoever sent its requests, and serve as any project.
func (f *feed) own() bool { return f.format == "own" }

// rows streams the trace; an error is the last thing it gives.
func (f *feed) rows() iter.Seq2[trace.Row, error] {
	return func(yield func(trace.Row, error) bool) {
		for row, err := range trace.All(f.path, f.options) {
			if err == nil {
				row, err = f.cast(row)
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// cast gives a row its class and project.
func (f *feed) cast(row trace.Row) (trace.Row, error) {
	if row.Client != "" || f.named == nil {
		row.Client = f.fill.Project(row)
	}
	project, ok := f.clients[row.Client]
	switch {
	case row.Client == "": // nobody in particular: by row, so that all get their part
		project = f.named[f.hash(uint64(row.Index))%uint64(len(f.named))]
	case !ok:
		var err error
		if project, err = f.project(row.Client); err != nil {
			return row, err
		}
		f.clients[row.Client] = project
	}
	row.MaxOutput, row.Client = f.fill.MaxOutput(row), project
	if row.Class != "" {
		if !slices.Contains(f.classes, row.Class) {
			return row, fmt.Errorf("simulate: row %d of the trace: unknown priority class %q: there are %s",
				row.Index, row.Class, strings.Join(f.classes, ", "))
		}
		return row, nil
	}
	row.Class = f.fill.Class(row)
	if !slices.Contains(f.classes, row.Class) { // standard there always is
		if row.Class == "interactive" {
			row.Class = f.classes[0]
		} else {
			row.Class = f.classes[len(f.classes)-1]
		}
	}
	return row, nil
}

// project finds the project that a client is.
func (f *feed) project(client string) (string, error) {
	if f.named == nil || slices.Contains(f.named, client) {
		return client, nil
	}
	if f.own() {
		return "", fmt.Errorf("simulate: the trace names the project %q, which is not configured: there are %s, and no template \"*\"",
			client, some(f.named, 8))
	}
	var h uint64
	for i := range len(client) {
		h = trace.Hash(h, uint64(client[i]))
	}
	return f.named[f.hash(h)%uint64(len(f.named))], nil
}

func (f *feed) hash(n uint64) uint64 { return trace.Hash(trace.Hash(f.fill.Seed, feedSalt), n) }

// What is drawn by hash has a salt of its own, apart from those of trace.Fill.
const (
	feedSalt = 16 + iota
	standinSalt
	spreadSalt
)

// some lists at most n names.
func some(names []string, n int) string {
	if len(names) > n {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:n], ", "), len(names)-n)
	}
	return strings.Join(names, ", ")
}

// errEmpty tells of a trace without any row.
var errEmpty = errors.New("simulate: the trace has no rows")

// stretched is the feed replayed at another pace, up to a time.
func (f *feed) stretched(stretch float64, until time.Duration) *feed {
	g := *f
	g.options.Stretch, g.options.Until = stretch, until
	return &g
}
