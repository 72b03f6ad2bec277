package simulate

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/limiter/simulate/trace"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/policy"
)

var (
	prove  = flag.Bool("prove", false, "replay everything, not a selection, and write the tables of PROOF.md and the README")
	traces = flag.String("traces", "testdata/traces", "directory of the traces to replay")
)

// W and D of every trial, and the longest that a window may be used (theorem 1).
const (
	window = time.Minute
	delay  = time.Second
	hold   = window + delay
	bound  = float64(window) / float64(hold)
)

// Shapes of the strict provider in a trial.
const (
	bucket    = "token bucket"
	sliding   = "sliding and fixed"
	quantised = "quantised"
)

// A trial is one replay of a trace.
type trial struct {
	trace   string // file
	load    float64
	shape   string
	reserve int // percent, of interactive
	seed    uint64

	unknown  bool              // outputs are not known beforehand and count on completion
	projects func(int) string  // of a row; nil: the trace's
	classOf  func(int) string  // of a row; nil: 20/30/50
	weights  map[string]int    // of projects
	life     func() [2]float64 // seconds: fixed, and per token of output; nil: 0.3 and 0.01
	crash    func(*trace.Row) bool
	ttl      time.Duration
	stock    int64 // concurrency; 0: none
	until    time.Duration
}

// An outcome is what a trial came to.
type outcome struct {
	trial
	*Result
	engine   *limiter.Engine
	provider *provider.Provider
	quota    int64
	largest  int64 // request, in the limit's unit
	uses     []Use
}

func (o *outcome) String() string {
	return fmt.Sprintf("%s load %g %s reserve %d%% seed %d", o.trace, o.load, o.shape, o.reserve, o.seed)
}

// worst is the worst window or level of any of the provider's limits against its quota.
func (o *outcome) worst() (w provider.Ratio) {
	w.Quota = 1
	for _, u := range o.uses {
		r := u.Limit.Worst
		if o.shape == bucket {
			r = u.Limit.Peak
		}
		if r.Amount*w.Quota > w.Amount*r.Quota {
			w = r
		}
	}
	return w
}

var readTraces = map[string][]trace.Row{}

// rows reads a trace once and fills it in for a seed.
func rows(t testing.TB, file string, seed uint64) []trace.Row {
	t.Helper()
	raw, ok := readTraces[file]
	if !ok {
		var err error
		if raw, err = trace.Read(filepath.Join(*traces, file), trace.Options{}); err != nil {
			t.Fatal(err)
		}
		readTraces[file] = raw
	}
	filled := make([]trace.Row, len(raw))
	for i := range raw {
		filled[i] = trace.Fill{Seed: seed}.Apply(raw[i])
	}
	return filled
}

func traceFiles(t testing.TB) []string {
	t.Helper()
	var files []string
	entries, err := os.ReadDir(*traces)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".gz") {
			files = append(files, e.Name())
		}
	}
	return files
}

func (tr trial) run(t testing.TB) *outcome {
	t.Helper()
	if testing.Short() {
		t.Skip("one goroutine for a long time: the figures are not measured with -short")
	}
	rs := rows(t, tr.trace, tr.seed)
	o := &outcome{trial: tr}
	life := [2]float64{0.3, 0.01}
	if tr.life != nil {
		life = tr.life()
	}
	var sum, s1, s2, s3 float64
	for i := range rs {
		r := &rs[i]
		if tr.projects != nil {
			r.Client = tr.projects(i)
		}
		if tr.classOf != nil {
			r.Class = tr.classOf(i)
		}
		x := float64(r.Output)
		s1, s2, s3 = s1+x, s2+x*x, s3+x*x*x
		cost := r.Input + r.Output
		if tr.unknown {
			r.MaxOutput = max(4096, r.Output)
			cost = r.Output
		} else {
			r.MaxOutput = r.Output // costs are known
		}
		sum += float64(cost)
		o.largest = max(o.largest, cost)
	}
	span := rs[len(rs)-1].At
	if tr.until > 0 {
		span = tr.until
	}
	o.quota = int64(sum / rs[len(rs)-1].At.Minutes() / tr.load)
	p, e := tr.organization(t, o.quota, s2/s1, s3/s1-(s2/s1)*(s2/s1))
	o.engine = e
	o.provider = tr.standin(t, o.quota)
	f := &Fleet{
		Engine: e, Clerk: &trialClerk{policy: p, ttl: tr.ttl}, Providers: map[string]*provider.Provider{"standin/p": o.provider},
		JitterMax: delay, Seed: tr.seed, Crash: tr.crash,
		Life: func(r *trace.Row) time.Duration {
			return time.Duration((life[0] + life[1]*float64(r.Output)) * 1e9)
		},
	}
	var err error
	if o.Result, err = f.Run(slices.Values(rs), span); err != nil {
		t.Fatal(err)
	}
	o.uses = o.Uses(2 * hold)
	return o
}

