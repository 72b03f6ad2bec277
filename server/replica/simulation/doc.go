// Package simulation runs replicas before a Redis that does not exist, in a time that does
// not pass: the real store/redis, server/replica and limiter, one thread, and one source of
// chance for each seed.
//
// A world has a Redis with a follower that lags, a network that loses, delays and repeats,
// hosts whose clocks differ and which stand still or die, workers that ask, wait, ask
// elsewhere, come too late or vanish, and a provider that counts in true time. What goes
// wrong in it is a mix of faults. In the end it is judged:
//
//   - no window at the provider was over its quota;
//   - the engines of all replicas are alike, and like one engine alone that was given the
//     log from its beginning, each batch once;
//   - every grant that was used after the faults is charged;
//   - all leases have ended, all releases were heard, all keys have a TTL;
//   - there is traffic again.
//
// What is told besides, and is no fault: requests that are charged twice (the first grant may
// have arrived after all), and how long it took until somebody was granted again.
//
// A seed is the same world each time:
//
//	go test ./server/replica/simulation -run Seeds -mix failover -from 617 -seeds 1 -v
package simulation
