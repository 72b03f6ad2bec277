// Package file is the log of a single process on disk: what an organization used is known
// after a restart and after a crash.
//
// # What is promised
//
// A batch is written to the operating system before Append returns. So the end of the
// process loses nothing that was acknowledged, kill -9 included, whatever [Sync] says. Sync
// bounds what the end of the machine (a power cut, a kernel's crash) loses: nothing with
// Always; with a time, what was appended in that time before it and while the disk was
// being synced; with Never, what the system had not written by itself, some 30 s on Linux.
// The beginning of a log and snapshots are synced in any case.
//
// A write that fails (the disk is full) is undone and is ErrUnavailable; the next may
// succeed. A sync that fails is not repeated: the system may have dropped the data and then
// calls the next one a success. The organization's log counts as lost from there: Append is
// ErrBroken, Load is ErrNotFound, and only Create with a state, that of the process that
// has it all in memory, begins it anew in new files.
//
// # Files
//
//	DIR/watermaster.lock            held by the process
//	DIR/watermaster.state           since when the directory has lost nothing
//	DIR/acme/MAJOR-MINOR.log        entries that follow a position
//	DIR/acme/MAJOR-MINOR.snap       the state at a position
//
// Every file begins with its kind, a format version, and the organization's name, under a
// checksum; every entry has one. A later version is an error, never a guess. The latest
// snapshot but one is kept with all entries since; what is before it goes.
//
// # Opening
//
// What follows the last whole entry was being written when the process or the machine
// ended. It is cut, and the Logger told. The same goes for whole entries behind a hole if
// each was written before the hole was known to be synced: a machine that ends may have
// written later parts of a file before earlier ones. A snapshot that cannot be read is
// replaced by the one before it.
//
// All other damage is an error that names the file, and all calls for that organization
// return it. It wraps store.ErrBroken, not ErrNotFound: nobody may take it for an
// organization that has used nothing. Nothing is changed; calls for others work.
// To begin without what is damaged, move the organization's directory away and start
// again. The log has then noted when it saw the damage, so that Kept says how little is
// known. Do not put back an old copy, nor remove an organization's directory while its
// windows run: what was used since is not in it.
//
// # Time
//
// Log time goes by the monotonic clock, from what it was at the last entry plus what has
// passed since by the wall clock, as it was when the log was opened, but never less than
// nothing. So a wall clock that was set back while the process was down makes charges last
// longer, by at most that; one that was set forward ends them early, and nobody can know.
// Steps while the process runs have no effect. The same holds for Kept.
package file
