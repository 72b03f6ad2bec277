package simulation

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/clock"
)

// epoch is the true time at which worlds begin, Unix ns.
const epoch = int64(1_800_000_000) * int64(time.Second)

// A world is all that one seed decides. It has one thread and no clock but its own.
type world struct {
	queue   clock.Queue[func()]
	random  *rand.Rand
	story   *story
	running *task
	idle    []*task
	counter uint64

	network  network
	servers  []*server
	primary  *server
	hosts    []*host
	workers  crowd
	provider provider
	tally    tally

	margin            uint32
	begin, quiet, end time.Duration // of the faults, of the quiet after them, and of all
	breaks, alone     int
	emptied           int // see Result
	tries             int // replica.Options.Tries
}

// errDead is what a process gets of all that it waits for once it has been killed.
var errDead = errors.New("simulation: the process is dead")

func (w *world) now() time.Duration { return w.queue.Now() }

func (w *world) after(d time.Duration, do func()) { w.queue.At(w.now()+max(0, d), do) }

func (w *world) at(t time.Duration, do func()) { w.queue.At(max(t, w.now()), do) }

// count gives numbers of which each is its own.
func (w *world) count() uint64 {
	w.counter++
	return w.counter
}

// between gives a time in [a, b).
func (w *world) between(a, b time.Duration) time.Duration {
	if b <= a {
		return a
	}
	return a + time.Duration(w.random.Int64N(int64(b-a)))
}

// chance is true with probability p.
func (w *world) chance(p float64) bool { return p > 0 && w.random.Float64() < p }

// exponential gives the time until the next of events that come at a rate per second.
func (w *world) exponential(rate float64) time.Duration {
	return time.Duration(-math.Log(1-w.random.Float64()) / rate * float64(time.Second))
}

// pick gives one of several.
func pick[T any](w *world, of ...T) T { return of[w.random.IntN(len(of))] }

// mostEvents is far more than a world has.
const mostEvents = 1_000_000

// run lets everything happen until the end.
func (w *world) run() {
	for events := 0; ; events++ {
		t, ok := w.queue.Peek()
		if !ok || t > w.end {
			break
		}
		if events > mostEvents {
			panic(fmt.Sprintf("simulation: %d events, and it is only %v", events, t))
		}
		_, do, _ := w.queue.Next()
		do()
	}
}
