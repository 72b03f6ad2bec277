// Package store is the contract of an ordered log with snapshots, one for each
// organization.
//
// Replicas that apply the same commands in the same order, at the same times, decide
// alike. A Log gives them that order and those times, and nothing else: it knows bytes,
// positions and time, and nothing of limits. What it promises:
//
//   - One order. Every reader of an organization's log has the same entries at the same
//     positions, each once. What cannot be promised any longer (the log was lost,
//     trimmed, or belongs to another history) is ErrBroken and never a gap.
//   - No lost write. A batch whose fate is unknown is appended again, unchanged, until it
//     is seen. So it may be in the log twice, and readers ignore an entry whose number is
//     not above the last of its incarnation that they applied.
//   - One time. The time of an entry is never before that of the entry before it, and
//     every reader has the same. It advances by the claims that batches carry.
//   - Snapshots. A state at a position stands for all entries up to it. One that belongs
//     to another history, or is older than the present one, does not get in.
//
// A replica's round: Load (ErrNotFound: Create, then Load), append a Join, and from then
// on Append, which brings back what the others appended meanwhile, its own batch
// included. It decides on that. On ErrBroken it begins again, and puts back into the log
// what it knows and the log does not.
//
// Package store/storetest has one suite that holds every log to this. Packages store/memory
// and store/file are the logs of a single process, gone with it or on disk; package
// store/redis is that of any number of processes.
package store
