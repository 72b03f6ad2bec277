package simulate

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/limiter/simulate/backoff"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/limiter/simulate/trace"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/server/policy"
)

// Options say what is replayed against what.
type Options struct {
	Config       *config.Config
	Organization string // "": the only one
	Route        string // what all calls ask for. Without it and Model the first route, or
	Model        string // where there is none the first model

	Trace string        // path
	Rows  int           // replay so many; 0: all
	Until time.Duration // replay what arrives before this time, stretched; 0: all

	// Load is what the trace shall offer, against what the pools sustain at their full quotas:
	// its times are stretched to that. 0: as recorded.
	Load float64

	Shape      Shape
	Seed       uint64
	Jitter     *Jitter       // from a grant until the provider counts the call; nil: what the account allows
	FirstToken time.Duration // how long a call runs: until its first token …
	TokenTime  time.Duration // … and for each

	Alone bool        // without the baseline
	SDK   backoff.SDK // of the baseline

	Progress func(Progress) // may be nil
}

// Jitter is the time from a grant until the provider counts the call, even between two bounds.
type Jitter struct{ Min, Max time.Duration }

// A Progress tells how far a replay is.
type Progress struct {
	Phase string
	Done  float64       // of the phase, 0 … 1
	Calls int64         // that have arrived
	At    time.Duration // virtual time
}

func (o *Options) life(row *trace.Row) time.Duration {
	return o.FirstToken + time.Duration(row.Output)*o.TokenTime
}

func (o *Options) validate() error {
	switch {
	case o.Load < 0 || o.Load > 1000:
		return fmt.Errorf("simulate: a load of %g is not within 0 … 1000", o.Load)
	case o.Rows < 0 || o.Until < 0:
		return errors.New("simulate: rows and until are at least 0")
	case o.Jitter != nil && (o.Jitter.Min < 0 || o.Jitter.Max < o.Jitter.Min || o.Jitter.Max > time.Hour):
		return fmt.Errorf("simulate: a jitter from %v to %v is not within 0 … 1 h", o.Jitter.Min, o.Jitter.Max)
	case o.FirstToken < 0 || o.FirstToken > time.Hour || o.TokenTime < 0 || o.TokenTime > time.Minute:
		return errors.New("simulate: the first token takes 0 … 1 h, and each 0 … 1 min")
	case o.Route != "" && o.Model != "":
		return errors.New("simulate: either a route or a model, not both")
	}
	return nil
}

// An Outcome is what came of a replay.
type Outcome struct {
	Report Report

	result    *Result
	baseline  *baseline // nil: there is none
	standins  map[string]*Standin
	providers map[string]*provider.Provider
	pools     []string
	ended     time.Duration // the last arrival
}

// Replay plays a trace through the policy and the engine against strict providers, and then
// the same by back-off alone. The same options give the same outcome to the last digit.
func Replay(o Options) (*Outcome, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	r := &replay{Options: o}
	for _, step := range []func() error{r.compile, r.look, r.play, r.compare} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	r.outcome.Report = newReport(r)
	return &r.outcome, nil
}

// A replay is one on its way.
type replay struct {
	Options
	organization *config.Organization
	policy       *policy.Policy
	configure    *limiter.Configure
	clerk        *PolicyClerk
	feed         *feed
	survey       *survey
	stretch      float64
	outcome      Outcome
}

// compile reads the configuration.
func (r *replay) compile() (err error) {
	if r.organization, err = organization(r.Config, r.Organization); err != nil {
		return err
	}
	if r.policy, err = policy.Compile(r.Config, r.organization.Name); err != nil {
		return fmt.Errorf("simulate: %w", err)
	}
	r.configure = r.policy.Configure()
	if r.Route == "" && r.Model == "" {
		if routes := r.organization.Routes; len(routes) > 0 {
			r.Route = routes[0].Name
		} else {
			r.Model = r.organization.Accounts[0].Pools[0].Models[0].Name
		}
	}
	standins, err := Standins(r.organization, r.Shape, trace.Hash(r.Seed, standinSalt))
	if err != nil {
		return err
	}
	r.outcome.standins = map[string]*Standin{}
	for i := range standins {
		r.outcome.standins[standins[i].Pool] = &standins[i]
	}
	r.clerk = &PolicyClerk{Policy: r.policy, Route: r.Route, Model: r.Model, Standins: standins, Seed: r.Seed}
	r.feed, err = newFeed(r.Trace, trace.Options{Rows: r.Rows}, r.Seed, r.Config, r.organization)
	return err
}

