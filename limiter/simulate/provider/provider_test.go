package provider

import (
	"testing"
	"time"
)

const (
	ms = time.Millisecond
	s  = time.Second
)

func newProvider(t *testing.T, c Config) *Provider {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A step is an arrival and what is to be answered.
type step struct {
	at    time.Duration
	cost  int64 // tokens
	kind  Kind
	retry time.Duration
}

// wait = (used + requested − limit) × window / limit, to the digit, for every error body
// that OpenAI and Groq have published with its figures.
func TestPublishedBodies(t *testing.T) {
	for _, c := range []struct {
		name            string
		limit           int64
		window          time.Duration
		used, requested int64
		want            time.Duration
	}{
		{"OpenAI TPM 50,000", 50_000, time.Minute, 47_949, 3_006, 1146 * ms},
		{"OpenAI TPM 30,000", 30_000, time.Minute, 22_999, 12_528, 11_054 * ms},
		{"OpenAI TPM 200,000", 200_000, time.Minute, 195_869, 4_412, 84_300 * time.Microsecond}, // stated as 84ms
		{"OpenAI RPD 200", 200, 24 * time.Hour, 200, 1, 7*time.Minute + 12*s},
		{"OpenAI RPD 10,000", 10_000, 24 * time.Hour, 10_000, 1, 8640 * ms},
		{"Groq TPM 8,000", 8_000, time.Minute, 7_297, 974, 2032_500 * time.Microsecond},
		{"Groq TPM 6,000", 6_000, time.Minute, 4_093, 3_531, 16_240 * ms}, // stated as 16.2399…
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t, Config{Limits: []Limit{{Metric: Tokens, Quota: c.limit, Window: c.window, Shape: Bucket}}})
			if v := p.Arrive(0, Call{ID: 1, Input: c.used}); !v.OK {
				t.Fatalf("the first call: %+v", v)
			}
			v := p.Arrive(0, Call{ID: 2, Input: c.requested})
			if v.OK || v.Kind != RateLimited || v.Limit != 0 || v.RetryAfter != c.want {
				t.Errorf("got %+v, want a wait of %v", v, c.want)
			}
			if v := p.Arrive(c.want-1, Call{ID: 3, Input: c.requested}); v.OK || v.RetryAfter != 1 {
				t.Errorf("1 ns early: %+v", v)
			}
			if v := p.Arrive(c.want, Call{ID: 4, Input: c.requested}); !v.OK {
				t.Errorf("in time: %+v", v)
			}
		})
	}
}

