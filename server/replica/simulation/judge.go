package simulation

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/replica"
	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
)

// A Result is what has become of a world.
type Result struct {
	Mix    string
	Seed   uint64
	Digest uint64 // of the story, if it was told

	Over     bool    // a window at the provider was above its quota
	Worst    float64 // the fullest window, as a part of the quota
	Windows  float64 // the same without calls in flight
	Where    string  // that was
	Diverged string  // replicas, or one engine alone, differ: in what
	Lost     int     // used grants that are not charged
	Hits     int64   // the most that was let through in one window of the counter
	Counted  int     // hits that were let through
	Open     int     // leases and waiters that are left in the end
	Kept     int     // keys without a TTL
	Emptied  int     // logs that were begun with nothing though somebody knew more
	Unheard  int     // releases that nobody took
	Dead     bool    // no traffic in the end

	Calls               int           // that reached the provider
	Share               float64       // of what could have been used in the end
	Doubles             int           // requests that are charged twice: a waste
	Slow                bool          // the first grant came later than 2 s after the faults
	First               time.Duration // after the faults
	Late                int           // grants that came too late to be used
	Breaks              int           // of the log
	Alone               int           // grants that were made without it
	Elsewhere, Compared int           // replicas whose engine is of another history in the end, and of this
	mix                 *mix
}

