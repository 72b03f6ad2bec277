// Package redis is the log of any number of processes, in Redis 7: alone, behind Sentinel,
// or a cluster.
//
// # Keys
//
//	wm:{ORGANIZATION}:log     a stream: the entries since the last snapshot but one
//	wm:{ORGANIZATION}:snap    a hash: a state, its place, and the log's time there
//	wm:{ORGANIZATION}:now     a hash for people and tools: what Show was given last
//	wm:marker                 random; in a cluster wm:marker:{…}, one for each slot used
//
// Braces, % and blanks in an organization's name are written %7b and so on. What processes
// tell each other goes over the channel wm:{ORGANIZATION}:nudge. The log and the
// snapshot of an idle organization expire together, 2 s after its hold, and now about then; the
// marker never does.
//
// # Exactly once
//
// An Append is one transaction: XADD, XRANGE from the caller's last position on, that one
// included, and once a second PEXPIRE. It is sent once. If its answer is lost the caller
// sends the batch again; it may be in the stream twice, with the same bytes, and readers
// ignore the second. Only what a cluster's node refused as another's is sent on.
//
// # Time
//
// Redis's clock orders nothing and times nothing: log time goes by the claims of processes,
// their monotonic clocks, and each entry's is computed from the entries alone (timeline).
// Every join is a new base: a claim counts only from who has read the last join. Who reads
// one more than 500 ms after it by the own clock has missed it and joins again, and so does
// one whose join took more than 50 ms (clock). A join is the only entry whose time follows
// from Redis's clock, and from that only if the wall clocks say no less.
//
// # Breaks
//
// An Append is ErrBroken if the stream is gone, if what it reads does not begin with the
// caller's last entry, or if another server answers than the last time: a failover may have
// lost entries that nobody misses by their place. A server is known by its run id and its
// replication id, for which every new connection asks before anything else; replicas are
// refused. Once another server was met nothing is appended for an organization until it was
// loaded (Transport), so what that server lacks is known before anybody decides there; the
// connections to the one before are ended. Each transaction asks for the connection's name
// as well, which says who executed it.
//
// Snapshot.History is made of the id of the log's first entry and of the server. A log is
// begun anew by who had come furthest; others give it Options.Yield, unless
// nobody else is there.
//
// Kept is for how long the beginner of a log has seen the marker unchanged, on one server;
// 0 if it knows that the log has not expired. So maxmemory-policy has to be noeviction.
//
// Examine looks whether a server is as it should be, and says what to change; MinimalACL is
// what its user has to be allowed.
package redis
