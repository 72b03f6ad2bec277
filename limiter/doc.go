// Package limiter is the decision engine: a pure, deterministic state machine per
// organization that divides the rate limits of LLM providers among many callers.
//
// An [Engine] is changed by nothing but Apply(command, now): no clock, no I/O, no
// randomness, no iteration over maps and no floating point take part in a decision.
// So every replica that applies the same log holds the same state, and a snapshot
// with the entries behind it is as good as the whole log.
//
// # How a call is judged
//
// A request brings a list of targets, and for each the amounts that it would charge.
// Every limit that it touches (of the pool, the project and the organization) must
// have room; then all of them are charged, or else none is. A limit has a shape:
//
//   - a sliding window keeps every charge from its grant for W + D, where D is the
//     longest way from a grant to the instant at which the provider counts the call.
//     Then no window at the provider exceeds the quota (window.go);
//   - a token bucket is GCRA with the burst B − rD (bucket.go);
//   - a calendar limit counts from midnight to midnight (calendar.go);
//   - a stock, such as concurrency, is held from grant to release.
//
// A grant is a lease. It reserves estimates; releasing it settles what was really used.
//
// # Counters
//
// A [Hit] draws on counters that no configuration names (counter.go): all that its parts ask for,
// or nothing, and never waits. Each is a sliding window that begins with its first hit and is
// forgotten when it is empty, or, where there are more than a million, when it is the one that
// would be empty first. An amount counts for exactly the window; beyond sixteen entries those
// within 1/240 of the window are joined, and count from the latest of them.
//
// # Who goes first
//
// A call that can't go waits in the queue of each pool that may serve it: classes by
// start-time fair queuing, projects within a class likewise, first come first served
// within a project (queue.go). Who may pass a head that is stopped is ruled by pump.go.
// Batch work is paced, so that it never takes a window whole (pacer.go).
//
// # Many processes, one log
//
// Each entry of the log is begun by the process that sent it (process.go): a batch is applied
// once, and the waiters of a process that is not heard are not granted. When entries may be
// lost nothing is granted until those that may know more have told it (rollcall.go, lost.go,
// restore.go): charges at the times at which they were made, so that the windows hold what they
// would have held (counters likewise: recount.go). Each process that joins has a seat (seat.go), by which it knows its part of
// the margin while it cannot reach the log.
//
// # Cost
//
// A command costs well below a microsecond and allocates nothing in the steady state,
// whatever the number of leases and waiters.
package limiter
