package replica

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/memory"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// Two processes share slots, and a release on one serves a waiter of the other, which is nudged.
func TestShared(t *testing.T) {
	s := redistest.Start(t)
	a, b := join(t, dial(t, s), nil), join(t, dial(t, s), nil)
	a.must(slots(2))
	a.must(a.acquire("one"))
	b.must(b.acquire("two"))
	a.must(a.acquire("three"))
	if l := a.granted("three"); l != (limiter.LeaseID{}) {
		t.Fatalf("three have a slot of two: %v", l)
	}
	b.must(&limiter.Release{Lease: b.granted("two")})
	a.await("three")
	same(t, a, b)
}

// A lostReply log appends and says that it is not known.
type lostReply struct {
	store.Log
	lose int
	sent []store.Batch
}

func (l *lostReply) Append(ctx context.Context, o string, after store.Position, b store.Batch, to []store.Entry) ([]store.Entry, error) {
	b.Payload = slices.Clone(b.Payload)
	l.sent = append(l.sent, b)
	got, err := l.Log.Append(ctx, o, after, b, to)
	if l.lose > 0 {
		l.lose--
		return to, store.ErrUnavailable
	}
	return got, err
}

// A batch whose reply is lost goes out again, the same, before any other, and is applied once.
func TestDoubt(t *testing.T) {
	l := &lostReply{Log: memory.Open(memory.Options{Keep: true})}
	p := join(t, l, func(o *Options) { o.Tries = 1 })
	p.must(slots(2))
	l.sent, l.lose = nil, 1
	if err := p.commit(p.acquire("one")); err == nil {
		t.Fatal("it is not known whether the batch is in the log, and nobody says so")
	}
	p.must(p.acquire("two"))
	if len(l.sent) != 3 || l.sent[0].Number != l.sent[1].Number || !slices.Equal(l.sent[0].Payload, l.sent[1].Payload) ||
		l.sent[0].Claim != l.sent[1].Claim || l.sent[2].Number != l.sent[1].Number+1 {
		t.Errorf("sent %v", l.sent)
	}
	if open, _ := p.counts(); open != 2 {
		t.Errorf("%d leases, want 2", open)
	}
}

// A process whose engine stands otherwise finds out from the others, or they from it, and loads
// the log again.
func TestDigest(t *testing.T) {
	s := redistest.Start(t)
	a, b := join(t, dial(t, s), nil), join(t, dial(t, s), nil)
	a.must(slots(2))
	b.must(b.acquire("one"))
	a.read()
	b.replica.Lock() // a fault: a decision that is in no log
	stray := b.acquire("stray")
	b.replica.engine.Apply(stray, b.replica.engine.Now(), nil)
	delete(b.waiting, stray.Key)
	b.replica.Unlock()
	b.must(&limiter.Tick{})
	a.must(&limiter.Tick{}) // reads how b stands, and is read by b
	b.must(&limiter.Tick{})
	a.must(a.acquire("two"))
	b.must(b.acquire("three"))
	same(t, a, b)
	if !slices.Contains(b.broke, string(digest)) || !slices.Contains(a.broke, string(digest)) {
		t.Errorf("nobody noticed: %v, %v", a.broke, b.broke)
	}
}

// A log that is lost begins again with all that was known, whoever is first, and nobody
// decides before all have come.
func TestWiped(t *testing.T) {
	s := redistest.Start(t)
	a, b := join(t, dial(t, s), nil), join(t, dial(t, s), nil)
	a.must(slots(3))
	a.must(a.acquire("one"), a.acquire("two"))
	b.must(b.acquire("three"))
	b.must(b.acquire("four"))
	a.turn.Lock() // a hears nothing: it knows less
	b.must(&limiter.Renew{Leases: []limiter.LeaseID{b.granted("three")}})
	wipe(t, s)
	a.turn.Unlock()
	a.must(&limiter.Tick{}, a.acquire("five"))
	b.read()
	for _, p := range []*process{a, b} {
		if open, waiting := p.counts(); open != 3 || waiting != 2 {
			t.Errorf("%d leases and %d who wait, want 3 and 2", open, waiting)
		}
	}
	b.must(&limiter.Release{Lease: b.granted("three")})
	b.await("four")
	same(t, a, b)
	if l := a.granted("five"); l != (limiter.LeaseID{}) {
		t.Errorf("%v is granted beyond the limit", l)
	}
	if len(a.calls)+len(b.calls) == 0 {
		t.Error("no roll call")
	}
}

// A log that was begun anew by a process that knew nothing, and has put no limits in force yet,
// gets both from the one that knows.
func TestRestoredIntoNothing(t *testing.T) {
	s := redistest.Start(t)
	a := join(t, dial(t, s), nil)
	a.must(slots(3))
	a.must(a.acquire("one"), a.acquire("two"))
	a.turn.Lock() // it does not hear of it
	wipe(t, s)
	b := join(t, dial(t, s), nil)
	a.turn.Unlock()
	a.read()
	same(t, a, b)
	if open, _ := b.counts(); open != 2 || b.replica.Engine().InForce() == nil {
		t.Errorf("%d leases, limits in force: %v", open, b.replica.Engine().InForce() != nil)
	}
	b.must(b.acquire("three"), b.acquire("four"))
	b.await("three")
	if b.granted("four") != (limiter.LeaseID{}) {
		t.Error("four run where three may")
	}
}

