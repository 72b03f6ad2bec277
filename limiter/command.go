package limiter

import "time"

// Time is log time: nanoseconds since the Unix epoch as the log counts them. It
// never runs backwards in an engine; see Engine.Apply.
type Time int64

// Never is later than every other time.
const Never = Time(1<<63 - 1)

// Add gives the time d later, or Never.
func (t Time) Add(d time.Duration) Time {
	if s := t + Time(d); d < 0 || s >= t {
		return s
	}
	return Never
}

// Sub gives the time from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// A Key names one attempt of one request: a digest of (request_id, attempt),
// unique within the organization.
type Key [16]byte

// A LeaseID names a lease. The sender of an Acquire chooses it: an engine's own
// counter would give one id to two leases in two histories of the log.
type LeaseID struct {
	Incarnation uint64 // of the process that asked; random, new at every start
	Count       uint64 // of that process; 1, 2, 3 …
}

// A Command changes an engine. It is encoded by AppendCommand, ordered by the
// log, and applied by every replica alike.
type Command interface{ kind() commandKind }

// Configure replaces the limits, pools, projects and classes of an organization.
// What has the same name (or is named in Was) keeps its counters.
//
// Of two, the one with the later Generation wins, whatever the order of their
// arrival; at equal generations the larger Hash.
type Configure struct {
	Generation  int64  // revision of the configuration, or the file's modification time
	Hash        uint64 // of its content
	Limits      []LimitSpec
	Pools       []PoolSpec
	Projects    []ProjectSpec
	Template    *ProjectSpec // for projects that are not named; nil: they are refused
	MaxProjects int          // how many projects the organization may have, named ones included
	Classes     []ClassSpec
	MaxWaiting  int // waiters in all
	AfterLoss   LossPolicy

	// Only the first Configure of an engine obeys these two: what to assume of the use
	// before, and for how long it is known that there was none. ≥ 0.
	ColdStart ColdStart
	Kept      time.Duration
}

// Shape says how a provider counts a limit.
type Shape uint8

const (
	// SlidingWindow: no window of the given length, wherever it begins, holds more
	// than the quota. Safe against every provider (algorithms.md, theorem 2).
	SlidingWindow Shape = iota
	// TokenBucket: a bucket of Burst that refills by Quota per Window. Safe only
	// against a provider that is one.
	TokenBucket
	// Calendar: a day, week or month that begins at midnight of a zone.
	Calendar
	// Stock: held from grant to release; no window.
	Stock
)

// Period is the length of a calendar limit.
type Period uint8

const (
	Day Period = iota
	Week
	Month
)

// A ZoneOffset is one stretch of a time zone: from From on, local time is UTC +
// Seconds. Calendar limits carry the stretches that matter to them, so that two
// replicas whose zone databases differ still agree.
type ZoneOffset struct {
	From    Time
	Seconds int32
}

// LimitSpec is one limit: a metric × a quota × a window × a shape.
type LimitSpec struct {
	Name   string // as it is shown; unique in its scope together with the metric
	Was    string // a former Name whose counters are taken over
	Metric Metric
	Shape  Shape
	Quota  int64         // > 0, in the metric's unit
	Window time.Duration // > 2·Jitter; 0 for Stock and Calendar
	Burst  int64         // TokenBucket: the bucket's size; 0 means Quota
	Margin uint32        // kept free below the quota, in parts per million
	Jitter time.Duration // D: the longest time from a grant until the provider counts the call
	Period Period        // Calendar
	Zone   []ZoneOffset  // Calendar: ascending; none means UTC
}

// PoolSpec is a set of models that share one set of limits at a provider. The one whose name is
// empty is nobody's: it has no limits, and one model without a name. It serves those who draw on
// the limits of their project and organization alone; those who watch are not shown it.
type PoolSpec struct {
	Name        string // account/pool
	Was         string
	Models      []string
	Outputs     []Moments     // by model; shorter than Models: the others have none
	StartWithin time.Duration // what a worker has, from its Acquire, to send the call in
	Limits      []LimitSpec
}

// Moments are those of the output o of the calls *in flight*, which the longer ones are
// more often among: Mean is E[o²]/E[o], Variance E[o³]/E[o] − Mean², over fresh calls.
type Moments struct {
	Mean     int64 // tokens; 0: unknown
	Variance int64 // tokens²
}

