// Package faults holds the tests of what happens when Redis, the network or a replica
// fails: real redis-servers that are killed, stopped, wiped and failed over, toxiproxy
// between them and the replicas, replicas that are killed and stopped, and a fleet of
// workers before a strict stand-in for the provider, who must never have to refuse.
//
// By default the figures are short; with -torture they are long:
//
//	go test ./server/cmd/watermaster/faults
//	go test ./server/cmd/watermaster/faults -torture -timeout 3h
//
// Where only the log or the network fails, replicas are servers of the test's process, so
// that their goroutines can be counted; where a process is killed or stopped they are
// processes, of a watermaster that is built once.
package faults
