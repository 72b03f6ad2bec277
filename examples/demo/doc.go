// Command demo shows three replicas of a watermaster on one Redis, 200 workers of three
// classes on one budget, and what it costs them when a replica is killed and Redis with it:
//
//	make demo        (or: go run ./examples/demo --duration 1m --workers 200 --replicas 3)
//
// It starts a redis-server of its own, the replicas, as processes, and a strict stand-in
// for the provider, which refuses with 429 whatever exceeds the quotas of config.yaml.
// Half-way it kills a replica (kill -9), then Redis, which comes back with what its append-only
// file holds, and last the replica comes back. At the end stand how often the provider
// refused (never, or the command fails), how full its fullest window was, how much of the quota was used, how
// long each class waited, and the errors that workers saw and got over.
//
// Nothing is installed. redis-server is taken from the PATH, and everything that is
// written goes into a temporary directory that is removed at the end.
package main
