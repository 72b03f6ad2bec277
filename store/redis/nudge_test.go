package redis_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// nudged waits for a nudge.
func nudged(t *testing.T, what string, l *redis.Log, want string) {
	t.Helper()
	select {
	case got := <-l.Nudged():
		if got != want {
			t.Errorf("%s: got a nudge for %q, want %q", what, got, want)
		}
	case <-time.After(5 * time.Second):
		t.Errorf("%s: no nudge", what)
	}
}

// quiet sees that there is no nudge. What was published before another message that has
// arrived would have arrived.
func quiet(t *testing.T, what string, l, from *redis.Log) {
	t.Helper()
	must(t, from.Nudge(t.Context(), "sentinel", 99))
	nudged(t, what, l, "sentinel")
}

func TestNudges(t *testing.T) {
	s := redistest.Start(t)
	a := newWriter(t, open(t, s.URL(), options(t, newClock())), 1)
	b := newWriter(t, open(t, s.URL(), options(t, newClock())), 2)
	nudged(t, "somebody joined", a.log, acme)

	// Both listen to another organization's channel, b as 99.
	must(t, a.log.Create(t.Context(), "sentinel", store.Snapshot{}))
	first, _, err := b.log.Load(t.Context(), "sentinel")
	must(t, err)
	_, err = b.log.Append(t.Context(), "sentinel", first.Position, store.Batch{Incarnation: 99, Number: 1}, nil)
	must(t, err)
	for subscribed, quiet := false, false; !subscribed || !quiet; {
		if !subscribed {
			must(t, a.log.Nudge(t.Context(), "sentinel", 99))
		}
		select {
		case <-b.log.Nudged():
			subscribed = true
		case <-time.After(50 * time.Millisecond):
			quiet = subscribed
		}
	}

	must(t, a.log.Nudge(t.Context(), acme, 3, 2))
	nudged(t, "to b", b.log, acme)
	must(t, a.log.Nudge(t.Context(), acme, 3))
	quiet(t, "to nobody", b.log, a.log)
	must(t, a.log.Nudge(t.Context(), acme))
	quiet(t, "to no incarnation", b.log, a.log)

	must(t, admin(t, s.Address()).Del(t.Context(), "wm:{acme}:log").Err())
	wants(t, "Append", a.try(a.batch("x")), store.ErrBroken)
	nudged(t, "the log broke", b.log, acme)

	must(t, b.log.Close())
	if _, ok := <-b.log.Nudged(); ok {
		t.Error("the channel of a closed log is open")
	}
}

// Nudges that nobody has taken yet are one for each organization.
func TestNudgesGather(t *testing.T) {
	s := redistest.Start(t)
	a := newWriter(t, open(t, s.URL(), options(t, newClock())), 1)
	newWriter(t, open(t, s.URL(), options(t, newClock())), 2)
	nudged(t, "joined", a.log, acme)
	other := open(t, s.URL(), options(t, newClock()))
	for range 1000 {
		must(t, other.Nudge(t.Context(), acme, 1))
	}
	n := 0
	for quiet := false; !quiet; n++ {
		select {
		case <-a.log.Nudged():
		case <-time.After(100 * time.Millisecond):
			quiet = true
		}
	}
	if n < 2 || n > 50 { // the one that is handed out, one that was noted meanwhile, and what arrives as we take them
		t.Errorf("got %d nudges for 1000", n-1)
	}
}

// Where the connection was lost nudges may have been, so there is one for all.
func TestNudgesAfterALostConnection(t *testing.T) {
	p := redistest.StartProxy(t, redistest.Start(t).Address())
	a := newWriter(t, open(t, p.URL(), options(t, newClock())), 1)
	newWriter(t, open(t, p.URL(), options(t, newClock())), 2)
	nudged(t, "joined", a.log, acme)
	p.Cut()
	nudged(t, "after the connection was lost", a.log, acme)
}

