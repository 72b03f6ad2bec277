package watermaster

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// ErrClosed says that the Limiter is closed.
var ErrClosed = errors.New("watermaster: the limiter is closed")

// ErrTooLate says that the time in which a granted call had to start has passed. Release the
// lease with OutcomeUnsent and ask again.
var ErrTooLate = errors.New("watermaster: the grant's time to start has passed")

// Reason says why a request was refused. New ones may come; "LOCAL_LIMIT" is this process's own.
type Reason string

// The reasons: watermaster.v1.Reason without its prefix, and Local's.
const (
	TooLarge        Reason = "TOO_LARGE"
	QueueFull       Reason = "QUEUE_FULL"
	WaitTooLong     Reason = "WAIT_TOO_LONG"
	Gated           Reason = "GATED"
	ProviderBlocked Reason = "PROVIDER_BLOCKED"
	NoTarget        Reason = "NO_TARGET"
	RetryBudget     Reason = "RETRY_BUDGET"
	Paused          Reason = "PAUSED"
	LocalLimit      Reason = "LOCAL_LIMIT"
)

// Rejected says that the request may not go. It is no failure of the service.
type Rejected struct {
	Reason Reason
	// A lower bound of the time after which asking again can help. Nil: never.
	RetryAfter *time.Duration
	// The limits in the way, at most 4.
	Binding []Binding
	// For people.
	Message string
	// The request that was refused.
	RequestID string
	// Of the caller's class.
	Pressure Pressure
}

// Error tells the reason, the first limit in the way and when to ask again.
func (r *Rejected) Error() string {
	var b strings.Builder
	b.WriteString("watermaster: ")
	b.WriteString(first(r.Message, string(r.Reason)))
	if len(r.Binding) > 0 {
		fmt.Fprintf(&b, " (%s)", &r.Binding[0])
	}
	if r.RetryAfter != nil {
		fmt.Fprintf(&b, ", ask again after %v", *r.RetryAfter)
	}
	return b.String()
}

// Binding is a limit that stands in the way.
type Binding struct {
	Scope  string // "organization", "project/NAME" or "pool/ACCOUNT/POOL"
	Name   string // unique in its scope together with the metric
	Metric string // "requests", "tokens", …
	// The window's length. 0: a stock, held from grant to release.
	Window time.Duration
	Quota  int64 // in the metric's unit
	// Held and reserved, as a part of the effective quota; above 1 after debts.
	Utilization float64
}

// String is such as "pool/openai-main/gpt-5: tokens 200000 per 60s, 99 % used".
func (b *Binding) String() string {
	per := ""
	if b.Window > 0 {
		per = " per " + seconds(b.Window) + "s"
	}
	return fmt.Sprintf("%s: %s %d%s, %.0f %% used", b.Scope, b.Metric, b.Quota, per, b.Utilization*100)
}

// Unavailable says that no address of the service answered until the caller's patience ended.
type Unavailable struct {
	Message string
	cause   error
}

func (u *Unavailable) Error() string { return "watermaster: " + u.Message }

// Unwrap is the last address's error.
func (u *Unavailable) Unwrap() error { return u.cause }

// CallError says that the service finds the request wrong, or has failed: a name that is not
// configured (NotFound), a field that breaks its rule (InvalidArgument), a token that is missing
// or not for this (Unauthenticated, PermissionDenied), too many calls for the service itself
// (ResourceExhausted). Sending the same again does not help, but for the last.
type CallError struct {
	Code    codes.Code
	Message string
}

func (e *CallError) Error() string { return fmt.Sprintf("watermaster: %s: %s", e.Code, e.Message) }