// Each shape, by hand: 60 tokens a minute.
func TestShapes(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit Limit
		steps []step
	}{
		{"bucket: 1 token a second, 60 at once", Limit{Shape: Bucket}, []step{
			{0, 60, Fits, 0},
			{0, 1, RateLimited, s},
			{1*s - 1, 1, RateLimited, 1},
			{1 * s, 1, Fits, 0},
			{31 * s, 31, RateLimited, 1 * s}, // 30 have come back
			{31 * s, 30, Fits, 0},
			{200 * s, 61, TooLarge, Never},
			{200 * s, 60, Fits, 0}, // full at 91 s, and no fuller since
			{200 * s, 60, RateLimited, 60 * s},
		}},
		{"bucket of burst 10", Limit{Shape: Bucket, Burst: 10}, []step{
			{0, 11, TooLarge, Never},
			{0, 10, Fits, 0},
			{5500 * ms, 6, RateLimited, 500 * ms},
			{5500 * ms, 5, Fits, 0}, // half a token is left
			{5500 * ms, 1, RateLimited, 500 * ms},
			{6000 * ms, 1, Fits, 0},
		}},
		{"bucket of burst 90", Limit{Shape: Bucket, Burst: 90}, []step{
			{0, 90, Fits, 0},
			{0, 90, RateLimited, 90 * s},
			{90 * s, 90, Fits, 0},
		}},
		{"sliding: an event of now − W is out", Limit{Shape: Sliding}, []step{
			{0, 20, Fits, 0},
			{10 * s, 40, Fits, 0},
			{10 * s, 0, Fits, 0},
			{20 * s, 1, RateLimited, 40 * s},
			{20 * s, 21, RateLimited, 50 * s},
			{20 * s, 61, TooLarge, Never},
			{60*s - 1, 1, RateLimited, 1},
			{60 * s, 21, RateLimited, 10 * s},
			{60 * s, 20, Fits, 0},
			{70*s - 1, 1, RateLimited, 1},
			{70 * s, 41, RateLimited, 50 * s},
			{70 * s, 40, Fits, 0},
		}},
		{"fixed: the edge belongs to the next", Limit{Shape: Fixed}, []step{
			{59 * s, 60, Fits, 0},
			{60*s - 1, 1, RateLimited, 1},
			{60 * s, 61, TooLarge, Never},
			{60 * s, 60, Fits, 0}, // 120 in a second: what a fixed window allows
			{61 * s, 1, RateLimited, 59 * s},
		}},
		{"fixed, phase 10 s", Limit{Shape: Fixed, Phase: 10 * s}, []step{
			{0, 60, Fits, 0}, // of [−50 s, 10 s)
			{4 * s, 1, RateLimited, 6 * s},
			{10*s - 1, 1, RateLimited, 1},
			{10 * s, 60, Fits, 0},
			{69 * s, 1, RateLimited, 1 * s},
			{190 * s, 60, Fits, 0},
		}},
		{"fixed, phase −170 s is phase 10 s", Limit{Shape: Fixed, Phase: -170 * s}, []step{
			{0, 60, Fits, 0},
			{4 * s, 1, RateLimited, 6 * s},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.limit.Metric, c.limit.Quota, c.limit.Window = Tokens, 60, time.Minute
			p := newProvider(t, Config{Limits: []Limit{c.limit}})
			for i, st := range c.steps {
				got := p.Arrive(st.at, Call{ID: uint64(i), Input: st.cost})
				want := Verdict{OK: st.kind == Fits, Kind: st.kind, Limit: 0, RetryAfter: st.retry}
				if want.OK {
					want.Limit = -1
				}
				if got != want {
					t.Errorf("%v, %d tokens: got %+v, want %+v", st.at, st.cost, got, want)
				}
			}
			if over := p.Report().Limits[0].Overdraws; over != 0 {
				t.Errorf("%d overdraws of a provider that refuses", over)
			}
		})
	}
}

// 600 requests a minute that a provider counts by tenths of it.
func TestParts(t *testing.T) {
	for _, c := range []struct {
		name  string
		part  Shape
		steps []struct {
			at    time.Duration
			n, ok int
			limit int
			retry time.Duration
		}
	}{
		{"fixed parts", Fixed, []struct {
			at    time.Duration
			n, ok int
			limit int
			retry time.Duration
		}{
			{5 * s, 61, 60, 1, 1 * s},
			{6 * s, 61, 60, 1, 6 * s},
			{12 * s, 60, 60, -1, 0}, {18 * s, 60, 60, -1, 0}, {24 * s, 60, 60, -1, 0}, {30 * s, 60, 60, -1, 0},
			{36 * s, 60, 60, -1, 0}, {42 * s, 60, 60, -1, 0}, {48 * s, 60, 60, -1, 0}, {54 * s, 60, 60, -1, 0},
			{60 * s, 1, 0, 0, 5 * s}, // the sliding whole: 600 since 5 s
			{65 * s, 61, 60, 0, 1 * s},
		}},
		{"bucket parts", Bucket, []struct {
			at    time.Duration
			n, ok int
			limit int
			retry time.Duration
		}{
			{0, 61, 60, 1, 100 * ms}, // 10 a second
			{1 * s, 11, 10, 1, 100 * ms},
			{7 * s, 61, 60, 1, 100 * ms},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t, Config{Limits: []Limit{{
				Metric: Requests, Quota: 600, Window: time.Minute, Shape: Sliding, Parts: 10, PartShape: c.part,
			}}})
			var id uint64
			for _, st := range c.steps {
				ok, last := 0, Verdict{}
				for range st.n {
					id++
					if last = p.Arrive(st.at, Call{ID: id}); last.OK {
						ok++
					}
				}
				if ok != st.ok || last.Limit != st.limit || last.RetryAfter != st.retry {
					t.Errorf("%v: %d of %d, then %+v; want %d, limit %d, %v", st.at, ok, st.n, last, st.ok, st.limit, st.retry)
				}
			}
			part := p.Report().Limits[1].Limit
			if want := (Limit{Metric: Requests, Quota: 60, Window: 6 * s, Shape: c.part}); part != want {
				t.Errorf("part %v, want %v", part, want)
			}
		})
	}
}

