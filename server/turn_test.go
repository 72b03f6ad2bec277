package server

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// A prober is a fleet of workers that calls at an even rate, and measures how long each Acquire
// takes.
type prober struct {
	t            testing.TB
	conns        []*grpc.ClientConn
	organization string
	made         int
}

// probeEvery is the time between two calls: 400 a second, and as many releases, use a tenth of
// a processor.
const probeEvery = 2500 * time.Microsecond

// probe calls for a time. No call waits for the one before: each is made when it is due, as by
// a worker of its own.
func (p *prober) probe(length time.Duration) (took []time.Duration) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), length+20*time.Second)
	defer cancel()
	took = make([]time.Duration, length/probeEvery)
	var all sync.WaitGroup
	due := time.Now()
	for i := range took {
		time.Sleep(time.Until(due))
		due = due.Add(probeEvery)
		p.made++
		r, client := ask(name("probe", p.made), of(p.organization)), pb.NewLimiterServiceClient(p.conns[p.made%len(p.conns)])
		all.Go(func() {
			start := time.Now()
			a, err := client.Acquire(ctx, r)
			took[i] = time.Since(start)
			if err != nil || a.GetGranted() == nil {
				p.t.Errorf("got %v, %v, want a grant", a, err)
				return
			}
			if _, err := client.Release(ctx, &pb.ReleaseRequest{LeaseId: a.GetGranted().LeaseId}); err != nil {
				p.t.Error(err)
			}
		})
	}
	all.Wait()
	return took
}

// A disturbance is what goes on while a prober measures, from begin to end.
type disturbance interface {
	begin()
	end()
}

// undisturbed is the disturbance that is none.
type undisturbed struct{}

func (undisturbed) begin() {}
func (undisturbed) end()   {}

// A comparison is what a prober's p99 is beside one thing and beside another, in turns.
type comparison struct {
	Without, With []float64    // µs, by turn
	Void          [][2]float64 // the same, of turns that others on the machine disturbed
	Foreign       []float64    // processors that others used, of each turn
	Took          time.Duration
}

// ratio is of the medians of the turns.
func (c *comparison) ratio() float64 {
	return median(slices.Clone(c.With)) / median(slices.Clone(c.Without))
}

// judge tells the figures and wants the ratio not to be above the most, unless that is 0. If others on the
// machine have disturbed nearly every turn the test is skipped and says so: processors that
// others use tell nothing of a server's tail.
func (c *comparison) judge(t testing.TB, most float64) {
	t.Helper()
	t.Logf("p99 in µs by turn, without %.0f, with %.0f, both in disturbed turns %.0f; others used %.2f processors", c.Without, c.With, c.Void, c.Foreign)
	if len(c.Without) < leastTurns {
		t.Skipf("others used the processors in %d of %d turns: nothing can be said of the tail", len(c.Void), len(c.Void)+len(c.Without))
	}
	t.Logf("p99 without %.0f µs, with %.0f µs: %.2f times", median(slices.Clone(c.Without)), median(slices.Clone(c.With)), c.ratio())
	if r := c.ratio(); most > 0 && r > most {
		t.Errorf("p99 is %.2f times what it is without, want at most %v", r, most)
	}
}

const (
	leastTurns = 4
	// What others may use of the processors while a turn is measured: more, and it tells of them
	// and not of the server.
	mostForeign = 0.2
)

// compare measures in turns, which of the two comes first changing, until there are as many as
// wanted that nobody else on the machine disturbed, or time is up. Each is made at least once
// for every one wanted.
func (p *prober) compare(pids []int, want int, length, within time.Duration, without, with disturbance) (c comparison) {
	p.t.Helper()
	start := time.Now()
	measure := func(d disturbance) (p99 float64, foreign float64) {
		d.begin()
		defer d.end()
		time.Sleep(50 * time.Millisecond)
		m := watchMachine(pids)
		took := p.probe(length)
		foreign = m.foreign()
		return micros(percentile(took, .99)), foreign
	}
	for turn := 0; turn < want || len(c.Without) < want && time.Since(start) < within; turn++ {
		var p99, foreign [2]float64
		for i := range 2 {
			which := (i + turn) % 2
			p99[which], foreign[which] = measure([]disturbance{without, with}[which])
		}
		c.Foreign = append(c.Foreign, max(foreign[0], foreign[1]))
		if max(foreign[0], foreign[1]) > mostForeign {
			c.Void = append(c.Void, p99)
			continue
		}
		c.Without, c.With = append(c.Without, p99[0]), append(c.With, p99[1])
	}
	c.Took = time.Since(start)
	return c
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// A machine tells how much of the processors others than some processes use.
type machine struct {
	pids []int
	busy float64 // s of all processors, steal included
	own  float64
	at   time.Time
}

// userHz is the unit of /proc: it is the same on every Linux.
const userHz = 100

func watchMachine(pids []int) *machine {
	m := &machine{pids: append([]int{os.Getpid()}, pids...), at: time.Now()}
	m.busy, m.own = m.read()
	return m
}

// foreign is the part of a processor that others have used; 0 where that cannot be known.
func (m *machine) foreign() float64 {
	busy, own := m.read()
	return (busy - m.busy - (own - m.own)) / time.Since(m.at).Seconds()
}

func (m *machine) read() (busy, own float64) {
	ticks := func(file string, of ...int) (sum float64) {
		b, err := os.ReadFile(file)
		if err != nil {
			return 0
		}
		line, _, _ := strings.Cut(string(b), "\n")
		if _, behind, ok := strings.Cut(line, ") "); ok { // a program's name may have spaces
			line = behind
		}
		f := strings.Fields(line)
		for _, i := range of {
			if i < len(f) {
				n, _ := strconv.ParseFloat(f[i], 64)
				sum += n / userHz
			}
		}
		return sum
	}
	busy = ticks("/proc/stat", 1, 2, 3, 6, 7, 8) // user, nice, system, irq, softirq, steal
	for _, pid := range m.pids {
		own += ticks(fmt.Sprintf("/proc/%d/stat", pid), 11, 12) // utime, stime
	}
	return busy, own
}