// ProjectSpec is one that draws. The template's Name is empty.
type ProjectSpec struct {
	Name   string
	Was    string
	Weight int // share beside the other projects of a class, ≥ 1
	Limits []LimitSpec
}

// ClassSpec is a priority class.
type ClassSpec struct {
	Name       string
	Weight     int    // share beside the other classes, ≥ 1; the heavier also go first
	Reserve    uint32 // part of every quota kept from lighter classes, in parts per million
	MaxWaiting int    // waiters of this class; 0 means no bound but the organization's
	Paced      bool   // held to an even rate (all but the heaviest class, by default)
}

// Acquire asks for one call on one of several targets.
type Acquire struct {
	Key     Key
	Lease   LeaseID // the lease's name should it be granted
	Project string
	Class   string
	Arrived Time          // log time at which the worker's RPC arrived; not later than now
	MaxWait time.Duration // patience since the first time it was asked; 0: never queue
	TTL     time.Duration // of the lease
	Targets []Target      // in the order of preference: Rank never falls
	// Unpaced: the caller cannot wait. The call goes now or not at all, whatever MaxWait says, and
	// the pacer does not hold it back.
	Unpaced bool
}

// A Target is a pool that may serve the call, and what it would charge there.
type Target struct {
	Pool  string
	Model string
	// Rank orders targets, the smaller the better. Of equal ones the pool with the
	// most headroom is tried first.
	Rank uint8
	// Above, in 1/1000, is how far every better target must be used for this one to be tried
	// before them. 0: tried in its order. Whoever would have to wait is offered all.
	Above uint16
	// Charges ascend by metric; at most one per metric and scope.
	Charges []Charge
}

// A Charge is an amount against every limit of one metric in a scope.
type Charge struct {
	Metric Metric
	Flags  ChargeFlags
	Amount int64 // ≥ 0, in the metric's unit
}

// ChargeFlags say which limits a charge goes to and how it is settled.
type ChargeFlags uint8

const (
	// ToPool: the pool's limits, where a provider enforces.
	ToPool ChargeFlags = 1 << iota
	// ToOwner: the limits of the project and of the organization.
	ToOwner
	// OnCompletion: the provider counts what was produced, when it is produced. The
	// amount is a reservation; what was really used enters the window when it is
	// reported. Without it, the amount is counted on admission.
	OnCompletion
	// Refundable: what was counted on admission and not used is given back.
	Refundable
	// Pooled: with OnCompletion, what is reserved is not this call's Amount but what all
	// such calls in flight will produce together, by the moments of the model's output.
	Pooled
)

// Renew extends leases by their TTL.
type Renew struct{ Leases []LeaseID }

// Outcome says how a call ended.
type Outcome uint8

const (
	// Used: Actual is what the provider counted.
	Used Outcome = iota
	// Unsent: the call never left; everything is given back.
	Unsent
	// Unknown: the call may have run (a broken stream, a crash). Charged with the larger of
	// the estimate and Actual; nothing is given back.
	Unknown
)

// Release ends a lease. A second one changes nothing.
type Release struct {
	Lease   LeaseID
	Outcome Outcome
	Actual  []Charge // cumulative; a metric and scope that is absent counts as estimated
	Gates   []Gate
}

// Report tells what a running call has used so far, or what was seen of a pool.
type Report struct {
	Lease  LeaseID  // zero: none
	Actual []Charge // cumulative
	Gates  []Gate
}

// A Gate closes a pool for calls that charge a metric.
type Gate struct {
	Pool   string
	Metric Metric
	All    bool          // whatever they charge
	For    time.Duration // from now; the later of two ends wins
	// Blocked: the provider refuses for a reason that waiting for a window does not
	// cure (billing, outage). It only changes the reason that is given.
	Blocked bool
}

// Tick lets time pass.
type Tick struct{}

// Departure says how a caller left its place.
type Departure uint8

const (
	// Away: the caller may come back. Its place is kept for 10 s and is not granted
	// meanwhile.
	Away Departure = iota
	// Gone: it will not. Waiting, it is forgotten; granted, the lease is unsent.
	Gone
)

