package server

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// A prober calls at an even rate and measures how long each Acquire takes.
type prober struct {
	t            testing.TB
	conn         grpc.ClientConnInterface
	organization string
	made         int
}

// probeEvery is the time between two calls: 500 a second use a tenth of a processor.
const probeEvery = 2 * time.Millisecond

// probe calls for a time. A call that is due while another runs is made after it, and its time
// counts from when it was due.
func (p *prober) probe(length time.Duration) (took []time.Duration) {
	p.t.Helper()
	client := pb.NewLimiterServiceClient(p.conn)
	ctx, cancel := context.WithTimeout(p.t.Context(), length+20*time.Second)
	defer cancel()
	for due, end := time.Now(), time.Now().Add(length); due.Before(end); due = due.Add(probeEvery) {
		time.Sleep(time.Until(due))
		p.made++
		start := due
		if now := time.Now(); now.Sub(due) < probeEvery { // the timer was late, not the server
			start = now
		}
		a, err := client.Acquire(ctx, ask(name("probe", p.made), of(p.organization)))
		took = append(took, time.Since(start))
		if err != nil || a.GetGranted() == nil {
			p.t.Fatalf("got %v, %v, want a grant", a, err)
		}
		if _, err := client.Release(ctx, &pb.ReleaseRequest{LeaseId: a.GetGranted().LeaseId}); err != nil {
			p.t.Fatal(err)
		}
	}
	return took
}

// A comparison is what a prober's p99 is alone and beside something else, in turns.
type comparison struct {
	Alone, Beside []float64    // µs, by turn
	Void          [][2]float64 // the same, of turns that others on the machine disturbed
	Foreign       []float64    // processors that others used, of each turn
	Took          time.Duration
}

// ratio is of the medians of the turns.
func (c *comparison) ratio() float64 {
	return median(slices.Clone(c.Beside)) / median(slices.Clone(c.Alone))
}

// judge tells the figures and wants the ratio not to be above the most. If others on the
// machine have disturbed nearly every turn the test is skipped and says so: processors that
// others use tell nothing of a server's tail.
func (c *comparison) judge(t testing.TB, most float64) {
	t.Helper()
	t.Logf("p99 in µs by turn, alone %.0f, beside it %.0f, in disturbed ones %.0f; others used %.2f processors", c.Alone, c.Beside, c.Void, c.Foreign)
	if len(c.Alone) < leastTurns {
		t.Skipf("others used the processors in %d of %d turns: nothing can be said of the tail", len(c.Void), len(c.Void)+len(c.Alone))
	}
	t.Logf("p99 alone %.0f µs, beside it %.0f µs: %.2f times", median(slices.Clone(c.Alone)), median(slices.Clone(c.Beside)), c.ratio())
	if r := c.ratio(); r > most {
		t.Errorf("p99 is %.2f times what it is alone, want at most %v", r, most)
	}
}

const (
	leastTurns = 4
	turnsTime  = 22 * time.Second
	// What others may use of the processors while a turn is measured: more, and it tells of them
	// and not of the server.
	mostForeign = 0.1
)

// compare measures in turns, which of the two comes first changing, until there are as many as
// wanted that nobody else on the machine disturbed, or time is up.
func (p *prober) compare(pids []int, want int, length time.Duration, begin, end func()) (c comparison) {
	p.t.Helper()
	start := time.Now()
	measure := func(loaded bool) (p99 float64, foreign float64) {
		if loaded {
			begin()
			defer end()
			time.Sleep(50 * time.Millisecond)
		}
		m := watchMachine(pids)
		took := p.probe(length)
		foreign = m.foreign()
		return micros(percentile(took, .99)), foreign
	}
	for turn := 0; turn < want || len(c.Alone) < want && time.Since(start) < turnsTime; turn++ {
		var p99, foreign [2]float64
		for i := range 2 {
			loaded := (i + turn) % 2
			p99[loaded], foreign[loaded] = measure(loaded == 1)
		}
		c.Foreign = append(c.Foreign, max(foreign[0], foreign[1]))
		if max(foreign[0], foreign[1]) > mostForeign {
			c.Void = append(c.Void, p99)
			continue
		}
		c.Alone, c.Beside = append(c.Alone, p99[0]), append(c.Beside, p99[1])
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
	busy = ticks("/proc/stat", 1, 3, 6, 7, 8) // user, system, irq, softirq, steal; what is niced yields
	for _, pid := range m.pids {
		own += ticks(fmt.Sprintf("/proc/%d/stat", pid), 11, 12) // utime, stime
	}
	return busy, own
}
