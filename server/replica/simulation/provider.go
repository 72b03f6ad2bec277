package simulation

import (
	"cmp"
	"slices"
	"time"
)

// A provider counts what reaches it, in true time. It refuses nothing: the verdict finds
// the worst window afterwards.
type provider struct {
	counted map[counter][]count
}

// A counter is a quota of a pool.
type counter struct {
	pool, metric string
}

type count struct {
	at     time.Duration
	amount int64
	lease  string
}

func (p *provider) count(pool, metric string, at time.Duration, amount int64, lease string) {
	if p.counted == nil {
		p.counted = map[counter][]count{}
	}
	k := counter{pool, metric}
	p.counted[k] = append(p.counted[k], count{at, amount, lease})
}

// A peak is the worst window of a counter.
type peak struct {
	counter counter
	amount  int64
	quota   int64
	at      time.Duration
}

func (p *peak) over() float64 { return float64(p.amount) / float64(p.quota) }

// worst gives the worst window of all, what is in flight included, and without it.
func (p *provider) worst() (worst, windows peak) {
	worst.quota, windows.quota = 1, 1
	for _, pool := range poolNames {
		q := provided[pool]
		for _, x := range []struct {
			metric string
			quota  int64
		}{{"requests", q.requests}, {"tokens", q.tokens}, {"output", q.output}, {"calls", q.concurrency}} {
			k := counter{pool, x.metric}
			if x.quota == 0 || len(p.counted[k]) == 0 {
				continue
			}
			length := window
			if x.metric == "calls" {
				length = 0 // what is in flight: −1 where a call ends
			}
			amount, at := fullest(p.counted[k], length)
			full := peak{k, amount, x.quota, at}
			if full.over() > worst.over() {
				worst = full
			}
			if length > 0 && full.over() > windows.over() {
				windows = full
			}
		}
	}
	return worst, windows
}

// fullest gives the most that any window of a length holds, and when it ends; of no length:
// the largest sum so far.
func fullest(counts []count, length time.Duration) (most int64, at time.Duration) {
	slices.SortStableFunc(counts, func(a, b count) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.amount, b.amount))
	})
	sum, first := int64(0), 0
	for _, c := range counts {
		sum += c.amount
		for length > 0 && counts[first].at <= c.at-length {
			sum -= counts[first].amount
			first++
		}
		if sum > most {
			most, at = sum, c.at
		}
	}
	return most, at
}