// Failures says in words what must not be; nil: nothing was.
func (r *Result) Failures() (list []string) {
	say := func(is bool, format string, args ...any) {
		if is {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	// No cold start knows what is in flight: calls that were granted by who has died, and
	// forgotten by Redis.
	inFlight := r.mix.loses && r.Windows <= 1
	say(r.Over && !r.mix.splits && !inFlight, "over: %.3f of %s", r.Worst, r.Where)
	say(r.Diverged != "", "diverged: %s", r.Diverged)
	say(r.Lost > 0 && !r.mix.loses, "lost: %d used grants are not charged", r.Lost)
	say(r.Hits > hitQuota, "over: %d hits in a window of %d", r.Hits, hitQuota)
	say(r.mix.hits && r.Counted < 20, "dead: only %d hits were let through", r.Counted)
	say(r.Open > 0, "open: %d leases or waiters are left", r.Open)
	say(r.Kept > 0, "kept: %d keys have no TTL", r.Kept)
	say(r.Emptied > 0, "emptied: %d logs were begun with nothing though somebody knew more", r.Emptied)
	say(r.Unheard > 0, "unheard: %d releases", r.Unheard)
	say(r.Dead, "dead: nobody calls in the end")
	return list
}

// judge looks at the world in the end.
func (w *world) judge(m *mix) (r Result) {
	r.mix = m
	worst, windows := w.provider.worst()
	r.Worst, r.Over, r.Windows = worst.over(), worst.amount > worst.quota, windows.over()
	r.Where = fmt.Sprintf("%s of %s until %.3f s", worst.counter.metric, worst.counter.pool, worst.at.Seconds())
	r.Calls, r.Late, r.Breaks, r.Alone = len(w.workers.used), w.workers.late, w.breaks, w.alone
	r.Unheard, r.Emptied = w.workers.unheard, w.emptied
	r.Hits, r.Counted = w.tally.worst(), len(w.tally.hits)
	w.traffic(&r)
	for _, s := range w.servers {
		for _, name := range s.keys.names() {
			if s.keys[name].expires == 0 && !strings.HasPrefix(name, "wm:marker") {
				w.tell("%s: %s has no TTL", s, name)
				r.Kept++
			}
		}
	}
	first, entries, err := w.primary.history()
	if err != nil {
		if !m.evicts { // else whoever follows the log may not have noticed yet
			r.Diverged = fmt.Sprintf("there is no log: %v", err)
		}
		return r
	}
	alone, err := replay(first, entries)
	if err != nil {
		r.Diverged = err.Error()
		return r
	}
	w.compare(&r, alone, first, entries)
	w.account(&r, alone)
	last := alone.Now().Add(ttl + patience + hold)
	alone.Apply(&limiter.Tick{}, last, nil)
	leases, waiting := alone.Counts()
	r.Open = leases + waiting
	return r
}

// traffic looks at the time after the faults.
func (w *world) traffic(r *Result) {
	c := &w.workers
	from, tokens := w.quiet+4*second, int64(0)
	r.Dead = true
	for _, u := range c.used {
		r.Dead = r.Dead && u.at < c.until-2*second
		if u.at >= from && u.at < c.until && u.pool == mainPool {
			tokens += u.tokens
		}
	}
	could := float64(provided[mainPool].tokens) * (1 - float64(w.margin)/1e6) * float64(c.until-from) / float64(hold)
	r.Share = float64(tokens) / could
	r.First = w.end
	if c.first > 0 {
		r.First = c.first - w.quiet
	}
	r.Slow = r.First > 2*second
}

// history gives the server's log from its beginning, with what was trimmed since.
func (s *server) history() (store.Snapshot, []store.Entry, error) {
	p := &past{}
	for _, name := range s.keys.names() {
		switch v := s.keys[name]; {
		case v.stream != nil:
			for i := range v.stream.whole {
				p.entries = append(p.entries, v.stream.whole[i].reply)
			}
		case v.hash != nil:
			p.fields = []any{v.origin["state"], v.origin["at"], nil, nil, v.origin["kept"], v.origin["begun"]}
		}
	}
	if p.fields == nil {
		p.fields = make([]any, 6)
	}
	log, err := redis.Open(context.Background(), "", redis.Options{
		Transport: p, Clock: func() (int64, int64) { return 0, 0 }, Random: func() uint64 { return 1 },
		Go: func(func()) {}, OnNudge: func(string) {},
	})
	if err != nil {
		return store.Snapshot{}, nil, err
	}
	return log.Load(context.Background(), organization)
}

// A past is a transport that answers as if nothing had ever been trimmed.
type past struct {
	redis.Transport
	fields, entries []any
}

func (p *past) Known() uint64 { return 1 }

func (p *past) Do(_ context.Context, _ time.Duration, _ uint64, commands [][]any) ([]any, string, error) {
	replies := make([]any, len(commands))
	for i, c := range commands {
		switch c[0] {
		case "hmget":
			replies[i] = p.fields
		case "xrange":
			replies[i] = p.entries
		}
	}
	return replies, "past", nil
}

func (p *past) Subscribe(string) {}

func (p *past) Listen(func(channel, message string, subscribed bool)) {}

// replay gives the engine that has had the whole log, alone: every batch once, whatever its
// number.
func replay(first store.Snapshot, entries []store.Entry) (*limiter.Engine, error) {
	e := limiter.New()
	if len(first.State) > 0 {
		var err error
		if e, err = limiter.Load(first.State); err != nil {
			return nil, fmt.Errorf("the first snapshot: %w", err)
		}
	}
	type batch struct {
		incarnation uint64
		payload     string
	}
	seen := map[batch]bool{}
	latest := map[uint64]uint64{}
	var d limiter.Decoder
	for i := range entries {
		x := &entries[i]
		known := seen[batch{x.Incarnation, string(x.Payload)}] || x.Number <= latest[x.Incarnation]
		seen[batch{x.Incarnation, string(x.Payload)}] = true
		latest[x.Incarnation] = max(latest[x.Incarnation], x.Number)
		if !e.Begin(x.Incarnation, x.Number, limiter.Time(x.Time)) || known {
			continue
		}
		for rest := x.Payload[payloadHead:]; len(rest) > 0; {
			var cmd limiter.Command
			var err error
			if cmd, rest, err = d.Command(rest); err != nil {
				return nil, fmt.Errorf("entry %d-%d: %w", x.Major, x.Minor, err)
			}
			e.Apply(cmd, limiter.Time(x.Time), nil)
		}
	}
	return e, nil
}

// payloadHead is what stands before the commands in what a replica appends.
const payloadHead = 1 + 4 + 8 + 8

// compare lets the engine of each replica come to the end of the log, and compares it with
// one that has had the whole log.
func (w *world) compare(r *Result, alone *limiter.Engine, first store.Snapshot, entries []store.Entry) {
	want := alone.Snapshot(nil)
	for _, x := range w.hosts {
		if x.process == nil || x.process.node.engine == nil {
			continue
		}
		n := x.process.node
		at, applied, _ := n.replica.Position()
		rest := entries
		if at != first.Position {
			i := 0
			for i < len(entries) && entries[i].Position != at {
				i++
			}
			if i == len(entries) {
				w.tell("%s: is in another history", x.process)
				r.Elsewhere++
				continue
			}
			rest = entries[i+1:]
		}
		r.Compared++
		e, _, _, err := replica.Replay(store.Snapshot{Position: at, Time: applied, State: n.engine.Snapshot(nil)}, rest)
		switch {
		case err != nil:
			r.Diverged = fmt.Sprintf("%s: %v", x.process, err)
		case e.Digest() != alone.Digest():
			r.Diverged = fmt.Sprintf("%s: its digest is %x, and that of one engine alone %x", x.process, e.Digest(), alone.Digest())
		case !bytes.Equal(e.Snapshot(nil), want):
			r.Diverged = fmt.Sprintf("%s: its state is another than that of one engine alone", x.process)
		}
	}
}

// account sees that what was used after the faults is charged, and counts what is charged
// twice.
func (w *world) account(r *Result, alone *limiter.Engine) {
	leases := map[limiter.Key]limiter.LeaseID{}
	for _, u := range w.workers.used {
		if u.at+hold < w.quiet || u.alone { // of those that hear of the log late, it need not know
			continue
		}
		var charged int64
		list, _ := alone.Lease(u.lease, nil)
		for i := range list {
			if list[i].Scope == limiter.ScopePool && list[i].Metric == limiter.Tokens {
				charged = list[i].Amount
			}
		}
		if charged < u.tokens {
			w.tell("lost: %s is charged %d of %d tokens", leaseName(u.lease), charged, u.tokens)
			r.Lost++
		}
		leases[u.key] = u.lease
	}
	for _, s := range alone.Lost(limiter.New(), nil) {
		if used, ok := leases[s.Key]; ok && used != s.Lease && tokensOf(s.Charges) > 0 {
			r.Doubles++
		}
	}
}

func tokensOf(charges []limiter.HeldCharge) (n int64) {
	for i := range charges {
		if charges[i].Metric == limiter.Tokens {
			n = max(n, charges[i].Amount)
		}
	}
	return n
}
