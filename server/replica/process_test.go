package replica

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/metrics"
	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// A process is a replica on a log of its own connection, with a machine that only notes.
type process struct {
	t       *testing.T
	log     store.Log
	replica *Replica
	leases  uint64
	turn    sync.Mutex // whose turn it is to commit or to read

	// Held by the replica's lock.
	events  []limiter.Event // of all commands
	loaded  int
	faults  int
	waiting map[limiter.Key]*limiter.Acquire // proposed by this process

	mu        sync.Mutex
	broke     []string
	restored  int
	uncounted int
	calls     []time.Duration // roll calls
}

func (p *process) Loaded() { p.loaded++ }
func (p *process) Apply(a *Applying) {
	events, _ := p.replica.Step(a)
	for _, ev := range events {
		p.events = append(p.events, ev)
		if ev.Kind != limiter.Queued {
			delete(p.waiting, ev.Key)
		}
	}
}
func (p *process) Applied(*Batch) {}
func (p *process) Fault(bool)     { p.faults++ }
func (p *process) Orphans(propose func(limiter.Command)) {
	for key, a := range p.waiting {
		if lease, ok := p.replica.Engine().Waits(key); !ok || lease.Incarnation != p.replica.incarnation {
			again := *a
			again.Lease = p.lease()
			propose(&again)
		}
	}
}

func (p *process) Committed(int, metrics.Time, metrics.Time) {}
func (p *process) Read(metrics.Time, metrics.Time)           {}
func (p *process) Failed()                                   {}
func (p *process) Uncounted(n int)                           { p.uncounted += n }
func (p *process) Broke(cause string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broke = append(p.broke, cause)
}
func (p *process) Restored(n int) { p.restored += n }
func (p *process) RollCall(d time.Duration) {
	p.calls = append(p.calls, d)
}

// join starts a process; change may change how it does.
func join(t *testing.T, log store.Log, change func(*Options)) *process {
	t.Helper()
	p := start(t, log, change)
	if err := p.replica.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, ok := log.(store.Nudger); ok {
		go func() { // ends with the log
			for range n.Nudged() {
				p.turn.Lock()
				_ = p.replica.Read(context.Background())
				p.turn.Unlock()
			}
		}()
	}
	return p
}

func start(t *testing.T, log store.Log, change func(*Options)) *process {
	var b [8]byte
	_, _ = rand.Read(b[:])
	p := &process{t: t, log: log, waiting: map[limiter.Key]*limiter.Acquire{}}
	o := Options{
		Log: log, Organization: "acme", Incarnation: binary.BigEndian.Uint64(b[:]) | 1, Machine: p,
		Meter: func() Meter { return p }, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&o)
	}
	p.replica = New(o)
	return p
}

func dial(t *testing.T, s *redistest.Server) store.Log {
	t.Helper()
	return dialAt(t, s.URL())
}

func dialAt(t *testing.T, url string) store.Log {
	t.Helper()
	l, err := redis.Open(t.Context(), url, redis.Options{Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func (p *process) lease() limiter.LeaseID {
	p.leases++
	return limiter.LeaseID{Incarnation: p.replica.incarnation, Count: p.leases}
}

// slots configures a pool in which n calls may run at once.
func slots(n int64) *limiter.Configure {
	return &limiter.Configure{
		Generation: 1, Hash: 1, MaxProjects: 10, MaxWaiting: 1000,
		Pools: []limiter.PoolSpec{{
			Name: "a/p", Models: []string{"m"}, StartWithin: 5 * time.Second,
			Limits: []limiter.LimitSpec{{Name: "concurrency", Metric: limiter.Concurrency, Shape: limiter.Stock, Quota: n}},
		}},
		Template: &limiter.ProjectSpec{Weight: 1},
		Classes:  []limiter.ClassSpec{{Name: "standard", Weight: 1}},
	}
}

func key(name string) (k limiter.Key) {
	copy(k[:], name)
	return k
}

// acquire makes the command of a request for one slot, that waits if it has to.
func (p *process) acquire(name string) *limiter.Acquire {
	a := &limiter.Acquire{
		Key: key(name), Lease: p.lease(), Project: "x", Class: "standard", Arrived: p.replica.Now(),
		MaxWait: time.Minute, TTL: 10 * time.Minute,
		Targets: []limiter.Target{{Pool: "a/p", Model: "m", Charges: []limiter.Charge{{
			Metric: limiter.Concurrency, Flags: limiter.ToPool, Amount: 1,
		}}}},
	}
	p.waiting[a.Key] = a
	return a
}

// commit puts commands into the log.
func (p *process) commit(cmds ...limiter.Command) error {
	b := &Batch{}
	for _, c := range cmds {
		b.Add(c)
	}
	p.turn.Lock()
	defer p.turn.Unlock()
	return p.replica.Commit(context.Background(), b)
}

func (p *process) must(cmds ...limiter.Command) {
	p.t.Helper()
	if err := p.commit(cmds...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) read() {
	p.t.Helper()
	p.turn.Lock()
	defer p.turn.Unlock()
	if err := p.replica.Read(context.Background()); err != nil {
		p.t.Fatal(err)
	}
}

// await waits until a request has a grant, which others bring about.
func (p *process) await(name string) {
	p.t.Helper()
	for end := time.Now().Add(10 * time.Second); p.granted(name) == (limiter.LeaseID{}); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("%s has no grant after 10 s", name)
		}
	}
}

// granted gives the lease that a request had last; zero: none.
func (p *process) granted(name string) (l limiter.LeaseID) {
	p.replica.Lock()
	defer p.replica.Unlock()
	for _, ev := range p.events {
		if ev.Kind == limiter.Granted && ev.Key == key(name) {
			l = ev.Lease
		}
	}
	return l
}

func (p *process) counts() (open, waiting int) {
	p.replica.Lock()
	defer p.replica.Unlock()
	return p.replica.Engine().Counts()
}

// same says whether processes have come to the same.
func same(t *testing.T, all ...*process) {
	t.Helper()
	for range 3 {
		for _, p := range all {
			p.read()
		}
	}
	for _, p := range all[1:] {
		if got, want := p.replica.engine.Digest(), all[0].replica.engine.Digest(); got != want {
			t.Errorf("digests %x and %x", got, want)
		}
	}
}

// wipe empties a server.
func wipe(t *testing.T, s *redistest.Server) {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: s.Address()})
	defer c.Close()
	if err := c.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}
