// Package clock is the virtual time of simulations: a queue of typed events that
// happen in order of time, and at one instant in the order in which they were put in.
//
// A [Queue] holds events of one type by value, so that a simulation of millions of
// calls allocates nothing per event:
//
//	type event struct{ kind kind; call int32 }
//	var q clock.Queue[event]
//	q.At(3*time.Second, event{arrive, 7})
//	q.Run(time.Hour, func(now time.Duration, e event) { … q.At(now+delay, …) … })
//
// Where closures are cheap enough, Queue[func()] does as well. Nothing here reads a
// real clock, and the order depends on nothing but the calls, so a run repeats exactly.
package clock
