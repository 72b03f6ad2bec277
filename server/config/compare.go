package config

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/watermaster-project/watermaster/limiter"
)

// Compare writes what becomes of each limit when one configuration follows another:
// kept, with its counters; new, with none; lost, and its counters with it. It goes by
// what the engine goes by: the same metric and shape, under the same or the former name.
func Compare(w io.Writer, old, new *Config) error {
	before := make(map[scopeKey]scope)
	for s := range old.scopes() {
		before[keyOf(s.organization.Name, s)] = s
	}
	type follows struct{ now, from scope }
	var list []follows
	heirs := make(map[scopeKey]bool)
	former := make(map[string]bool)
	for _, o := range old.Organizations {
		former[o.Name] = true
	}
	for s := range new.scopes() {
		name := s.organization.Name
		if !former[name] && s.organization.Was != "" {
			name = s.organization.Was
		}
		key := keyOf(name, s)
		if _, ok := before[key]; !ok && s.was != "" {
			key.name = s.was
		}
		heirs[key] = true
		list = append(list, follows{s, before[key]})
	}

	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STATE\tORGANIZATION\tSCOPE\tLIMIT\tNOTE")
	line := func(state string, s scope, l *limiter.LimitSpec, notes ...string) {
		row := []string{state, s.organization.Name, s.String(), l.Name}
		if note := strings.Join(notes, ", "); note != "" {
			row = append(row, note)
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	for _, f := range list {
		taken := make([]bool, len(f.from.limits))
		for i := range f.now.limits {
			l := &f.now.limits[i]
			if o := predecessor(l, f.from.limits, taken); o != nil {
				line("kept", f.now, l, changes(o, l)...)
			} else {
				line("new", f.now, l)
			}
		}
		for i := range f.from.limits {
			if !taken[i] {
				line("lost", f.from, &f.from.limits[i])
			}
		}
	}
	for s := range old.scopes() {
		if !heirs[keyOf(s.organization.Name, s)] {
			for i := range s.limits {
				line("lost", s, &s.limits[i])
			}
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if new.Revision <= old.Revision && new.Hash != old.Hash && new.Revision < numbered {
		_, err := fmt.Fprintf(w, "revision %d is not above %d: it would not take the place of the old\n", new.Revision, old.Revision)
		return err
	}
	return nil
}

// numbered is above every revision that counts, and below every one that is a time. Of
// times nothing is said: a copy of an old file has a new one.
const numbered = 1_000_000_000_000_000

// A scopeKey names a scope in a configuration.
type scopeKey struct{ organization, kind, name string }

func keyOf(organization string, s scope) scopeKey {
	return scopeKey{organization, s.kind, s.name}
}

// predecessor finds the limit whose counters are taken over, and takes it.
func predecessor(l *limiter.LimitSpec, old []limiter.LimitSpec, taken []bool) *limiter.LimitSpec {
	for _, name := range []string{l.Name, l.Was} {
		for i := range old {
			o := &old[i]
			if !taken[i] && name != "" && o.Name == name && o.Metric == l.Metric && o.Shape == l.Shape {
				taken[i] = true
				return o
			}
		}
	}
	return nil
}

// changes tells how a limit that is kept differs.
func changes(o, l *limiter.LimitSpec) (notes []string) {
	note := func(what, from, to string) {
		if from != to {
			notes = append(notes, what+" "+from+" -> "+to)
		}
	}
	if o.Name != l.Name {
		notes = append(notes, "was "+o.Name)
	}
	note("quota", amountText(o.Metric, o.Quota), amountText(l.Metric, l.Quota))
	note("window", windowText(o), windowText(l))
	note("margin", fraction(int64(o.Margin), 4)+"%", fraction(int64(l.Margin), 4)+"%")
	if o.Shape == limiter.TokenBucket {
		note("burst", amountText(o.Metric, o.Burst), amountText(l.Metric, l.Burst))
	}
	note("D", short(o.Jitter), short(l.Jitter))
	return notes
}
