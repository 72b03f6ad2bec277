// Package memory is the log of a single process: a mutex and a counter. It is the
// embedded default, and what tests of several replicas in one process share.
//
// It never waits, has no goroutine, and takes some tens of nanoseconds for a batch.
// Nothing outlives the process.
//
// By default it keeps no entries: its only reader has had each in the answer to its own
// Append. A reader that has to load again finds what a lost log would leave it: nothing
// but the snapshot, if that is the latest entry. With Options.Keep the entries since the
// last snapshot but one are kept, so that several readers can share it and one can begin
// again after a fault; then somebody has to install snapshots.
package memory