func TestStock(t *testing.T) {
	p := newProvider(t, Config{Limits: []Limit{{Metric: Concurrency, Quota: 2, Shape: Stock}}})
	for i, want := range []Verdict{{true, Fits, -1, 0}, {true, Fits, -1, 0}, {false, Concurrent, 0, 0}} {
		if got := p.Arrive(0, Call{ID: uint64(i)}); got != want {
			t.Errorf("call %d: got %+v, want %+v", i, got, want)
		}
	}
	p.Complete(3*s, 0, 5)
	if v := p.Arrive(3*s, Call{ID: 3}); !v.OK {
		t.Errorf("after a completion of the same instant: %+v", v)
	}
	p.Complete(4500*ms, 1, 5)
	p.Complete(5*s, 3, 5)
	// 2 calls until 4.5 s, 1 until 5 s: 9.5 of 2 × 5 call-seconds.
	if got := p.Amount(0, 0, 5*s); got != int64(9500*ms) {
		t.Errorf("call-time %v, want 9.5s", time.Duration(got))
	}
	if got := p.Use(0, 0, 5*s); got != 0.95 {
		t.Errorf("use %v, want .95", got)
	}
	l := p.Report().Limits[0]
	if l.Worst != (Ratio{2, 2}) || l.Peak != (Ratio{2, 2}) || l.Throttled != 1 || l.Accepted != 3 || l.Offered != 4 {
		t.Errorf("report %+v", l)
	}
}

// A call is charged to all limits or to none, and the longest wait is told.
func TestAllOrNothing(t *testing.T) {
	p := newProvider(t, Config{Limits: []Limit{
		{Metric: Requests, Quota: 2, Window: 10 * s, Shape: Sliding},
		{Metric: Tokens, Quota: 100, Window: 100 * s, Shape: Bucket},
		{Metric: Concurrency, Quota: 2, Shape: Stock},
	}})
	for i, c := range []struct {
		at   time.Duration
		cost int64
		want Verdict
	}{
		{0, 80, Verdict{true, Fits, -1, 0}},
		{0, 30, Verdict{false, RateLimited, 1, 10 * s}},
		{0, 30, Verdict{false, RateLimited, 1, 10 * s}}, // the refusal took no request
		{0, 20, Verdict{true, Fits, -1, 0}},
		{1 * s, 2, Verdict{false, RateLimited, 0, 9 * s}},   // tokens: 1 s; slots: nobody knows
		{1 * s, 50, Verdict{false, RateLimited, 1, 49 * s}}, // requests: 9 s
		{1 * s, 101, Verdict{false, TooLarge, 1, Never}},
		{10 * s, 1, Verdict{false, Concurrent, 2, 0}},
	} {
		if got := p.Arrive(c.at, Call{ID: uint64(i), Input: c.cost}); got != c.want {
			t.Errorf("row %d: got %+v, want %+v", i, got, c.want)
		}
	}
	r := p.Report()
	if r.Calls != 8 || r.Accepted != 2 || r.Refused() != 6 || r.Unfit != 6 || r.MaxInFlight != 2 {
		t.Errorf("totals %+v", r.Totals)
	}
	if l := r.Limits[1]; l.Offered != 80+30+30+20+2+50+101+1 || l.Accepted != 100 || l.Throttled != 5 {
		t.Errorf("tokens: %+v", l)
	}
}

// Refused requests take the room that there is, and are not accepted.
func TestCountRejected(t *testing.T) {
	p := newProvider(t, Config{CountRejected: true, Limits: []Limit{
		{Metric: Requests, Quota: 2, Window: 10 * s, Shape: Sliding},
		{Metric: Tokens, Quota: 100, Window: 100 * s, Shape: Bucket},
	}})
	for i, c := range []struct {
		at   time.Duration
		cost int64
		want Verdict
	}{
		{0, 101, Verdict{false, TooLarge, 1, Never}},
		{1 * s, 1, Verdict{true, Fits, -1, 0}},
		{2 * s, 1, Verdict{false, RateLimited, 0, 8 * s}}, // full: takes nothing
		{10 * s, 1, Verdict{true, Fits, -1, 0}},
	} {
		if got := p.Arrive(c.at, Call{ID: uint64(i), Input: c.cost}); got != c.want {
			t.Errorf("row %d: got %+v, want %+v", i, got, c.want)
		}
	}
	if l := p.Report().Limits[0]; l.Accepted != 2 || l.Worst.Amount != 2 || l.Peak.Amount != 2 || l.Overdraws != 0 {
		t.Errorf("requests: %+v", l)
	}
}

