package envoy

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Describe writes the limits, one a line, with where they are written.
func (l *Limits) Describe(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LIMIT\tQUOTA\tMODE\tNAME\tREPLACES\tWRITTEN")
	for _, r := range l.Rules {
		if r.Override {
			continue
		}
		quota := "unlimited"
		if !r.Unlimited {
			quota = fmt.Sprintf("%d/%s", r.RequestsPerUnit, units[r.Unit].name)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Path, quota, r.mode(), dash(r.Name), dash(strings.Join(r.Replaces, ", ")),
			place{r.File, r.Line})
	}
	return t.Flush()
}

// mode says what it means that a limit is over.
func (r *Rule) mode() string {
	switch {
	case r.Shadow:
		return "shadow"
	case r.Quota:
		return "quota"
	case r.Unlimited:
		return "-"
	}
	return "enforced"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
