package watermaster

import (
	"maps"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

// Tokens is for fields in which 0 and unset differ.
func Tokens(n int64) *int64 { return &n }

// Target is where a call goes.
type Target struct {
	Account  string // a name of the service's configuration
	Provider string // the preset: "openai", "azure", "anthropic", …
	Model    string // as the provider knows it
	// What the configuration hands out, such as base_url or deployment. Never a key.
	Attributes map[string]string
}

// Outcome says how a call ended.
type Outcome int32

// The outcomes of watermaster.v1.Outcome.
const (
	// Derived from the observation and usage; without either OutcomeUnknown.
	OutcomeUnspecified = Outcome(watermasterv1.Outcome_OUTCOME_UNSPECIFIED)
	// The answer came; usage says what it used.
	OutcomeSucceeded = Outcome(watermasterv1.Outcome_OUTCOME_SUCCEEDED)
	// The provider refused or failed.
	OutcomeFailed = Outcome(watermasterv1.Outcome_OUTCOME_FAILED)
	// The provider said that a rate limit was exceeded.
	OutcomeThrottled = Outcome(watermasterv1.Outcome_OUTCOME_THROTTLED)
	// The call never left. Everything is given back.
	OutcomeUnsent = Outcome(watermasterv1.Outcome_OUTCOME_UNSENT)
	// The call may have run. Nothing is given back.
	OutcomeUnknown = Outcome(watermasterv1.Outcome_OUTCOME_UNKNOWN)
)

// Usage is what a call used in all, the same for every provider. Nil is unknown and settled as
// estimated.
type Usage struct {
	InputTokens           *int64 // all of the prompt, cached and cache-written tokens included
	OutputTokens          *int64 // all that was produced, reasoning included
	CachedInputTokens     *int64 // the part of the input that was read from the cache
	CacheWriteInputTokens *int64 // the part of the input that was written to the cache
	Units                 map[string]int64
}

// clone is apart from the caller's variables, which may change before it is sent.
func (u *Usage) clone() *Usage {
	return &Usage{
		InputTokens: cloneOf(u.InputTokens), OutputTokens: cloneOf(u.OutputTokens), CachedInputTokens: cloneOf(u.CachedInputTokens),
		CacheWriteInputTokens: cloneOf(u.CacheWriteInputTokens), Units: maps.Clone(u.Units),
	}
}

func cloneOf(n *int64) *int64 {
	if n == nil {
		return nil
	}
	return new(*n)
}

// proto is to be sent at once.
func (u *Usage) proto() *watermasterv1.Usage {
	return &watermasterv1.Usage{
		InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, CachedInputTokens: u.CachedInputTokens,
		CacheWriteInputTokens: u.CacheWriteInputTokens, Units: u.Units,
	}
}

// Observation is what was seen of a provider's answer. It must hold no prompt and no key.
type Observation struct {
	Status  int               // 0: no answer came
	Headers map[string]string // those that speak of rates, at most 64
	Body    string            // the beginning, at statuses of 400 and above, at most 4,096 bytes
	// When the answer came. Zero: when the observation is handed over.
	At time.Time
}

// proto tells the age where it matters: quotas refill meanwhile.
func (o *Observation) proto(number uint32, now time.Time) *watermasterv1.Observation {
	out := &watermasterv1.Observation{Number: number, HttpStatus: uint32(max(o.Status, 0)), Headers: o.Headers, Body: o.Body}
	if age := now.Sub(o.At); !o.At.IsZero() && age >= 10*time.Millisecond {
		out.Age = durationpb.New(min(age, 24*time.Hour))
	}
	return out
}

// FailureClass is the kind of a provider's failure: watermaster.v1.FailureClass without its prefix,
// such as "THROTTLED".
type FailureClass string

// Advice says what to do about a failure.
type Advice struct {
	Retry       bool          // another attempt can help
	RetryAfter  time.Duration // 0: at once, or never without Retry
	OtherTarget bool          // another target would do better
	Class       FailureClass
}

func adviceOf(a *watermasterv1.Advice) *Advice {
	if a == nil {
		return nil
	}
	return &Advice{
		Retry: a.GetRetry(), RetryAfter: a.GetRetryAfter().AsDuration(), OtherTarget: a.GetOtherTarget(),
		Class: FailureClass(strings.TrimPrefix(a.GetFailureClass().String(), "FAILURE_CLASS_")),
	}
}

// PressureLevel is a step of the service's configuration; a larger one is scarcer.
type PressureLevel int32

// The levels of watermaster.v1.PressureLevel.
const (
	PressureUnspecified = PressureLevel(watermasterv1.PressureLevel_PRESSURE_LEVEL_UNSPECIFIED) // unknown; take it for normal
	PressureNormal      = PressureLevel(watermasterv1.PressureLevel_PRESSURE_LEVEL_NORMAL)
	PressureElevated    = PressureLevel(watermasterv1.PressureLevel_PRESSURE_LEVEL_ELEVATED)
	PressureHigh        = PressureLevel(watermasterv1.PressureLevel_PRESSURE_LEVEL_HIGH)
	PressureSaturated   = PressureLevel(watermasterv1.PressureLevel_PRESSURE_LEVEL_SATURATED) // the class waits
)

// String is "NORMAL", "ELEVATED", "HIGH", "SATURATED" or "UNSPECIFIED".
func (l PressureLevel) String() string {
	return strings.TrimPrefix(watermasterv1.PressureLevel(l).String(), "PRESSURE_LEVEL_")
}

// Pressure tells how scarce things are for a class.
type Pressure struct {
	Level PressureLevel
	// The worse of the use that would remain if lighter classes stood aside, and the class's
	// predicted wait over its max_wait. 1 is full.
	Utilization float64
	// The use by everybody, of the fullest limit. 1 is full.
	TotalUtilization float64
	// How many of the class wait for the same pools.
	Waiting int64
	// How many tool calls an agent should do with. Nil: no advice.
	MaxToolCalls *uint32
	// Which profile an agent should run with. Empty: no advice.
	AgentProfile string
}

func pressureOf(p *watermasterv1.Pressure) Pressure {
	if p == nil {
		return Pressure{}
	}
	return Pressure{
		Level: PressureLevel(p.GetLevel()), Utilization: p.GetUtilization(), TotalUtilization: p.GetTotalUtilization(),
		Waiting: p.GetWaiting(), MaxToolCalls: p.MaxToolCalls, AgentProfile: p.GetAgentProfile(),
	}
}

// differs says whether an agent has something to do about it.
func (p *Pressure) differs(from *Pressure) bool {
	return p.Level != from.Level || p.AgentProfile != from.AgentProfile ||
		(p.MaxToolCalls == nil) != (from.MaxToolCalls == nil) ||
		p.MaxToolCalls != nil && *p.MaxToolCalls != *from.MaxToolCalls
}

func rejectedOf(r *watermasterv1.Rejected) *Rejected {
	out := &Rejected{
		Reason:  Reason(strings.TrimPrefix(r.GetReason().String(), "REASON_")),
		Message: r.GetMessage(), Binding: bindingsOf(r.GetBinding()),
	}
	if r.GetRetryAfter() != nil {
		after := r.GetRetryAfter().AsDuration()
		out.RetryAfter = &after
	}
	return out
}

func bindingsOf(in []*watermasterv1.Binding) []Binding {
	out := make([]Binding, 0, len(in))
	for _, b := range in {
		out = append(out, Binding{
			Scope: b.GetScope(), Name: b.GetName(), Metric: b.GetMetric(), Window: b.GetWindow().AsDuration(),
			Quota: b.GetQuota(), Utilization: b.GetUtilization(),
		})
	}
	return out
}