func organization(cfg *config.Config, name string) (*config.Organization, error) {
	var names []string
	for i := range cfg.Organizations {
		if cfg.Organizations[i].Name == name || name == "" && len(cfg.Organizations) == 1 {
			return &cfg.Organizations[i], nil
		}
		names = append(names, cfg.Organizations[i].Name)
	}
	if name == "" {
		return nil, fmt.Errorf("simulate: which organization? There are %s", some(names, 8))
	}
	return nil, fmt.Errorf("simulate: unknown organization %q: there are %s", name, some(names, 8))
}

// look finds out what the trace asks for, and how fast it is replayed.
func (r *replay) look() (err error) {
	var notFound *policy.NotFound
	project := "project"
	if r.feed.named != nil {
		project = r.feed.named[0]
	}
	if err := r.clerk.Acquire(&trace.Row{Client: project}, &limiter.Acquire{}); errors.As(err, &notFound) {
		return fmt.Errorf("simulate: %w", err)
	}
	r.progress("survey", 0, 0, 0)
	if r.survey, err = r.feed.survey(r.clerk, r.configure, r.life); err != nil {
		return err
	}
	if len(r.survey.pools) == 0 {
		return fmt.Errorf("simulate: nothing serves the calls of the trace: no target of the %s takes them", r.asked())
	}
	for _, d := range r.survey.pools {
		r.outcome.pools = append(r.outcome.pools, d.pool)
	}
	r.stretch = 1
	if r.Load > 0 {
		if r.survey.load() == 0 {
			return fmt.Errorf("simulate: no load can be set: the trace has no length, or no window of at most %v limits %s",
				mostSustained, some(r.outcome.pools, 3))
		}
		r.stretch = r.survey.load() / r.Load
	}
	r.feed = r.feed.stretched(r.stretch, r.Until)
	if r.Jitter == nil {
		r.Jitter = &Jitter{Max: r.delay()}
	}
	return nil
}

// asked names what the calls ask for.
func (r *replay) asked() string {
	if r.Route != "" {
		return "route " + r.Route
	}
	return "model " + r.Model
}

// delay is the longest time from a grant to the provider that all accounts allow for.
func (r *replay) delay() (d time.Duration) {
	d = time.Hour
	for i := range r.organization.Accounts {
		a := &r.organization.Accounts[i]
		for k := range a.Pools {
			if slices.Contains(r.outcome.pools, a.Name+"/"+a.Pools[k].Name) {
				d = min(d, a.Delay())
			}
		}
	}
	return d
}

// play replays the trace through the engine.
func (r *replay) play() error {
	engine := limiter.New()
	engine.Apply(r.configure, start, nil)
	r.outcome.providers = map[string]*provider.Provider{}
	for _, pool := range r.outcome.pools {
		p, err := provider.New(r.outcome.standins[pool].Config)
		if err != nil {
			return fmt.Errorf("simulate: %s: %w", pool, err)
		}
		r.outcome.providers[pool] = p
	}
	fleet := &Fleet{
		Engine: engine, Clerk: r.clerk, Providers: r.outcome.providers, Seed: r.Seed,
		JitterMin: r.Jitter.Min, JitterMax: r.Jitter.Max, Life: r.life,
	}
	var failed error
	result, err := fleet.Run(func(yield func(trace.Row) bool) {
		for row, err := range r.watched("replay", r.feed.rows()) {
			if failed = err; err != nil || !yield(row) {
				return
			}
			r.outcome.ended = row.At
		}
	}, 0)
	r.outcome.result = result
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return err
	case r.outcome.result.offered() == 0:
		return errEmpty
	}
	return nil
}

// compare replays it by back-off alone.
func (r *replay) compare() (err error) {
	if r.Alone {
		return nil
	}
	r.outcome.baseline, err = r.runBaseline()
	return err
}

// watched tells of the progress as rows pass.
func (r *replay) watched(phase string, rows iter.Seq2[trace.Row, error]) iter.Seq2[trace.Row, error] {
	if r.Progress == nil {
		return rows
	}
	return func(yield func(trace.Row, error) bool) {
		var calls int64
		var at time.Duration
		for row, err := range rows {
			if calls++; calls%4096 == 0 {
				r.progress(phase, row.Index+1, calls, row.At)
			}
			at = row.At
			if !yield(row, err) {
				return
			}
		}
		r.progress(phase, int(r.survey.rows), calls, at)
	}
}

func (r *replay) progress(phase string, index int, calls int64, at time.Duration) {
	if r.Progress == nil {
		return
	}
	p := Progress{Phase: phase, Calls: calls, At: at}
	if r.survey != nil {
		p.Done = float64(index) / float64(r.survey.rows)
	}
	if r.Until > 0 {
		p.Done = max(p.Done, at.Seconds()/r.Until.Seconds())
	}
	p.Done = min(p.Done, 1)
	r.Progress(p)
}