func TestMisusePanics(t *testing.T) {
	for name, do := range map[string]func(*Provider){
		"time goes back":     func(p *Provider) { p.Arrive(5, Call{ID: 1}); p.Arrive(4, Call{ID: 2}) },
		"before the start":   func(p *Provider) { p.Arrive(-1, Call{}) },
		"an ID in flight":    func(p *Provider) { p.Arrive(0, Call{ID: 1}); p.Arrive(0, Call{ID: 1}) },
		"not in flight":      func(p *Provider) { p.Complete(0, 1, 0) },
		"completed twice":    func(p *Provider) { p.Arrive(0, Call{ID: 1}); p.Complete(0, 1, 0); p.Complete(0, 1, 0) },
		"negative input":     func(p *Provider) { p.Arrive(0, Call{Input: -1}) },
		"cached above input": func(p *Provider) { p.Arrive(0, Call{Input: 1, Cached: 2}) },
		"negative output":    func(p *Provider) { p.Arrive(0, Call{ID: 1}); p.Complete(0, 1, -1) },
		"negative life":      func(p *Provider) { p.Arrive(0, Call{Life: -1}) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t, Config{})
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			do(p)
		})
	}
}

func TestConfigErrors(t *testing.T) {
	good := Limit{Metric: Tokens, Quota: 100, Window: s, Shape: Bucket}
	for name, change := range map[string]func(*Config, *Limit){
		"metric":             func(_ *Config, l *Limit) { l.Metric = metrics },
		"no shape":           func(_ *Config, l *Limit) { l.Shape = 0 },
		"shape":              func(_ *Config, l *Limit) { l.Shape = shapes },
		"stock of tokens":    func(_ *Config, l *Limit) { l.Shape = Stock },
		"bucket of calls":    func(_ *Config, l *Limit) { l.Metric = Concurrency },
		"stock with window":  func(_ *Config, l *Limit) { l.Metric, l.Shape = Concurrency, Stock },
		"no quota":           func(_ *Config, l *Limit) { l.Quota = 0 },
		"vast quota":         func(_ *Config, l *Limit) { l.Quota = most + 1 },
		"burst":              func(_ *Config, l *Limit) { l.Burst = -1 },
		"no window":          func(_ *Config, l *Limit) { l.Window = 0 },
		"vast window":        func(_ *Config, l *Limit) { l.Window = maxWindow + 1 },
		"parts":              func(_ *Config, l *Limit) { l.Parts = -1 },
		"parts of no shape":  func(_ *Config, l *Limit) { l.Parts = 10 },
		"parts of nothing":   func(_ *Config, l *Limit) { l.Parts, l.PartShape = 101, Fixed },
		"estimate":           func(c *Config, _ *Limit) { c.Charge.Estimate = 3 },
		"steps":              func(c *Config, _ *Limit) { c.Charge.Steps = -1 },
		"burndown":           func(c *Config, _ *Limit) { c.Charge.Burndown = 1001 },
		"cached":             func(c *Config, _ *Limit) { c.Charge.CachedPerMille = 1001 },
		"default max output": func(c *Config, _ *Limit) { c.Charge.DefaultMaxOutput = -1 },
		"settle nothing":     func(c *Config, _ *Limit) { c.Charge.Estimate, c.Charge.Settle = EstimateInput, true },
		"bin":                func(c *Config, _ *Limit) { c.Bin = 1 },
	} {
		l, c := good, Config{}
		change(&c, &l)
		c.Limits = []Limit{l}
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error for %+v", name, c)
		}
	}
	if _, err := New(Config{Limits: []Limit{good}}); err != nil {
		t.Error(err)
	}
}