// Cancel tells that the caller of an Acquire has left. It is obeyed only if Lease
// is the one that the latest Acquire under the key proposed, by the process that cancels,
// and, for a grant, if no other process ever asked under the same key and it was told once:
// another may have answered it.
type Cancel struct {
	Key       Key
	Lease     LeaseID
	Departure Departure
}

// Join tells of a process that serves the organization from here on, and that it has told
// what it knew: a roll call waits for it no longer.
type Join struct {
	Incarnation uint64
	Behaviour   uint32 // the latest version of the engine's behaviour that it knows
}

// Restore puts back what the log has lost of leases. Each is a forced charge, like a debt,
// entered at the time at which it was made. Of a lease that is known already it changes
// only what the log does not know: how it was settled, that it was renewed, what was reported.
// So it may come any number of times, and from everybody who remembers. An engine without a
// configuration has no limits to charge, and drops it: Configure comes first.
type Restore struct{ Leases []LeaseState }

// LeaseState is what Restore knows of a lease; see Engine.Lost. Times are told as what has
// passed or is left, for the new log may have another time.
type LeaseState struct {
	Key     Key
	Lease   LeaseID
	Project string
	Class   string
	Pool    string
	Model   string
	Age     time.Duration // since the grant
	Left    time.Duration // of the TTL; ≤ 0: it has expired
	TTL     time.Duration
	Settled bool
	Unsent  bool          // settled so: whatever was not reported was given back
	Ended   time.Duration // since it was settled or has expired
	Charges []HeldCharge  // ascending by metric
}

// A HeldCharge is what a lease has in the limits of one metric and scope.
type HeldCharge struct {
	Charge         // as it stands: the estimate, or what was used once it is settled
	Seen     int64 // of a lease that is not settled: reported so far
	Refunded int64 // of a settled one: how much of the estimate was given back
	Late     bool  // of a settled one: a part was charged after the grant, as a debt
}

// Loss tells that entries may be gone that were answered: from here on nothing is granted
// until those that may know more have come. It belongs before all else in its entry, for other
// commands let time pass, and grant; behind it, in the same entry, what the sender restores.
type Loss struct {
	// History names the log as it is now. A roll call begins once per history.
	History uint64
	// Restores: the sender restores something. Then one begins in a known history too, unless one
	// is under way or has just ended.
	Restores bool
}

// Upgrade puts a later version of the engine's behaviour in force.
type Upgrade struct{ Behaviour uint32 }

// Leave tells that a process has ended: it decides nothing any more, and its seat may be
// another's.
type Leave struct {
	Incarnation uint64
	// Spent: it has decided something on its own that may still count.
	Spent bool
}

// Behaviour is the version of the engine's decisions. Replicas agree on one before it is
// used, so that an upgrade may roll.
const Behaviour = 2

type commandKind uint8

const (
	kindConfigure commandKind = 1 + iota
	kindAcquire
	kindRenew
	kindRelease
	kindReport
	kindTick
	kindCancel
	kindJoin
	kindRestore
	kindLoss
	kindUpgrade
	kindRestoreCounted
	kindLeave
	kindHit
	kindRecount
	kindAcquireUnpaced // an Acquire that is Unpaced
	kindGiveBack
)

func (*Configure) kind() commandKind { return kindConfigure }
func (c *Acquire) kind() commandKind {
	if c.Unpaced {
		return kindAcquireUnpaced
	}
	return kindAcquire
}
func (*Renew) kind() commandKind    { return kindRenew }
func (*Release) kind() commandKind  { return kindRelease }
func (*Report) kind() commandKind   { return kindReport }
func (*Tick) kind() commandKind     { return kindTick }
func (*Cancel) kind() commandKind   { return kindCancel }
func (*Join) kind() commandKind     { return kindJoin }
func (*Restore) kind() commandKind  { return kindRestoreCounted }
func (*Loss) kind() commandKind     { return kindLoss }
func (*Upgrade) kind() commandKind  { return kindUpgrade }
func (*Leave) kind() commandKind    { return kindLeave }
func (*Hit) kind() commandKind      { return kindHit }
func (*Recount) kind() commandKind  { return kindRecount }
func (*GiveBack) kind() commandKind { return kindGiveBack }
