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
// No goroutine is there to decide. A call that finds nobody at work leads: it appends what
// has gathered and applies what comes back, on its own goroutine. Calls that come meanwhile
// gather in the next batch, which one of them leads (commit.go). Nothing waits for a batch
// to fill. An organization has a goroutine only while there is something that nobody waits
// for: to read what others have appended, or to look for a log that is away.
//
// # Waiting
//
// A call that is queued stays open for its block; whatever grants it, the leader that applies
// the grant wakes it (place.go). When a block ends the place is kept (Cancel, Away), when a
// caller cancels it is given up (Cancel, Gone), and a grant that could not be told to
// anybody is given back. One alarm for each organization lets time pass when
// nobody calls.
//
// # Shared logs
//
// A log that is a store.Nudger is other processes' too. They decide alike, for all apply the
// same entries (package replica). A nudge says that another's entry concerns somebody here;
// what is only shown is read when it is asked for, if it is older than half a second.
//
// Such a log may be away (away.go): attempts have failed for the store's timeout. Then nothing
// gathers, and this process grants what it may alone (solo.go, package alone), as the account's
// when_away says. Releases of what was granted alone are settled here; those of other leases
// hear when to ask again. One goroutine looks for the log. When it is there, it tells of who
// has left and of what was granted, and only when that is in the log others append again. A
// server that has reached none of its organizations' logs for a second is not ready.
//
// A log that is there and cannot be understood, by a state, an entry or a version of the rules,
// is another thing: the organization is lost here, the server is not ready, and nothing is
// appended, for others would decide on what nobody here hears of. What had to be loaded is tried
// again every five seconds; what came as it was read takes another build.
//
// # Configurations
//
// An organization's part of a configuration, compiled, is an edition; a call loads the one in
// force once (edition.go). Another comes into force with the Configure entry of the log, so
// that the engine and the edition change together, and what keeps or tells its name (`was:`)
// keeps its counters. An organization that is renamed or taken out is retired: who waits is
// asked again for, at whoever has its place now (reload.go).
//
// # Envoy
//
// A request of Envoy's rate-limit service goes by its domain (ratelimit.go). One that
// --envoy-limits gives limits for is an organization that nobody sees, with a log of its own
// (domain.go): each request is one Hit there, on all counters or on none (hit.go). Its limits
// are not in that log, but in every Hit. Any other domain stands for an organization, whose
// budgets are drawn on (draw.go).
//
// # Who calls
//
// With credentials in the configuration a call has one in its context, or is refused
// (caller.go, package access). It says which organization, projects and classes the call may
// name; leases of others are as unknown as those that never were.
//
// # What only looks
//
// Pressure, headroom, trends and the largest consumers are read from the engine, or counted
// beside it. What Prometheus is told is counted by package metrics, where count.go says so, or
// read from the engine at a scrape (metrics.go). No decision depends on any of it.
package server
