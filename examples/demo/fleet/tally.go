package fleet

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/status"
)

// A Tally is what has become of the calls so far. Errors are those that workers saw and got
// over by asking again.
type Tally struct {
	Asked, Granted, Sent int64
	Throttled            int64 // answered by the provider with 429
	Late                 int64 // granted, but too late to be sent
	Waiting, Running     int64 // now
	Refused              map[string]int64
	Errors               map[string]int64           // by call, code, and what they say
	Lost                 map[string]int64           // calls that ended with an error, by the same
	Twice                []string                   // leases that were given to two requests
	Waits                map[string][]time.Duration // from first asking until the grant, by class
	Grants               []time.Duration            // when they came, since the fleet's start
}

// Gap is the longest time without a grant from one time since the fleet's start to another, and when it began.
func (t *Tally) Gap(from, to time.Duration) (longest, began time.Duration) {
	last := from
	for _, at := range append(slices.Clone(t.Grants), to) {
		at = min(at, to)
		if at < from {
			continue
		}
		if at-last > longest {
			longest, began = at-last, last
		}
		last = at
	}
	return longest, began
}

// Wait gives a class's wait that so many per cent do not exceed; 0: it had no grant.
func (t *Tally) Wait(class string, percent int) time.Duration {
	d := slices.Sorted(slices.Values(t.Waits[class]))
	if len(d) == 0 {
		return 0
	}
	return d[min(len(d)-1, len(d)*percent/100)]
}

// All counts what a map of the tally holds.
func All(of map[string]int64) (n int64) {
	for _, v := range of {
		n += v
	}
	return n
}

// A ledger is the tally while it grows.
type ledger struct {
	mu     sync.Mutex
	start  time.Time
	tally  Tally
	leases map[string]bool
}

func newLedger() *ledger {
	return &ledger{start: time.Now(), leases: map[string]bool{}, tally: Tally{
		Refused: map[string]int64{}, Errors: map[string]int64{}, Lost: map[string]int64{}, Waits: map[string][]time.Duration{},
	}}
}

// note changes the tally.
func (l *ledger) note(change func(t *Tally)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.tally)
}

// granted notes a grant.
func (l *ledger) granted(lease, class string, waited time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.tally
	t.Granted++
	t.Waits[class] = append(t.Waits[class], waited)
	t.Grants = append(t.Grants, time.Since(l.start))
	if l.leases[lease] {
		t.Twice = append(t.Twice, lease)
	}
	l.leases[lease] = true
}

// copy gives the tally as it stands.
func (l *ledger) copy() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tally
	t.Refused, t.Errors, t.Lost = maps.Clone(t.Refused), maps.Clone(t.Errors), maps.Clone(t.Lost)
	t.Twice, t.Grants = slices.Clone(t.Twice), slices.Clone(t.Grants)
	t.Waits = make(map[string][]time.Duration, len(l.tally.Waits))
	for class, d := range l.tally.Waits {
		t.Waits[class] = slices.Clone(d)
	}
	return t
}

// kind says what went wrong, without what differs from one case to the next.
func kind(call string, err error) string {
	s := status.Convert(err)
	text := s.Message()
	for _, prefix := range []string{"connection error:", "error reading from server:", "keepalive"} {
		if strings.HasPrefix(text, prefix) {
			text = strings.TrimSuffix(prefix, ":")
		}
	}
	return call + ": " + s.Code().String() + ": " + text
}
