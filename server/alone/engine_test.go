package alone

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// A grant is what a provider may see.
type grant struct {
	at     limiter.Time
	amount int64
}

// Processes that are cut off one after the other, and the log that goes on without them,
// never grant more together than the provider allows, whatever the shape: each window, the
// way to the provider included, stays within the quota.
func TestNeverOver(t *testing.T) {
	for _, row := range []struct {
		limit string
		quota int64
		over  func(grants []grant, quota int64) error
	}{
		{"{quota: 100, window: min}", 100, overWindow},
		{"{quota: 97, window: min, margin: 33%}", 97, overWindow},
		{"{quota: 600, window: min, shape: token_bucket, burst: 331, margin: 21%}", 600, overBucket},
		{"{quota: 101, window: day, shape: calendar}", 101, overDay},
	} {
		t.Run(row.limit, func(t *testing.T) {
			for seed := range uint64(20) {
				random := rand.New(rand.NewPCG(seed, 1))
				w := newWorld(t, inAccount("", "requests: "+row.limit))
				engines := make([]*Engine, 3)
				for i := range engines {
					engines[i] = New()
				}
				var grants []grant
				alone, now := 0, epoch
				for range 2000 {
					now = now.Add(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
					i := random.IntN(len(engines))
					e, amount := engines[i], 1+random.Int64N(5)
					switch {
					case random.IntN(40) == 0:
						if e.away {
							e.Return(now)
						} else {
							w.leave(e, now)
						}
						continue
					case random.IntN(2) == 0:
						if _, ok := w.ask(w.log, "a/p", amount, now); ok {
							grants = append(grants, grant{now, amount})
						}
					default:
						if id, ok := w.ask(e, "a/p", amount, now); ok && random.IntN(10) == 0 {
							e.Apply(&limiter.Release{Lease: id, Outcome: limiter.Unsent}, now, nil)
						} else if ok {
							grants = append(grants, grant{now, amount})
							alone++
						}
					}
				}
				if alone < 3 {
					t.Fatalf("seed %d: only %d granted alone", seed, alone)
				}
				if err := row.over(grants, row.quota); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		})
	}
}

// overWindow looks for a minute in which the provider may count more than the quota: a call
// counts up to a second after its grant.
func overWindow(grants []grant, quota int64) error {
	for i := range grants {
		var sum int64
		for _, g := range grants[i:] {
			if g.at.Sub(grants[i].at) >= hold {
				break
			}
			sum += g.amount
		}
		if sum > quota {
			return fmt.Errorf("%d of %d within a minute", sum, quota)
		}
	}
	return nil
}

// overBucket looks for a stretch of time whose calls overdraw a bucket of 331 with 10 a
// second, if each counts up to a second after its grant.
func overBucket(grants []grant, _ int64) error {
	for i := range grants {
		var sum int64
		for _, g := range grants[i:] {
			sum += g.amount
			if flow := max(0, g.at.Sub(grants[i].at)-time.Second) * 10 / time.Second; sum > 331+int64(flow) {
				return fmt.Errorf("%d overdraw the bucket within %v", sum, g.at.Sub(grants[i].at))
			}
		}
	}
	return nil
}

func overDay(grants []grant, quota int64) error {
	var sum int64
	for _, g := range grants {
		sum += g.amount
	}
	if sum > quota {
		return fmt.Errorf("%d of %d in a day", sum, quota)
	}
	return nil
}

// Stocks are held until the call ends, wherever it was granted.
func TestStock(t *testing.T) {
	w := newWorld(t, inAccount("margin: 30%, ", "concurrency: 10"))
	held := w.drain(w.log, "a/p", epoch)
	for range 3 {
		e := New()
		w.leave(e, epoch)
		id, ok := w.ask(e, "a/p", 1, epoch)
		if more := w.drain(e, "a/p", epoch); !ok || more != 0 {
			t.Errorf("got %v and %d more, want one", ok, more)
		}
		held++
		e.Apply(&limiter.Release{Lease: id}, epoch.Add(1), nil)
		if again := w.drain(e, "a/p", epoch.Add(1)); again != 1 {
			t.Errorf("got %d after the release, want one", again)
		}
	}
	if held != 10 {
		t.Errorf("got %d in all, want 10", held)
	}
}

// To go away twice in one window spends the part once, and to do so after it twice.
func TestTwice(t *testing.T) {
	w := newWorld(t, inAccount("", "requests: 300/min"))
	e := New()
	for _, row := range []struct {
		after time.Duration
		want  int64
	}{{0, 10}, {time.Second, 0}, {hold - time.Second, 0}, {hold + time.Second, 10}} {
		now := epoch.Add(row.after)
		w.leave(e, now)
		if got := w.drain(e, "a/p", now); got != row.want {
			t.Errorf("after %v: got %d, want %d", row.after, got, row.want)
		}
		e.Return(now)
		if got := w.drain(e, "a/p", now); got != 0 {
			t.Errorf("after %v: got %d although the log is back", row.after, got)
		}
	}
}

func TestPolicies(t *testing.T) {
	for _, row := range []struct {
		name, account string
		part          limiter.Time // until then
		used          int64        // of the log's 270
		want          int64
	}{
		{"margin", "", limiter.Never, 270, 10},
		{"margin, no seat", "", 0, 0, 0},
		{"margin, the seat may be another's", "", epoch, 0, 0},
		{"margin of nothing", "margin: 0%, ", limiter.Never, 0, 0},
		{"margin that cannot be divided", "margin: 0.5%, ", limiter.Never, 0, 0},
		{"closed", "when_away: closed, ", limiter.Never, 0, 0},
		{"share of all", "when_away: {share: 80%}, ", limiter.Never, 0, 72},
		{"share of what is left", "when_away: {share: 80%}, ", limiter.Never, 240, 8},
		{"share of nothing", "when_away: {share: 80%}, ", limiter.Never, 270, 0},
		{"share, no seat", "when_away: {share: 80%}, ", 0, 0, 0},
		{"open", "when_away: open, ", limiter.Never, 270, 1000},
		{"open, no seat", "when_away: open, ", 0, 270, 1000},
	} {
		w := newWorld(t, inAccount(row.account, "requests: 300/min"))
		for range row.used {
			if _, ok := w.ask(w.log, "a/p", 1, epoch); !ok {
				t.Fatal("the log does not grant what it should")
			}
		}
		e := New()
		e.Leave(Absence{Organization: w.organization(), Configure: w.configure(), Log: w.log, Until: row.part}, epoch)
		var got int64
		for range 1000 {
			if _, ok := w.ask(e, "a/p", 1, epoch); ok {
				got++
			}
		}
		if got != row.want {
			t.Errorf("%s: got %d, want %d", row.name, got, row.want)
		}
		if _, grants := e.Policy("a/p"); row.part == limiter.Never && grants != (row.want > 0) {
			t.Errorf("%s: says that it grants: %v", row.name, grants)
		}
	}
}

// A share of nothing must not let what was charged before be forgotten, or expire sooner.
func TestShareOfNothing(t *testing.T) {
	w := newWorld(t, inAccount("when_away: {share: 100%}, ", "requests: {quota: 300, window: min, shape: token_bucket}"))
	e := New()
	w.leave(e, epoch)
	if got := w.drain(e, "a/p", epoch); got != 88 { // a third of 270, of which 1.5 flow in within a second
		t.Errorf("got %d, want 88", got)
	}
	w.drain(w.log, "a/p", epoch)
	w.leave(e, epoch.Add(1))
	if got := w.drain(e, "a/p", epoch.Add(1)); got != 0 {
		t.Errorf("nothing is free: got %d", got)
	}
	later := epoch.Add(10 * time.Second) // 45 are free in the log, 15 of them here; 15 have flowed in of the 88
	w.leave(e, later)
	if got := w.drain(e, "a/p", later); got != 0 {
		t.Errorf("after ten seconds: got %d, want none: the 73 that are missing are more than the part", got)
	}
	later = epoch.Add(5 * time.Minute)
	w.leave(e, later)
	if got := w.drain(e, "a/p", later); got != 88 {
		t.Errorf("after minutes: got %d, want 88", got)
	}
}

// Limits of one's own are kept too; a project whose part is nothing gets nothing.
func TestOwnLimits(t *testing.T) {
	file := func(own string) string {
		return "cold_start: trust\nmax_replicas: 3\norganizations: {o: {" + own +
			"accounts: {a: {pools: {p: {models: [m], limits: {requests: 3000/min}}}}, b: {when_away: open, pools: {q: {models: [m]}}}}}}\n"
	}
	for _, row := range []struct {
		own  string
		want int64
	}{
		{"", 100}, {"projects: {'*': {limits: {requests: 300/min}}}, ", 100},
	} {
		w := newWorld(t, file(row.own))
		e := New()
		w.leave(e, epoch)
		if got := w.drain(e, "a/p", epoch); got != row.want {
			t.Errorf("%s: got %d, want %d", row.own, got, row.want)
		}
	}
	for _, row := range []struct {
		own  string
		want int64
	}{
		{"limits: {requests: 120/min}, ", 4}, {"projects: {p: {limits: {requests: 90/min}}}, ", 3},
		{"projects: {'*': {limits: {concurrency: 2}}}, ", 1},
	} {
		w := newWorld(t, "cold_start: trust\nmax_replicas: 3\norganizations: {o: {"+row.own+
			"accounts: {a: {pools: {p: {models: [m], limits: {requests: 3000/min}}}}}}}\n")
		e := New()
		w.leave(e, epoch)
		if got := w.drain(e, "a/p", epoch); got != row.want {
			t.Errorf("%s: got %d, want %d", row.own, got, row.want)
		}
	}
}

// Who finds no room waits, and is told when there is some; with the log's return nobody waits
// here any more, and what was granted on the way is given back.
func TestWaiting(t *testing.T) {
	w := newWorld(t, inAccount("", "requests: 300/min"))
	e := New()
	w.leave(e, epoch)
	w.drain(e, "a/p", epoch)
	ask := func(amount int64) (*limiter.Acquire, limiter.Event) {
		c := w.request("a/p", amount)
		c.MaxWait = 10 * time.Minute
		events := e.Apply(c, epoch.Add(1), nil)
		return c, events[len(events)-1]
	}
	if _, ev := ask(11); ev.Kind != limiter.Refused || ev.Reason != limiter.TooLarge {
		t.Errorf("larger than the part: got %+v", ev)
	}
	first, ev := ask(4)
	if ev.Kind != limiter.Queued {
		t.Fatalf("got %+v, want it to wait", ev)
	}
	second, _ := ask(7)
	next := e.NextAt()
	if next <= epoch.Add(time.Minute) || next > epoch.Add(hold+time.Second) {
		t.Errorf("has something to do after %v, want when the first charges expire", next.Sub(epoch))
	}
	var granted []limiter.Key
	for _, ev := range e.Apply(&limiter.Tick{}, next, nil) {
		if ev.Kind == limiter.Granted {
			granted = append(granted, ev.Key)
		}
	}
	if !slices.Equal(granted, []limiter.Key{first.Key}) {
		t.Errorf("got %v, want %v", granted, first.Key)
	}
	e.Return(next)
	if _, waiting := e.Engine().Counts(); waiting != 0 || e.Engine().Knows(second.Key) {
		t.Errorf("%d wait although the log is back", waiting)
	}
	if !e.Granted(first.Lease) || e.Granted(second.Lease) {
		t.Errorf("got %v, %v, want only the first to be granted", e.Granted(first.Lease), e.Granted(second.Lease))
	}
	if e.Idle(next) {
		t.Error("idle although there are leases")
	}
	later := next.Add(11 * time.Minute)
	if e.Apply(&limiter.Tick{}, later, nil); !e.Idle(later) {
		t.Error("not idle although all has expired")
	}
}
