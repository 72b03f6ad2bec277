// Package fleet is a fleet of workers of several classes on one budget: each asks any of
// several replicas of a watermaster before its call, makes the call to a strict stand-in
// for the provider, and gives the lease back.
//
// A worker does what a careful client does. It asks a replica of its own while that says
// that it serves, and the next one else; after an error it asks another under the same
// request id; it sends nothing once start_within has passed; and it goes on
// telling of a call that has ended until somebody has taken note of it.
//
// The tests of faults on real servers use it as well.
//
// The stand-in knows nothing of leases and judges by arrival alone. Whether a call leaves
// in time is decided at the instant of its arrival, so that a machine which is busy with
// other things makes a call late, but never unjustly sent.
package fleet
