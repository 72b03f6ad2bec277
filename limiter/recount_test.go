package limiter

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestRecount loses a log's tail, of which several know a part, some of them nothing, and lets
// them tell it in any order and again: then every counter stands at every time as in the engine of
// the one who knew most, beside what was counted before they came.
func TestRecount(t *testing.T) {
	for seed := range uint64(300) {
		if err := recountOnce(rand.New(rand.NewPCG(seed, 3))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func recountOnce(r *rand.Rand) error {
	const quota, length, names = 1000, time.Minute, 3
	look := func(e *Engine, n int, now Time) int64 {
		h := &Hit{Counters: []CounterHit{{id(n), quota, length, 0, Shadow}}}
		return quota - e.Apply(h, now, nil)[0].Remaining
	}
	whole, now := counting(), second
	load := func() *Engine {
		e, err := Load(whole.Snapshot(nil))
		if err != nil {
			panic(err)
		}
		return e
	}
	hit := func() {
		now += Time(r.Int64N(int64(length) / 8))
		h := &Hit{Counters: []CounterHit{{id(r.IntN(names)), quota, length, 1 + r.Int64N(9), Enforced}}}
		whole.Apply(h, now, nil)
	}
	for range r.IntN(8) {
		hit()
	}
	log := load() // as it is found again
	knowers := []*Engine{load()}
	for range 1 + r.IntN(3) {
		for range r.IntN(5) {
			hit()
		}
		knowers = append(knowers, load())
	}
	knowers = append(knowers, load())
	log.Begin(1, 1, now)
	log.Apply(&Loss{History: 7, Restores: true}, now, nil)
	log.Apply(&Tick{}, now.Add(quickRollCall), nil)
	for _, k := range knowers { // their clocks have gone on
		k.Apply(&Tick{}, now.Add(quickRollCall), nil)
	}
	now = now.Add(quickRollCall)
	var since [names]int64
	for n := range names { // counted before anybody has come
		if since[n] = r.Int64N(3); since[n] > 0 {
			log.Apply(&Hit{Counters: []CounterHit{{id(n), quota, length, since[n], Enforced}}}, now, nil)
		}
	}
	for i := range 3 * len(knowers) {
		k := knowers[len(knowers)-1]
		if i < 3*len(knowers)-1 { // last comes who knows most, if he has not come before
			k = knowers[r.IntN(len(knowers))]
		}
		log.Apply(&Recount{History: k.History(), Counters: k.LostCounters(log, false, nil)}, now, nil)
	}
	if got := knowers[0].LostCounters(log, false, nil); len(got) > 0 {
		return fmt.Errorf("something is still missing: %+v", got)
	}
	for at := now; at <= now.Add(length); at += second {
		for n := range names {
			want := look(knowers[len(knowers)-1], n, at)
			if at < now.Add(length) {
				want += since[n]
			}
			if got := look(log, n, at); got != want {
				return fmt.Errorf("%v later counter %d holds %d, want %d", at.Sub(now), n, got, want)
			}
		}
	}
	return consistent(log)
}
