package config

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/watermaster-project/watermaster/limiter"
)

// Describe writes the limits in effect, one a line, with what of each can be used at
// best: a sliding window holds every charge for D longer than the provider does; what each
// replica may grant of it while the shared log is away; then the credentials, without their
// hashes.
func (c *Config) Describe(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ORGANIZATION\tSCOPE\tLIMIT\tQUOTA\tEFFECTIVE\tWINDOW\tSHAPE\tACHIEVABLE")
	for s := range c.scopes() {
		for i := range s.limits {
			l := &s.limits[i]
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.1f%%\n", s.organization.Name, s, l.Name,
				amountText(l.Metric, l.Quota), amountText(l.Metric, effective(l)),
				windowText(l), shapeText(l), 100*achievable(l))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	fmt.Fprintln(t, "ORGANIZATION\tMAX PROJECTS\tMAX WAITING\tRETRY BUDGET\tWITHOUT STATE")
	for i := range c.Organizations {
		o := &c.Organizations[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", o.Name, grouped(int64(o.MaxProjects)), grouped(int64(o.MaxWaiting)),
			fraction(int64(o.RetryBudget), 1)+"%", c.WithoutState(o))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := c.describeAway(w); err != nil || len(c.Credentials) == 0 {
		return err
	}
	fmt.Fprintln(w)
	fmt.Fprintln(t, "CREDENTIAL\tORGANIZATION\tPROJECTS\tCLASSES\tSERVICES\tKEYS\tCERTIFICATES")
	for i := range c.Credentials {
		k := &c.Credentials[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", k.Name, k.Organization, listText(k.Projects, "all"),
			listText(k.PriorityClasses, "all"), listText(k.Services, "-"), len(k.SHA256), listText(k.Certificates, "-"))
	}
	return t.Flush()
}

// WithoutState says what a process assumes that finds no state of an organization.
func (c *Config) WithoutState(o *Organization) string {
	hold := limiter.ColdHold(c.Configure(o))
	switch {
	case o.ColdStart == limiter.Trust:
		return "trust: as if nothing had been used"
	case hold == 0:
		return "as configured: no window is of ten minutes or less"
	}
	what := map[limiter.ColdStart]string{
		limiter.Pace: "as if the quota had been used evenly", limiter.Wait: "as if all of it had been used just now",
	}
	return fmt.Sprintf("%s: for %s %s", o.ColdStart, short(hold), what[o.ColdStart])
}

func listText(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, ",")
}

// achievable is the part of the quota that can be used in the long run, 0 … 1.
func achievable(l *limiter.LimitSpec) float64 {
	use := float64(effective(l)) / float64(l.Quota)
	if l.Shape == limiter.SlidingWindow {
		use *= float64(l.Window) / float64(l.Window+l.Jitter)
	}
	return use
}

var periodNames = []string{"day", "week", "month"}

func windowText(l *limiter.LimitSpec) string {
	switch l.Shape {
	case limiter.Stock:
		return "-"
	case limiter.Calendar:
		return periodNames[l.Period]
	}
	return short(l.Window)
}

func shapeText(l *limiter.LimitSpec) string {
	if l.Shape == limiter.TokenBucket && l.Burst != l.Quota {
		return shapeName(l.Shape) + " of " + amountText(l.Metric, l.Burst)
	}
	return shapeName(l.Shape)
}