// What one side of a split granted and the other did not know of is put back when the split is
// over, and told to have been uncounted; what others waited for in a roll call is not.
func TestUncounted(t *testing.T) {
	one, two := redistest.Start(t), redistest.Start(t)
	toA, toB := redistest.StartProxy(t, one.Address()), redistest.StartProxy(t, one.Address())
	a, b := join(t, dialAt(t, toA.URL()), nil), join(t, dialAt(t, toB.URL()), nil)
	a.must(slots(3))
	a.must(a.acquire("one"))
	b.read()
	toB.Point(two.Address())
	b.must(b.acquire("two"))
	a.must(a.acquire("three")) // in the log that b has left
	for end := time.Now().Add(20 * time.Second); b.granted("two") == (limiter.LeaseID{}) && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		b.must(&limiter.Tick{}) // a is waited for, and then not any more
	}
	b.must(b.acquire("four"))
	b.await("four")
	toA.Point(two.Address())
	a.must(&limiter.Tick{})
	same(t, a, b)
	if open, _ := a.counts(); open != 4 {
		t.Errorf("%d leases, want 4", open)
	}
	if a.uncounted != 1 || a.restored != 1 || b.uncounted != 0 {
		t.Errorf("a put back %d, %d of them uncounted, and b %d, %d; want 1 and 1, and b 0 uncounted", a.restored, a.uncounted, b.restored, b.uncounted)
	}
	if !slices.Contains(a.broke, string(another)) || !slices.Contains(b.broke, string(gone)) {
		t.Errorf("the causes are %v and %v, want %s and %s", a.broke, b.broke, another, gone)
	}
}

// Rules that a process does not know are not in force while it is there; one that comes later
// says why it does not serve.
func TestVersions(t *testing.T) {
	s := redistest.Start(t)
	old := join(t, dial(t, s), nil)
	young := join(t, dial(t, s), func(o *Options) { o.Knows = limiter.Behaviour + 1 })
	old.must(slots(1))
	young.must(&limiter.Tick{})
	if v := young.replica.Engine().Behaviour(); v != limiter.Behaviour {
		t.Fatalf("version %d is in force beside a process that knows %d", v, limiter.Behaviour)
	}
	old.must(&limiter.Upgrade{Behaviour: limiter.Behaviour + 1}) // as when it had been away for long
	if !old.replica.Lost() || !strings.Contains(old.replica.Fault().Error(), "later") {
		t.Errorf("lost %v, %v: it goes on with rules that it does not know", old.replica.Lost(), old.replica.Fault())
	}
	young.must(young.acquire("one"))
	if young.granted("one") == (limiter.LeaseID{}) {
		t.Error("the later version does not serve")
	}
	old.replica.Break(t.Context()) // it is loaded again, which is of no use
	for range 3 {
		if err := old.replica.Read(t.Context()); err == nil {
			t.Error("a log that is not understood was read")
		}
	}
	if !old.replica.Lost() || old.faults != 1 {
		t.Errorf("lost %v, told %d times, want once: nothing has changed", old.replica.Lost(), old.faults)
	}
}

// An engine that panics and cannot be written down either is lost, and the process lives.
func TestBeyondMending(t *testing.T) {
	p := join(t, memory.Open(memory.Options{}), nil)
	p.must(slots(1))
	p.replica.Probe = func(limiter.Command) { p.replica.engine = nil; panic("all is lost") }
	p.must(p.acquire("one"))
	if !p.replica.Lost() || p.faults != 1 {
		t.Errorf("lost %v, told %d times", p.replica.Lost(), p.faults)
	}
	if _, ok := p.replica.Written(); ok {
		t.Error("a state that is lost was written down")
	}
}

// A garbledLog is one that may hold a state that nobody can read, or not be there to load.
type garbledLog struct {
	store.Log
	garbled, away bool
}

func (l *garbledLog) Load(ctx context.Context, organization string) (store.Snapshot, []store.Entry, error) {
	s, entries, err := l.Log.Load(ctx, organization)
	if l.away {
		return s, nil, store.ErrUnavailable
	}
	if l.garbled {
		s.State, entries = []byte("garbled"), nil
	}
	return s, entries, err
}

// A state that cannot be read is told once, however often it is tried, and so is that it can be;
// what was known before is not forgotten.
func TestGarbled(t *testing.T) {
	l := &garbledLog{Log: memory.Open(memory.Options{Keep: true})}
	p := join(t, l, nil)
	p.must(slots(2), p.acquire("one"))
	l.garbled = true
	_ = p.replica.Break(t.Context())
	for range 3 {
		if err := p.replica.Read(t.Context()); err == nil {
			t.Error("a state that is not understood was read")
		}
	}
	if !p.replica.Lost() || p.faults != 1 {
		t.Errorf("lost %v, told %d times, want once", p.replica.Lost(), p.faults)
	}
	l.garbled = false
	p.read()
	if open, _ := p.counts(); p.replica.Lost() || p.faults != 2 || open != 1 {
		t.Errorf("lost %v, told %d times, %d leases; want it to go on, told of that once, with 1", p.replica.Lost(), p.faults, open)
	}
	l.garbled = true
	if q := start(t, l, nil); q.replica.Open(t.Context()) == nil || q.replica.Lost() || q.faults != 0 {
		t.Errorf("lost %v, told %d times, of what was never served", q.replica.Lost(), q.faults)
	}
}

// An engine that is beyond mending while the log is replayed is told to be lost once.
func TestBeyondMendingAgain(t *testing.T) {
	l := &garbledLog{Log: memory.Open(memory.Options{Keep: true})}
	p := join(t, l, nil)
	p.must(slots(1))
	p.replica.Probe = func(limiter.Command) { l.away, p.replica.engine = true, nil; panic("all is lost") }
	_ = p.replica.Break(t.Context())
	if !p.replica.Lost() || p.faults != 1 {
		t.Errorf("lost %v, told %d times", p.replica.Lost(), p.faults)
	}
}
