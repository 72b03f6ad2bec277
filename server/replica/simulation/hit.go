package simulation

import (
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// What may be counted in any window; more is asked for.
const (
	hitQuota  = 12
	hitWindow = 3 * second
	hitRate   = 12.0 // per second, of 1 to 3
	// hitSlack is how far the log's time may lag behind the true one, in which windows are judged.
	hitSlack = 200 * milli
)

// A tally is all hits that were let through, as those see it who asked.
type tally struct{ hits []counted }

// counted is a hit that was let through: its time in the log is between the two.
type counted struct {
	asked, answered time.Duration
	amount          int64
}

// comeHits lets hits come until the workers' time is over, each to some replica.
func (w *world) comeHits() {
	if w.now() > w.workers.until {
		return
	}
	w.after(w.exponential(hitRate), w.comeHits)
	p := w.workers.choose().process
	if p == nil {
		return
	}
	asked, amount := w.now(), 1+w.random.Int64N(3)
	p.after(w.rpc(), func() { p.node.hit(asked, amount) })
}

// hit draws on the one counter, and notes what was let through.
func (n *node) hit(asked time.Duration, amount int64) {
	if !n.serving || n.solo.away || n.engine.Behaviour() < limiter.BehaviourHits {
		return
	}
	w := n.process.world
	n.submit(&limiter.Hit{Counters: []limiter.CounterHit{{Counter: limiter.CounterID{1}, Quota: hitQuota, Window: hitWindow, Amount: amount}}}, nil, nil)
	b := n.gathering
	if b == nil {
		return
	}
	if b.hits == nil {
		b.hits = map[int]func(*limiter.Event){}
	}
	b.hits[len(b.calls)-1] = func(ev *limiter.Event) {
		if ev.Charged {
			w.tally.hits = append(w.tally.hits, counted{asked, w.now(), amount})
		}
	}
}

// worst gives the most that surely was in one window: whatever was asked for and answered in it.
// Each hit is looked at by itself, as no engine does.
func (t *tally) worst() (most int64) {
	slices.SortStableFunc(t.hits, func(a, b counted) int { return int(a.asked - b.asked) })
	for i, first := range t.hits {
		ends, sum := first.asked+hitWindow-hitSlack, int64(0)
		for _, h := range t.hits[i:] {
			if h.asked >= ends {
				break
			}
			if h.answered < ends {
				sum += h.amount
			}
		}
		most = max(most, sum)
	}
	return most
}
