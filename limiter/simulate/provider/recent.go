package provider

// recent holds the amounts of the window (now−window, now], and their sum.
type recent struct {
	window int64 // ns
	events ring
	sum    int64
}

// advance forgets what is older than the window: an event of now−window is.
func (r *recent) advance(now int64) {
	for r.events.len() > 0 && r.events.at(r.events.first).time <= now-r.window {
		r.sum -= r.events.pop().amount
	}
}

// add puts an amount in at now, and names it.
func (r *recent) add(now, amount int64) (mark int64) {
	r.advance(now)
	r.sum += amount
	return r.events.push(event{now, amount})
}

// credit takes back up to amount of what mark names, nothing once it has left the window.
func (r *recent) credit(now, mark, amount int64) int64 {
	r.advance(now)
	if mark < r.events.first {
		return 0
	}
	e := r.events.at(mark)
	taken := min(amount, e.amount)
	e.amount -= taken
	r.sum -= taken
	return taken
}

// room is how long it takes from now until the sum is ≤ most, which is ≥ 0, if nothing is added.
func (r *recent) room(now, most int64) int64 {
	sum := r.sum
	for i := r.events.first; ; i++ {
		if sum <= most {
			if i == r.events.first {
				return 0
			}
			return max(0, r.events.at(i-1).time+r.window-now)
		}
		sum -= r.events.at(i).amount
	}
}

type event struct{ time, amount int64 }

// A ring is a queue of events, each of which keeps its number for life.
type ring struct {
	buf         []event // a power of two long
	first, last int64   // numbers of the oldest, and of the next to come
}

func (r *ring) len() int64 { return r.last - r.first }

// at is the event of a number in [first, last).
func (r *ring) at(n int64) *event { return &r.buf[n&int64(len(r.buf)-1)] }

func (r *ring) push(e event) int64 {
	if int(r.len()) == len(r.buf) {
		grown := ring{buf: make([]event, max(16, 2*len(r.buf)))}
		for n := r.first; n < r.last; n++ {
			*grown.at(n) = *r.at(n)
		}
		r.buf = grown.buf
	}
	*r.at(r.last) = e
	r.last++
	return r.last - 1
}

func (r *ring) pop() event {
	r.first++
	return *r.at(r.first - 1)
}
