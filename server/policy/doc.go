// Package policy turns a request into a command for the engine, and a call's end into
// its settlement. It knows what the engine does not: routes, models, prices, and how each
// provider charges, answers and refuses.
//
// Everything here is a pure function of a configuration and its arguments: there is no
// clock, no I/O, no state that changes, and randomness is passed in. A [Policy] is compiled
// once for an organization, never changes, and may be used by many goroutines.
//
//	Acquire   request → which targets, in which order, and what each would charge
//	Release   what a worker saw → what the provider counted, gates, advice
//	Report    the same for a call that still runs
//
// # What is charged
//
// A call is charged in two scopes, which may differ. To the pool goes what the provider
// counts, by its [Profile]: cached tokens may be free, output may count when it is produced,
// what was not used may be lost. To the owner (project and organization) goes the plain
// amount on admission, given back where it was not used.
//
// A charge is made only for a metric that some limit has: the pool's, or the
// organization's or any project's. This is decided by Compile.
//
// # The conservative choice
//
// Where a provider's documentation is silent, a profile assumes what counts more: nothing
// is given back, failed calls count, cached tokens are whole tokens. An owner who knows
// better says so in the configuration (`charge:`).
package policy