// organization configures an engine with one pool, by way of the configuration and the
// policy that a user has.
func (tr trial) organization(t testing.TB, quota int64, mean, variance float64) (*policy.Policy, *limiter.Engine) {
	t.Helper()
	limits := fmt.Sprintf("tokens: {quota: %d, window: 1m, shape: sliding_window}", quota)
	model, charge := "m", ""
	switch {
	case tr.unknown:
		limits = fmt.Sprintf("output_tokens: {quota: %d, window: 1m, shape: sliding_window}", quota)
		model = fmt.Sprintf("{name: m, output: {expected: %d, deviation: %d}}", int64(mean)+1, isqrt(variance))
		charge = "charge: {admission: input_and_cap, output_on: completion}, "
	case tr.shape == bucket:
		limits = fmt.Sprintf("tokens: {quota: %d, window: 1m, shape: token_bucket}", quota)
	case tr.shape == quantised:
		limits = fmt.Sprintf("tokens: [{quota: %d, window: 1m, shape: sliding_window}, {quota: %d, window: 6s, shape: sliding_window}]", quota, quota/10)
	}
	if tr.stock > 0 {
		limits += fmt.Sprintf(", concurrency: %d", tr.stock)
	}
	projects := ""
	for name, w := range tr.weights {
		projects += fmt.Sprintf("      %s: {weight: %d}\n", name, w)
	}
	text := fmt.Sprintf(`
organizations:
  fleet:
    accounts:
      standin: {provider: generic, margin: 0%%, start_within: 700ms, transit: 300ms, %spools: {p: {models: [%s], limits: {%s}}}}
    projects:
%s      "*": {weight: 1}
    max_projects: 100000
    max_waiting: 1000000
priority_classes:
  interactive: {weight: 16, max_wait: 10s, reserve: %d%%}
  standard:    {weight: 4,  max_wait: 2m}
  batch:       {weight: 1,  max_wait: 1h}
`, charge, model, limits, projects, tr.reserve)
	cfg, err := config.Parse("trial.yaml", []byte(text), time.Unix(1, 0))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	p, err := policy.Compile(cfg, "fleet")
	if err != nil {
		t.Fatal(err)
	}
	e := limiter.New()
	e.Apply(p.Configure(), start, nil)
	return p, e
}

func isqrt(x float64) int64 {
	r := int64(1)
	for float64(r*r) < x {
		r++
	}
	return r
}

// standin is the strict provider of a trial. Sliding and fixed windows at six phases
// judge the same calls.
func (tr trial) standin(t testing.TB, quota int64) *provider.Provider {
	t.Helper()
	l := provider.Limit{Metric: provider.Tokens, Quota: quota, Window: window, Shape: provider.Sliding}
	c := provider.Config{Charge: provider.Charge{CachedPerMille: 1000}, Limits: []provider.Limit{l}}
	switch {
	case tr.unknown:
		c.Limits[0].Metric = provider.OutputTokens
		c.Charge = provider.Charge{Estimate: provider.EstimateInput, Steps: 8}
		c.Lenient = true
	case tr.shape == bucket:
		c.Limits[0].Shape = provider.Bucket
	case tr.shape == quantised:
		c.Limits[0].Parts, c.Limits[0].PartShape = 10, provider.Sliding
	default:
		for phase := range time.Duration(6) {
			l.Shape, l.Phase = provider.Fixed, phase*10*time.Second+phase*137*time.Millisecond
			c.Limits = append(c.Limits, l)
		}
	}
	if tr.stock > 0 {
		c.Limits = append(c.Limits, provider.Limit{Metric: provider.Concurrency, Quota: tr.stock, Shape: provider.Stock})
	}
	p, err := provider.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A trialClerk asks for the one model of a trial.
type trialClerk struct {
	policy *policy.Policy
	ttl    time.Duration
	req    policy.Request
}

func (c *trialClerk) Acquire(row *trace.Row, cmd *limiter.Acquire) error {
	c.req = policy.Request{
		RequestID: "r", Project: row.Client, Model: "m", Class: row.Class,
		InputTokens: row.Input, MaxOutputTokens: policy.Some(row.MaxOutput),
	}
	if c.ttl > 0 {
		c.req.TTL = policy.Some(c.ttl)
	}
	return c.policy.Acquire(&c.req, cmd)
}

func (c *trialClerk) Release(row *trace.Row, pool, model string, v provider.Verdict, cmd *limiter.Release) {
	s := policy.Settlement{
		Target: policy.TargetOf(pool, model), Outcome: policy.Succeeded,
		Usage: policy.Usage{Input: row.Input, Output: row.Output, HasInput: true, HasOutput: true},
	}
	if !v.OK {
		s.Outcome = policy.Throttled
	}
	c.policy.Release(&s, cmd)
}
