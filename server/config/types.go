package config

import (
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// Config is a configuration that has been read, checked and resolved: defaults are
// filled in, names are matched, amounts are integers.
type Config struct {
	// Revision is `revision:`, or the file's modification time in Unix nanoseconds. Of two
	// configurations the one with the larger revision is in force, so a file that begins to
	// number its revisions must go on from there.
	Revision      int64
	Hash          uint64          // FNV-1a of the file and, behind it, of what its ${VAR}s stood for
	Models        []Model         // by name, ascending
	Organizations []Organization  // by name, ascending
	Classes       []Class         // heaviest first
	Pressure      [3]PressureStep // elevated, high, saturated
	Credentials   []Credential    // by name, ascending; at most 10,000
	Warnings      []Problem       // what is legal and yet suspect, by line

	source *source
}

// Credential lets in whoever presents a key or a verified client certificate, and says
// what it may be used for. It has at least one of the two.
type Credential struct {
	Name         string   // for logs and metrics
	SHA256       []Digest // of its keys, as written; at most 16, none in two credentials
	Certificates []string // DNS or URI SANs, or common names of certificates without; at most 16, none in two credentials
	Organization string   // "*": any, the request says which

	// Projects are names, and prefixes that end in *, as written; nil: all of the
	// organization. The first, unless it is a prefix, is what a request takes that says
	// nothing.
	Projects        []string
	PriorityClasses []string // as written; nil: all
	Services        []string // of limiter, monitor, envoy and admin, as written; default limiter and monitor
}

// Model is what a provider's model is.
type Model struct {
	Name         string
	Aliases      []string // exact, or with one * at the end; as written
	Context      int64    // tokens of prompt and output together; 0: unknown
	MaxOutput    int64    // tokens; 0: unknown
	Capabilities []string // ascending
	Price        Price
}

// Price is in micro-USD per million tokens ($1.25 per million is 1,250,000). What the
// file does not say of CachedInput and CacheWrite is as Input.
type Price struct{ Input, CachedInput, CacheWrite, Output int64 }

// Organization owns accounts, projects and routes; it is the unit of atomicity.
type Organization struct {
	Name        string
	Was         string
	Limits      []limiter.LimitSpec // by metric, then as written
	Accounts    []Account           // by name, ascending; at least one
	Projects    []limiter.ProjectSpec
	Template    *limiter.ProjectSpec // "*"; nil: projects that are not named are refused
	MaxProjects int                  // 1 … 1,000,000, not below len(Projects); default 1000
	MaxWaiting  int                  // 1 … 1,000,000; default 10,000
	// RetryBudget is how many retries each first attempt that is granted earns, in 1/1000;
	// 1000: retries are not bounded. 0 … 1000; default 200.
	RetryBudget int
	// MaxReplicas is into how many parts is divided what is granted while the shared log
	// cannot be reached: so many replicas have one. 1 … 64; default 8, or that of the file.
	MaxReplicas int
	// AfterLoss is for whom to wait after the shared log has lost something: default those that
	// were heard just now.
	AfterLoss limiter.LossPolicy
	ColdStart limiter.ColdStart // default: that of the file
	Routes    []Route           // by name, ascending
	Units     []string          // names of the units that it may count, ascending
}

// Account is a credential, deployment or region at a provider.
type Account struct {
	Name        string
	Was         string            // its former name; Pool.Was already takes it into account
	Provider    string            // name of the preset, one of Providers
	Margin      uint32            // parts per million, below 1,000,000; default 100,000
	StartWithin time.Duration     // 1 ms … 1 min; default 700 ms
	Transit     time.Duration     // 0 … 1 min; default 300 ms
	Away        Away              // default: the margin
	Attributes  map[string]string // handed out with the grant; keys that begin with x- are not seen
	Charge      ChargeOverrides
	Pools       []Pool // by name, ascending; at least one
}

// Delay is D, the longest time from a grant until the provider counts the call.
func (a *Account) Delay() time.Duration { return a.StartWithin + a.Transit }

// Pool is a set of models that share one set of limits.
type Pool struct {
	Name   string              // within its account; the engine calls it account/pool
	Was    string              // the engine's former name of it: account/pool, complete
	Models []PoolModel         // as written; at least one
	Limits []limiter.LimitSpec // by metric, then as written; Margin, Jitter and Shape are resolved
}

// PoolModel is a model as an account offers it.
type PoolModel struct {
	Name       string
	Attributes map[string]string // handed out with the grant, over the account's

	// Output is what calls in flight produce (`output: {expected, deviation}`): where the
	// provider counts output as it is produced, that much is kept free for each rather than
	// its cap. Zero: unknown, the cap is kept free.
	Output limiter.Moments
}

// Route is a logical name for targets in the order of preference.
type Route struct {
	Name       string
	Targets    []RouteTarget // at least one
	MinQuality int           // 1/1000, 0 … 1000; what a request that says nothing accepts
}

// RouteTarget is one model at one account.
type RouteTarget struct {
	Account string
	Pool    string // resolved from the model; its name within the account
	Model   string
	Quality int // 1/1000, 0 … 1000; default 1000
	Above   int // when_above in 1/1000, 1 … 1000; 0: none
}

// Class is a priority class.
type Class struct {
	limiter.ClassSpec
	MaxWait time.Duration // the whole patience of a request that says nothing; default 2 min
}

// PressureStep is one level of `pressure:`. What a level does not say is as in the level
// below it.
type PressureStep struct {
	At           int           // utilization in 1/1000 at which it begins, 1 … 1000; rises by level
	MaxToolCalls int           // 0: says nothing
	AgentProfile string        // "": says nothing
	Divert       bool          // routes prefer targets with when_above
	ReleaseAfter time.Duration // how long the use must stay below before the level falls
}

// ChargeOverrides replace parts of a preset's charge profile (`charge:`); nil
// keeps the preset's. What each means stands with policy.Profile.
type ChargeOverrides struct {
	Admission    *string // sum | max | input | input_and_cap: see policy.Profile
	Refund       *bool
	CachedWeight *int64  // 1/1000 of a token, 0 … 1000
	Burndown     *int64  // 1/1000, 0 … 1,000,000
	OutputOn     *string // admission | completion
	FailedCount  *bool
}
