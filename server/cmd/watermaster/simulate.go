package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/watermaster-project/watermaster/limiter/simulate/backoff"
	"github.com/watermaster-project/watermaster/server/simulate"
)

const simulateHelp = `Replays a trace of requests in virtual time, hours in seconds, through the policy and the
engine that serve, against strict stand-ins for the configured providers. It prints what each
class and project got, how far each limit was used, and every 429, beside what the same
fleet gets that backs off on 429 alone as the official SDKs do.

Traces, gzipped or not: the Azure Public Dataset (CSV), Mooncake (JSON lines), ServeGen (CSV),
and your own as CSV with a header; t_ms, input_tokens and output_tokens are required:

  t_ms,project,class,input_tokens,output_tokens,max_output_tokens,cached_input_tokens
  0,search,interactive,812,240,1024,0
  35.5,search,batch,15000,900,,

What a trace lacks is made up, the same for the same seed: 20 % of the calls are interactive,
30 % standard, 50 % batch; eight projects; max_output_tokens is the real output, twice that, 1,024
or 4,096. Clients of published traces stand for projects; your own trace must name projects
and classes that are configured.

The stand-ins have the pools' full quotas, without the margin, and charge as the presets say.
--load stretches the trace so that it offers so many times what the pools of the route can sustain
at those quotas: of each call the largest of its cost · window / quota over the limits of the
pool, windows of up to an hour.`

const simulateExamples = `  watermaster simulate --config watermaster.yaml --trace requests.csv.gz
  watermaster simulate --config watermaster.yaml --trace requests.csv.gz --load 1.5 --plot out.svg
  watermaster simulate --config watermaster.yaml --trace requests.csv.gz --route smart --shape fixed --jitter 200ms-1s --seed 7
  watermaster simulate --config watermaster.yaml --trace requests.csv.gz --json --no-baseline | jq .limits`

func newSimulate() *cobra.Command {
	var (
		o                         simulate.Options
		file, jitter, shape, sdk  string
		plot                      string
		asJSON, noBaseline, quiet bool
	)
	c := &cobra.Command{
		Use:     "simulate --config FILE --trace FILE",
		Short:   "Replays a trace against strict providers, in virtual time",
		Long:    simulateHelp,
		Example: simulateExamples,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Config, err = loadConfig(file, c.ErrOrStderr()); err != nil {
				return err
			}
			if o.Shape, err = shapeNamed(shape); err != nil {
				return err
			}
			if o.SDK, err = sdkNamed(sdk); err != nil {
				return err
			}
			if o.Jitter, err = parseJitter(jitter); err != nil {
				return err
			}
			if c.Flags().Changed("load") && o.Load <= 0 {
				return fmt.Errorf("--load %g: a load is above 0; 1 is what the pools can sustain", o.Load)
			}
			o.Alone = noBaseline
			meter := &simulate.Meter{Out: c.ErrOrStderr(), Terminal: isTerminal(c.ErrOrStderr()), Now: time.Now}
			if !quiet {
				o.Progress = meter.Show
			}
			outcome, err := simulate.Replay(o)
			meter.Clear()
			if err != nil {
				return err
			}
			if err := writeReport(c.OutOrStdout(), &outcome.Report, asJSON); err != nil {
				return err
			}
			return writePlot(plot, outcome)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&file, "config", "", "the configuration `file`")
	f.StringVar(&o.Trace, "trace", "", "the trace `file`")
	f.StringVar(&o.Organization, "organization", "", "whose configuration, where there are several")
	f.StringVar(&o.Route, "route", "", "the route that all calls ask for (default the first)")
	f.StringVar(&o.Model, "model", "", "the model that all calls ask for (default the first, where there is no route)")
	f.StringVar(&shape, "shape", string(simulate.Auto), "how providers count windows: "+choices(simulate.Shapes()))
	f.Float64Var(&o.Load, "load", 0, "stretch the trace to offer so many times what the pools sustain (default as recorded)")
	f.StringVar(&jitter, "jitter", "", "from a grant until the provider counts the call, `min-max` or max (default 0 to the account's start_within + transit)")
	f.DurationVar(&o.FirstToken, "first-token", 300*time.Millisecond, "how long a call runs until its first token …")
	f.DurationVar(&o.TokenTime, "token-time", 10*time.Millisecond, "… and for each token of output")
	f.IntVar(&o.Rows, "rows", 0, "replay only the first `n` rows")
	f.DurationVar(&o.Until, "until", 0, "replay only what arrives in this `time`, stretched")
	f.Uint64Var(&o.Seed, "seed", 0, "of all that is random")
	f.StringVar(&sdk, "sdk", backoff.OpenAIPython.Name, "the SDK of the fleet that only backs off: "+choices(sdkNames()))
	f.BoolVar(&noBaseline, "no-baseline", false, "do not replay by back-off alone")
	f.BoolVar(&asJSON, "json", false, "print JSON instead of tables")
	f.StringVar(&plot, "plot", "", "draw use, queue and waits over time into an SVG `file`")
	f.BoolVar(&quiet, "quiet", false, "show no progress")
	for _, name := range []string{"config", "trace"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return c
}

func writeReport(w io.Writer, r *simulate.Report, asJSON bool) error {
	if !asJSON {
		return r.WriteText(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

func writePlot(path string, o *simulate.Outcome) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	return errors.Join(o.WritePlot(f), f.Close())
}

func shapeNamed(name string) (simulate.Shape, error) {
	if s := simulate.Shape(name); slices.Contains(simulate.Shapes(), s) {
		return s, nil
	}
	return "", fmt.Errorf("--shape %q: there are %s", name, choices(simulate.Shapes()))
}

func sdkNamed(name string) (backoff.SDK, error) {
	if s, ok := backoff.Named(name); ok {
		return s, nil
	}
	return backoff.SDK{}, fmt.Errorf("--sdk %q: there are %s", name, choices(sdkNames()))
}

func sdkNames() (names []string) {
	for _, s := range backoff.SDKs() {
		names = append(names, s.Name)
	}
	return names
}

func choices[S ~string](names []S) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = string(n)
		if strings.ContainsAny(string(n), " ,") {
			quoted[i] = fmt.Sprintf("%q", n)
		}
	}
	return strings.Join(quoted, ", ")
}

// parseJitter reads max or min-max. A bound without a unit has that of the other: 0-1s.
func parseJitter(s string) (*simulate.Jitter, error) {
	if s == "" {
		return nil, nil
	}
	low, high, ranged := strings.Cut(s, "-")
	if !ranged {
		low, high = "0s", s
	}
	from, err := time.ParseDuration(low)
	if err != nil { // 200-800ms
		from, err = time.ParseDuration(low + strings.TrimLeft(high, "0123456789."))
	}
	to, err2 := time.ParseDuration(high)
	if err != nil || err2 != nil || from < 0 || to < from {
		return nil, fmt.Errorf("--jitter %q: write min-max or max, such as 0-1s or 800ms", s)
	}
	return &simulate.Jitter{Min: from, Max: to}, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
