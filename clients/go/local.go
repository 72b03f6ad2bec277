package watermaster

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// localWindow is what Local's amounts are counted over.
const localWindow = time.Minute

// local counts what this process lets go while the service is away: a sliding log of the last
// minute and of reservations to come, by time. Whoever came first goes first.
type local struct {
	limits Local
	mu     sync.Mutex
	log    []*localCall
}

type localCall struct {
	at     time.Time
	tokens int64
}

// reservation is a call's place in the log.
type reservation struct {
	of   *local
	call *localCall
	at   time.Time
}

func (r *reservation) made() bool { return r.call != nil }

// keep lets what was reserved count: the call goes.
func (r *reservation) keep() { r.of = nil }

// cancel gives it back, unless it was kept. Those behind do not move up.
func (r *reservation) cancel() {
	if r.of == nil {
		return
	}
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	if i := slices.Index(r.of.log, r.call); i >= 0 {
		r.of.log = slices.Delete(r.of.log, i, i+1)
	}
	*r = reservation{}
}

// reserve finds the first time at which the request fits, behind all that were before it.
// Refused: it never does, or not before the patience ends.
func (l *local) reserve(now, end time.Time, r *Request) (reservation, *Rejected) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tokens := r.InputTokens
	if r.MaxOutputTokens != nil {
		tokens += *r.MaxOutputTokens
	}
	if l.limits.Tokens > 0 && tokens > l.limits.Tokens {
		return reservation{}, &Rejected{
			Reason:  LocalLimit,
			Message: fmt.Sprintf("the service is away, and %d tokens are more than the %d a minute that go meanwhile", tokens, l.limits.Tokens),
		}
	}
	for len(l.log) > 0 && now.Sub(l.log[0].at) >= localWindow {
		l.log = l.log[1:]
	}
	at, held := now, int64(0)
	for _, c := range l.log {
		held += c.tokens
	}
	if n := len(l.log); n > 0 && l.log[n-1].at.After(at) {
		at = l.log[n-1].at
	}
	for i, c := range l.log {
		calls := int64(len(l.log) - i)
		if (l.limits.Requests == 0 || calls < l.limits.Requests) && (l.limits.Tokens == 0 || held+tokens <= l.limits.Tokens) {
			break
		}
		if free := c.at.Add(localWindow); free.After(at) {
			at = free
		}
		held -= c.tokens
	}
	if at.After(now) && at.After(end) { // who need not wait needs no patience
		return reservation{}, &Rejected{
			Reason: LocalLimit, RetryAfter: new(at.Sub(now)),
			Message: "the service is away, and what may go meanwhile in a minute is used up",
		}
	}
	call := &localCall{at: at, tokens: tokens}
	l.log = append(l.log, call)
	return reservation{of: l, call: call, at: at}, nil
}
