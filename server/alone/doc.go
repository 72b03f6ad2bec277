// Package alone decides for one process while the log that all processes share cannot be
// reached.
//
// An [Engine] is a limiter.Engine whose limits are this process's parts (config.Away): by
// default those of the margin that is kept free below the provider's quota. The engine of
// the log fills the quota less its margin, whoever still reaches it; the parts of
// max_replicas processes are together no more than the margin. So nothing exceeds the quota,
// however the processes are cut off from the log and from each other:
//
//   - What each has granted is held in its own ledger as long as in the log's, W + D (theorem
//     1 of the algorithms). The ledger is kept from one absence to the next: to go away twice
//     in one window does not spend a part twice.
//   - A part belongs to a seat, which the log gives out (limiter.Engine.Seat). A process
//     without one has no part, nor has one that has not yet joined the log.
//   - What was granted is put into the log when it is back (Lost). There it takes from the
//     quota until it expires, and the ledger here has it too.
//
// A call that is larger than a part waits for the log. Who waits here is told when there is
// room, in the same order as always.
//
// A [Breaker] says when the log counts as away.
package alone
