package redis_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// BenchmarkAppend tells what a batch costs Redis: in all (cpu-µs, of the process) and in the
// commands alone (commands-µs), what is left of it for each command, and what the batch costs
// the process that appends it (own-µs). What is to be reached: 3 µs of Redis for a command of
// a batch of 16.
func BenchmarkAppend(b *testing.B) {
	for _, processes := range []int{1, 3} {
		for _, commands := range []int{1, 4, 16, 64} {
			b.Run(fmt.Sprintf("processes=%d/commands=%d", processes, commands), func(b *testing.B) {
				benchmarkAppend(b, processes, commands)
			})
		}
	}
}

// commandSize is what a command takes in a batch, in bytes: an Acquire over three scopes and
// two metrics takes 140, and its Release 70.
const commandSize = 120

func benchmarkAppend(b *testing.B, processes, commands int) {
	s := redistest.Start(b)
	c := goredis.NewClient(&goredis.Options{Addr: s.Address(), Protocol: 2})
	defer c.Close()
	var writers []*writer
	for i := range processes {
		writers = append(writers, newWriter(b, open(b, s.URL(), redis.Options{Timeout: 10 * time.Second}), uint64(i+1)))
	}
	payload := string(make([]byte, commandSize*commands))
	done := spent(b, c)
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for i, w := range writers {
		all.Go(func() {
			for n := i; n < b.N; n += processes {
				w.had = w.had[:0]
				err := w.try(w.batch(payload))
				if errors.Is(err, store.ErrBroken) { // it lags by two snapshots
					w.load()
				} else if err != nil {
					b.Error(err)
					return
				}
				if every := 256 << 10 / len(payload); i == 0 && n/every != (n-processes)/every {
					if err := w.log.Install(b.Context(), acme, store.Snapshot{Position: w.at, State: make([]byte, 64<<10)}); err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
	cpu := done()
	b.ReportMetric(cpu/float64(commands), "cpu-µs/command")
	b.ReportMetric(inCommands(b, c)/float64(b.N), "commands-µs/batch")
}

// BenchmarkFloor tells what cannot be had for less: a round trip to Redis that does nothing
// (ping), and a transaction that appends a batch and reads it back and does nothing else, by
// the client that the log has.
func BenchmarkFloor(b *testing.B) {
	b.Run("ping", func(b *testing.B) {
		benchmarkFloor(b, func(c *goredis.Client) error { return c.Ping(b.Context()).Err() })
	})
	for _, commands := range []int{1, 4, 16, 64} {
		payload, last := make([]byte, commandSize*commands), "0-0"
		b.Run(fmt.Sprintf("commands=%d", commands), func(b *testing.B) {
			benchmarkFloor(b, func(c *goredis.Client) error {
				pipe := c.TxPipeline()
				pipe.XAdd(b.Context(), &goredis.XAddArgs{Stream: "log", MaxLen: 1000, Approx: true, Values: []any{"e", payload}})
				read := pipe.XRange(b.Context(), "log", last, "+")
				if _, err := pipe.Exec(b.Context()); err != nil {
					return err
				}
				list := read.Val()
				last = list[len(list)-1].ID
				return nil
			})
		})
	}
}

func benchmarkFloor(b *testing.B, once func(c *goredis.Client) error) {
	s := redistest.Start(b)
	c := goredis.NewClient(&goredis.Options{Addr: s.Address(), Protocol: 2})
	defer c.Close()
	must(b, once(c))
	done := spent(b, c)
	b.ReportAllocs()
	for b.Loop() {
		must(b, once(c))
	}
	done()
}

// spent begins to measure, and done tells what each of b.N batches has cost: Redis, which it
// gives in µs, and this process.
func spent(b *testing.B, c *goredis.Client) (done func() float64) {
	b.Helper()
	must(b, c.ConfigResetStat(b.Context()).Err())
	before, own := usedCPU(b, c), ownCPU()
	return func() float64 {
		cpu := float64(usedCPU(b, c)-before) / float64(b.N) / 1e3
		b.ReportMetric(cpu, "cpu-µs/batch")
		b.ReportMetric(float64(ownCPU()-own)/float64(b.N)/1e3, "own-µs/batch")
		return cpu
	}
}

// ownCPU gives what this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// usedCPU gives what the server's process has used.
func usedCPU(b *testing.B, c *goredis.Client) (sum time.Duration) {
	b.Helper()
	for line := range strings.Lines(c.Info(b.Context(), "cpu").Val()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, err := strconv.ParseFloat(value, 64)
			must(b, err)
			sum += time.Duration(seconds * 1e9)
		}
	}
	return sum
}

// inCommands gives the µs that the server spent in commands since its statistics were reset.
func inCommands(b *testing.B, c *goredis.Client) (sum float64) {
	b.Helper()
	for line := range strings.Lines(c.Info(b.Context(), "commandstats").Val()) {
		_, after, ok := strings.Cut(line, ",usec=")
		if !ok || strings.HasPrefix(line, "cmdstat_exec:") || strings.HasPrefix(line, "cmdstat_info") {
			continue // EXEC's includes those of what it executes
		}
		usec, _, _ := strings.Cut(after, ",")
		n, err := strconv.ParseFloat(usec, 64)
		must(b, err)
		sum += n
	}
	return sum
}
