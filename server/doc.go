// Package server serves the decisions of package limiter over gRPC.
//
// A [Server] has an organization for each of its configuration's. A call becomes a command
// (package policy says which), the command goes into the organization's log (package
// store), and what comes back of the log is applied to the organization's engine. Only what
// the log has ordered is decided on.
//
//	call ── validate ── policy.Acquire ── batch ── Log.Append ── Engine.Apply ── answer
//
// # Group commit
//
// An organization has no goroutine. A call that finds nobody at work leads: it appends what
// has gathered and applies what comes back, on its own goroutine. Calls that come meanwhile
// gather in the next batch, which one of them leads (commit.go). Nothing waits for a batch
// to fill.
//
// # Waiting
//
// A call that is queued stays open for its block; whatever grants it, the leader that applies
// the grant wakes it (place.go). When a block ends the place is kept (Cancel, Away), when a
// caller cancels it is given up (Cancel, Gone), and a grant that could not be told to
// anybody is given back. One alarm for each organization lets time pass when
// nobody calls.
//
// # What only looks
//
// Pressure, headroom, trends and the largest consumers are read from the engine, or counted
// beside it. What Prometheus is told is counted by package metrics, where count.go says so, or
// read from the engine at a scrape (metrics.go). No decision depends on any of it.
package server
