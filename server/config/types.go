package config

import (
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// Config is a configuration that has been read, checked and resolved: defaults are
// filled in, names are matched, amounts are integers.
type Config struct {
	Revision      int64 // `revision:`, or the file's modification time in Unix nanoseconds
	Hash          uint64
	Models        []Model         // by name, ascending
	Organizations []Organization  // by name, ascending
	Classes       []Class         // heaviest first
	Pressure      [3]PressureStep // elevated, high, saturated
}

// Model is what a provider's model is.
type Model struct {
	Name         string
	Aliases      []string // exact, or with one * at the end
	Context      int64    // tokens of prompt and output together; 0: unknown
	MaxOutput    int64    // tokens; 0: unknown
	Capabilities []string // ascending
	Price        Price
}

// Price is in micro-USD per million tokens ($1.25 per million is 1,250,000).
type Price struct{ Input, CachedInput, CacheWrite, Output int64 }

// Organization owns accounts, projects and routes; it is the unit of atomicity.
type Organization struct {
	Name        string
	Was         string
	Limits      []limiter.LimitSpec
	Accounts    []Account // by name, ascending
	Projects    []limiter.ProjectSpec
	Template    *limiter.ProjectSpec // "*"
	MaxProjects int                  // default 1000
	MaxWaiting  int                  // default 10,000
	Routes      []Route              // by name, ascending
	Units       []string             // names of the units that its limits count, ascending
}

// Account is a credential, deployment or region at a provider.
type Account struct {
	Name        string
	Provider    string // name of the preset
	Margin      uint32 // parts per million
	StartWithin time.Duration
	Transit     time.Duration
	Attributes  map[string]string
	Charge      ChargeOverrides
	Pools       []Pool // by name, ascending
}

// Pool is a set of models that share one set of limits.
type Pool struct {
	Name   string
	Was    string
	Models []PoolModel
	Limits []limiter.LimitSpec // Margin, Jitter and Shape are resolved
}

// PoolModel is a model as an account offers it.
type PoolModel struct {
	Name       string
	Attributes map[string]string // handed out with the grant, over the account's
}

// Route is a logical name for targets in the order of preference.
type Route struct {
	Name       string
	Targets    []RouteTarget
	MinQuality int // 1/1000; what a request that says nothing accepts
}

// RouteTarget is one model at one account.
type RouteTarget struct {
	Account string
	Pool    string // resolved from the model
	Model   string
	Quality int // 1/1000, 0 … 1000; default 1000
	Above   int // when_above in 1/1000; 0: none
}

// Class is a priority class.
type Class struct {
	limiter.ClassSpec
	MaxWait time.Duration // the whole patience of a request that says nothing
}

// PressureStep is one level of `pressure:`.
type PressureStep struct {
	At           int           // utilization in 1/1000 at which it begins
	MaxToolCalls int           // 0: says nothing
	AgentProfile string        // "": says nothing
	Divert       bool          // routes prefer targets with when_above
	ReleaseAfter time.Duration // how long the use must stay below before the level falls
}

// ChargeOverrides replace parts of a preset's charge profile (`charge:`); nil
// keeps the preset's. What each means stands with policy.Profile.
type ChargeOverrides struct {
	Admission    *string // sum | max | input | input_and_cap …: see policy.Profile
	Refund       *bool
	CachedWeight *int64 // 1/1000 of a token
	Burndown     *int64 // 1/1000
	OutputOn     *string // admission | completion
	FailedCount  *bool
}
