package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// TestRedis sends the same random commands to the simulated Redis and to a real one, whose
// replies have to be the same. What depends on the time is given.
func TestRedis(t *testing.T) {
	real := goredis.NewClient(&goredis.Options{Addr: redistest.Start(t).Address()})
	t.Cleanup(func() { _ = real.Close() })
	for seed := range uint64(30) {
		if err := real.FlushAll(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
		w := &world{random: rand.New(rand.NewPCG(seed, 1)), network: calm}
		s := w.newServer("a")
		s.primary = true
		s.setClock(1_700_000_000_123*1_000_000, 0)
		c := commands{world: w}
		for step := range 150 {
			command := c.next()
			replies, err := s.transact([][]any{command}, "")
			if err != nil {
				t.Fatal(err)
			}
			got := replies[0]
			want, err := real.Do(context.Background(), atTime(command, s.clock())...).Result()
			if err != nil && err != goredis.Nil {
				t.Fatalf("seed %d, step %d: %v: %v", seed, step, command, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, step %d: %q\n got %q\nwant %q", seed, step, command, got, want)
			}
		}
	}
}

// atTime gives a command that reads the clock a given time to read.
func atTime(command []any, ms int64) []any {
	if command[0] != "eval" {
		return command
	}
	c := append([]any(nil), command...)
	table := fmt.Sprintf("{'%d', '%06d'}", ms/1000, ms%1000*1000)
	c[1] = strings.ReplaceAll(c[1].(string), "redis.call('TIME')", table)
	return c
}

// commands makes those that a log might send, and some that it would not.
type commands struct {
	world *world
	ids   uint64
}

func (c *commands) next() []any {
	w := c.world
	log, snapshot, marker := "log", "snap", "marker"
	id := func() string {
		return fmt.Sprintf("%d-%d", 1_700_000_000_000+w.random.Uint64N(c.ids/4+2), w.random.Uint64N(4))
	}
	place := func() string { return fmt.Sprintf("%032d", w.random.IntN(20)) }
	word := func() string { return fmt.Sprintf("e%d", w.random.IntN(5)) }
	switch w.random.IntN(14) {
	case 0, 1, 2:
		c.ids++ // it rises in any case: another id would be an error
		return []any{"xadd", log, "nomkstream", fmt.Sprintf("%d-0", 1_700_000_000_200+c.ids), "e", word()}
	case 3:
		return []any{"xrange", log, "-", "+"}
	case 4:
		return []any{"xrange", log, id(), pick(w, "+", id())}
	case 5:
		return []any{"hmget", snapshot, "state", "at", "timeline", "before", "kept"}
	case 6:
		return []any{"hset", snapshot, "at", id(), "place", place(), pick(w, "state", "timeline", "before", "kept"), word()}
	case 7:
		return pick(w, []any{"get", marker}, []any{"exists", snapshot})
	case 8:
		return []any{"set", marker, word()}
	case 9:
		return []any{"del", pick(w, log, snapshot, marker), snapshot}
	case 10:
		return pick(w, []any{"persist", log}, []any{"pexpire", log, 60_000 * (10 + w.random.Int64N(1<<20))},
			[]any{"pexpireat", snapshot, 4_000_000_000_000 + w.random.Int64N(1<<40)})
	case 11:
		c.ids += 200
		return []any{
			"eval", redis.CreateScript, 3, log, snapshot, marker,
			w.random.Uint64() >> 2, word(), word(), 3_600_000, word(), pick(w, "", "lost", word()), w.random.Int64N(1000),
		}
	}
	at := id()
	return []any{"eval", redis.InstallScript, 2, log, snapshot, at, place(), pick(w, "e", "e1", "x"), word(), word()}
}
