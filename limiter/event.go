package limiter

import "time"

// EventKind says what a command has brought about.
type EventKind uint8

const (
	Granted  EventKind = 1 + iota // the call may go
	Queued                        // the caller waits; RetryAfter is a lower bound of the wait
	Refused                       // the caller is not queued, or no longer
	Settled                       // a lease ended by Release
	Renewed                       // Left is what the lease has
	NotFound                      // the lease is unknown or forgotten
	Expired                       // a lease ended by its TTL
	Lapsed                        // a place ended because nobody came back for it
	Reported                      // usage so far was booked
	Counted                       // a counter was hit, or looked at; one for each of a Hit
)

// Reason says why an Acquire was refused.
type Reason uint8

const (
	NoReason        Reason = iota
	TooLarge               // it never fits
	QueueFull              // too many wait already
	WaitTooLong            // the patience ends before it can be granted
	Gated                  // the pool is closed until RetryAfter
	ProviderBlocked        // closed for a reason that waiting does not cure
	NoTarget               // no pool of the request exists, or is left
	UnknownProject         // not configured, no template
	UnknownClass           // not configured
	TooManyProjects        // the template's projects are at MaxProjects
	NotYet                 // Counted: nothing is counted during a roll call, or before all processes know how
)

// MaxBinding bounds the limits that an event names.
const MaxBinding = 4

// An Event tells what happened to one caller or lease. Which fields are set
// depends on the kind.
type Event struct {
	Kind   EventKind
	Reason Reason // Refused
	Again  bool   // Granted: the same grant, told again
	Late   bool   // Settled: the lease had expired, or was settled before
	Key    Key    // Granted, Queued, Refused, Lapsed
	Lease  LeaseID
	Pool   string // Granted, Settled, Expired
	Model  string // Granted

	Waited      time.Duration // Granted: from the RPC's arrival until the grant
	StartWithin time.Duration // Granted: what is left of it, from the RPC's arrival
	Left        time.Duration // Granted, Renewed: what is left of the TTL
	// RetryAfter, Refused and Queued: a lower bound. Counted: if it is over, when the same Hit passes
	// if nothing else comes. < 0: never.
	RetryAfter time.Duration

	Binding  [MaxBinding]LimitID // Refused, Queued, Granted after a wait: what stopped it
	Bindings uint8

	// Settled: how many limits were charged less than reserved, and more.
	Refunds, Debts uint8

	// Counted, by the order of the Hit's counters.
	Over       bool          // the amount goes beyond the quota
	Charged    bool          // it was entered
	Remaining  int64         // ≥ 0: of the quota, after this
	ResetAfter time.Duration // until nothing counts any more
}

// A LimitID names a limit of an engine until the next Configure; see Engine.Limit.
type LimitID uint32
