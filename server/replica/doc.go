// Package replica is one process's part in the log of one organization: it puts batches of
// commands into the log exactly once, applies what the log says to an engine, and mends what
// breaks. What the commands are for, and who waits for them, is its owner's.
//
// # Commit
//
// A batch is sealed once and never changed: while it is not known whether it is in the log,
// the same bytes go out again before any other (doubt). What is decided is what comes back.
//
// # When the log breaks
//
// Whoever notices loads it again, before anything else is appended, or begins it from what this
// process knows. Then one batch goes in: Loss, if
// the history is another than the one that was followed; Restore with every lease that was
// known and is not there; Join. From the Loss on, the engines grant nothing until all processes
// that were alive have come. What was known is kept until that batch has been seen. Commands
// of a batch that broke go in again under another number: each is idempotent in itself.
//
// What was granted without the log (Options.Beside) is put back by the same batch, and asks for
// no Loss: it was not taken from what the log divides.
//
// A log that cannot be understood, an engine that panics and cannot be mended: the state is
// lost, which the machine is told once. Nothing is applied until the log is loaded and can be
// understood. Of a log that is only replayed the machine is told the end.
//
// # Beside others
//
// A log that is a store.Nudger has several processes. There, whose waiters a batch has served
// is nudged; a join of another is answered by an entry; a process whose callers wait appends
// once a second; batches carry how their sender's engine stood (digest), and one that differs
// is loaded again.
//
// A process that has joined where others are is quiet for half a second: it appends nothing of
// its callers, reads, and answers who has joined meanwhile. By then those that were alive have
// been heard, and the log's time is where they carry it.
package replica
