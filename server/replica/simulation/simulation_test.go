package simulation

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seedsFlag = flag.Int("seeds", 0, "how many seeds in all; 0: a number that fits a test")
	fromFlag  = flag.Uint64("from", 1, "the first seed")
	mixFlag   = flag.String("mix", "", "mixes of faults, with commas; empty: all")
	stopFlag  = flag.Bool("stop", false, "stop at the first failure")
	tableFlag = flag.Bool("table", false, "print a row for each mix")
)

// TestSeeds runs worlds of all mixes. With -v and one seed of one mix it tells the story.
func TestSeeds(t *testing.T) {
	names := Mixes()
	if *mixFlag != "" {
		names = strings.Split(*mixFlag, ",")
	}
	seeds := *seedsFlag
	switch {
	case seeds == 0 && testing.Short():
		seeds = 3 * len(names)
	case seeds == 0:
		seeds = 4_000
	}
	if seeds == 1 && len(names) == 1 && testing.Verbose() {
		r := Run(names[0], *fromFlag, Options{Story: os.Stdout})
		fmt.Printf("%+v\n", r)
		report(t, &r)
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // worlds are small, and soon gone
	rows := make([]row, len(names))
	var next, failures atomic.Int64
	var lock sync.Mutex
	start, told := time.Now(), time.Now()
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				i := int(next.Add(1) - 1)
				if i >= seeds || failures.Load() > 20 || *stopFlag && failures.Load() > 0 {
					return
				}
				m := i % len(names)
				r := runOne(names[m], *fromFlag+uint64(i/len(names)))
				lock.Lock()
				rows[m].add(&r)
				if report(t, &r) {
					failures.Add(1)
				}
				if testing.Verbose() && time.Since(told) > 10*time.Second {
					told = time.Now()
					rate := float64(i) / time.Since(start).Seconds()
					fmt.Printf("%d of %d seeds, %.0f a second, %.0f s left\n", i, seeds, rate, float64(seeds-i)/rate)
				}
				lock.Unlock()
			}
		})
	}
	workers.Wait()
	if *tableFlag || testing.Verbose() {
		table(os.Stdout, names, rows)
	}
}

// runOne runs a world, and says which it was where it panics.
func runOne(name string, seed uint64) Result {
	done := false
	defer func() {
		if !done {
			fmt.Printf("panic in -mix %s -from %d -seeds 1\n", name, seed)
		}
	}()
	r := Run(name, seed, Options{})
	done = true
	return r
}

// report says what must not be, and how to see it again.
func report(t *testing.T, r *Result) (failed bool) {
	if list := r.Failures(); list != nil {
		t.Errorf("-mix %s -from %d -seeds 1: %s", r.Mix, r.Seed, strings.Join(list, "; "))
		return true
	}
	return false
}

// A row sums up a mix.
type row struct {
	seeds, failed, over, diverged, lost, dead, slow, double, late, calls, breaks, alone, elsewhere, compared int
	worst                                                                                                    float64
	worstSeed                                                                                                uint64
	share, windows                                                                                           float64
}

func (x *row) add(r *Result) {
	count := func(n *int, is bool) {
		if is {
			*n++
		}
	}
	count(&x.seeds, true)
	count(&x.failed, r.Failures() != nil)
	count(&x.over, r.Over)
	count(&x.diverged, r.Diverged != "")
	count(&x.lost, r.Lost > 0)
	count(&x.dead, r.Dead)
	count(&x.slow, r.Slow)
	count(&x.double, r.Doubles > 0)
	x.late += r.Late
	x.calls += r.Calls
	x.breaks += r.Breaks
	x.alone += r.Alone
	x.elsewhere += r.Elsewhere
	x.compared += r.Compared
	x.share += r.Share
	x.windows = max(x.windows, r.Windows)
	if r.Worst > x.worst {
		x.worst, x.worstSeed = r.Worst, r.Seed
	}
}

func table(to io.Writer, names []string, rows []row) {
	fmt.Fprintf(to, "%-12s %7s %6s %6s %7s %8s %7s %6s %6s %6s %6s %6s %6s %6s %6s %6s %6s %7s %7s\n",
		"mix", "seeds", "failed", "over", "worst", "seed", "window", "diverg", "lost", "dead", "slow2s", "double", "late", "calls", "breaks", "alone", "share", "alike", "astray")
	for i, x := range rows {
		n := max(1, float64(x.seeds))
		fmt.Fprintf(to, "%-12s %7d %6d %6d %7.3f %8d %7.3f %6d %6d %6d %6d %6d %6.1f %6.0f %6.1f %6.1f %6.2f %7d %7d\n",
			names[i], x.seeds, x.failed, x.over, x.worst, x.worstSeed, x.windows, x.diverged, x.lost, x.dead, x.slow, x.double,
			float64(x.late)/n, float64(x.calls)/n, float64(x.breaks)/n, float64(x.alone)/n, x.share/n, x.compared, x.elsewhere)
	}
}

// TestReplay runs the same seeds twice: the stories are the same.
func TestReplay(t *testing.T) {
	for i, name := range Mixes() {
		seed := uint64(i + 1)
		a, b := Run(name, seed, Options{Digest: true}), Run(name, seed, Options{Digest: true})
		if a.Digest != b.Digest {
			t.Errorf("mix %s, seed %d: its story has digest %x, and then %x", name, seed, a.Digest, b.Digest)
		}
	}
}
