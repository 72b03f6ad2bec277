package simulation

import "time"

// A network is what happens to messages between replicas and Redis; each is a probability.
type network struct {
	lostRequest, lostReply float64
	ghost                  float64 // a request arrives long after its sender has given up
	slow                   float64 // a message takes up to slowBy longer
	slowBy                 time.Duration
}

var calm = network{slow: 0.02, slowBy: 40 * time.Millisecond}

// hop is how long a message takes one way.
func (w *world) hop() time.Duration {
	d := w.between(100*time.Microsecond, time.Millisecond)
	if w.chance(w.network.slow) {
		d += w.between(0, w.network.slowBy)
	}
	return d
}

// rpc is how long a message between a worker and a replica takes.
func (w *world) rpc() time.Duration { return w.between(100*time.Microsecond, 1500*time.Microsecond) }