// Of those who find a log gone, the one that had come furthest begins it; who knows nothing
// of it waits for them, and nobody for ever.
func TestFurthestCreates(t *testing.T) {
	s := redistest.Start(t)
	o := options(t, newClock())
	o.Yield = 600 * time.Millisecond
	behind := newWriter(t, open(t, s.URL(), o), 1)
	ahead := newWriter(t, open(t, s.URL(), o), 2)
	fresh := open(t, s.URL(), o)
	newWriter(t, fresh, 3)
	must(t, admin(t, s.Address()).FlushAll(t.Context()).Err())

	type result struct {
		who string
		err error
	}
	results := make(chan result)
	create := func(who string, l *redis.Log, from store.Snapshot) {
		go func() { results <- result{who, l.Create(t.Context(), acme, from)} }()
	}
	start := time.Now()
	create("fresh", fresh, store.Snapshot{})
	create("behind", behind.log, store.Snapshot{Position: behind.at, State: []byte("behind")})
	time.Sleep(50 * time.Millisecond) // it notices later
	create("ahead", ahead.log, store.Snapshot{Position: ahead.at, State: []byte("ahead")})
	for range 3 {
		r := <-results
		if r.who == "ahead" {
			must(t, r.err)
		} else {
			wants(t, r.who, r.err, store.ErrExists)
		}
	}
	if took := time.Since(start); took > o.Yield {
		t.Errorf("it took %v, and all knew when it was there", took)
	}
	if got, _, err := fresh.Load(t.Context(), acme); err != nil || string(got.State) != "ahead" {
		t.Errorf("got %q, %v", got.State, err)
	}
}

// Many processes find a log gone while the server has much to do: one begins it, the one
// that had come furthest, whoever noticed first.
func TestFurthestCreatesUnderLoad(t *testing.T) {
	const processes, rounds = 12, 3
	s := redistest.Start(t)
	c := admin(t, s.Address())
	o := options(t, newClock())
	o.Yield = 900 * time.Millisecond // a third of it is for those with a state to hear of each other
	o.Logger = nil
	var logs []*redis.Log
	for range processes {
		logs = append(logs, open(t, s.URL(), o))
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 2 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = c.Eval(t.Context(), "for i = 1, 5000 do redis.call('SET', 'x', i) end", nil).Err() // some ms
				}
			}
		})
	}
	defer load.Wait()
	defer close(stop)
	for round := range rounds {
		first := newWriter(t, logs[0], uint64(100+round))
		for _, l := range logs[1:] { // all listen
			_, _, err := l.Load(t.Context(), acme)
			must(t, err)
		}
		must(t, c.Del(t.Context(), "wm:{acme}:log", "wm:{acme}:snap").Err())
		furthest := rand.IntN(processes)
		late := lateness()
		var all sync.WaitGroup
		var created atomic.Int32
		for i, l := range logs {
			from := store.Snapshot{Position: first.at, State: fmt.Append(nil, i)}
			switch {
			case i == furthest:
				from.Position.Major++
			case i%4 == 3: // knows nothing
				from = store.Snapshot{}
			}
			all.Go(func() {
				time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond) // they notice one after the other
				switch err := l.Create(t.Context(), acme, from); {
				case err == nil:
					created.Add(1)
				case !errors.Is(err, store.ErrExists):
					t.Errorf("Create: %v", err)
				}
			})
		}
		all.Wait()
		if slack := late(); slack > o.Yield/10 {
			t.Logf("this machine was late by %v: that says nothing", slack)
			continue
		}
		got, _, err := logs[0].Load(t.Context(), acme)
		must(t, err)
		if string(got.State) != fmt.Sprint(furthest) || created.Load() != 1 {
			t.Errorf("round %d: %d have begun it, with the state of process %s; want that of %d", round, created.Load(), got.State, furthest)
		}
	}
}

// Who follows the entries of a log does not see that its snapshot is gone, until a process
// says that it cannot find the log: then whoever knows more begins it.
func TestSnapshotGone(t *testing.T) {
	s := redistest.Start(t)
	o := options(t, newClock())
	o.Yield = 2 * time.Second
	a := newWriter(t, open(t, s.URL(), o), 1)
	must(t, a.try(a.batch("x")))
	must(t, admin(t, s.Address()).Del(t.Context(), "wm:{acme}:snap").Err())
	must(t, a.try(a.batch("y")))

	b := open(t, s.URL(), o)
	created := make(chan error)
	go func() { created <- b.Create(t.Context(), acme, store.Snapshot{}) }()
	nudged(t, "a process cannot find the log", a.log, acme)
	wants(t, "Append", a.try(a.batch("z")), store.ErrBroken)
	must(t, a.log.Create(t.Context(), acme, store.Snapshot{Position: a.at, Time: 1, State: []byte("known")}))
	if err := <-created; err != nil && !errors.Is(err, store.ErrExists) {
		t.Error(err)
	}
	got, _, err := b.Load(t.Context(), acme)
	must(t, err)
	if string(got.State) != "known" {
		t.Errorf("the log begins with %q, want what was known", got.State)
	}
}
