package alone

import (
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
)

// epoch is when the tests begin: noon of some day.
const epoch = limiter.Time(1_767_268_800_000_000_000)

const hold = time.Minute + time.Second // of a limit by the minute

// A world is a configuration and the engine of the log that serves it.
type world struct {
	t     *testing.T
	cfg   *config.Config
	log   *limiter.Engine
	count uint64
}

func newWorld(t *testing.T, file string) *world {
	t.Helper()
	cfg, err := config.Parse("f", []byte(file), time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, cfg: cfg, log: limiter.New()}
	w.log.Apply(w.configure(), epoch, nil)
	return w
}

func (w *world) organization() *config.Organization { return &w.cfg.Organizations[0] }

func (w *world) configure() *limiter.Configure { return w.cfg.Configure(w.organization()) }

// leave lets an engine go away with a part.
func (w *world) leave(e *Engine, now limiter.Time) {
	e.Leave(Absence{Organization: w.organization(), Configure: w.configure(), Log: w.log, Until: limiter.Never}, now)
}

// An applier is an engine of either kind.
type applier interface {
	Apply(limiter.Command, limiter.Time, []limiter.Event) []limiter.Event
}

// request makes an Acquire of so many requests from a pool.
func (w *world) request(pool string, amount int64) *limiter.Acquire {
	w.count++
	return &limiter.Acquire{
		Key: limiter.Key{byte(w.count), byte(w.count >> 8), byte(w.count >> 16)}, Lease: limiter.LeaseID{Incarnation: 1, Count: w.count},
		Project: "p", Class: "interactive", Arrived: epoch, TTL: 10 * time.Minute,
		Targets: []limiter.Target{{Pool: pool, Model: "m", Charges: []limiter.Charge{
			{Metric: limiter.Requests, Flags: limiter.ToPool | limiter.ToOwner | limiter.Refundable, Amount: amount},
			{Metric: limiter.Concurrency, Flags: limiter.ToPool | limiter.ToOwner, Amount: 1},
		}}},
	}
}

// ask asks for so many requests at once and gives the lease if they are granted.
func (w *world) ask(e applier, pool string, amount int64, now limiter.Time) (limiter.LeaseID, bool) {
	c := w.request(pool, amount)
	for _, ev := range e.Apply(c, now, nil) {
		if ev.Kind == limiter.Granted && ev.Key == c.Key {
			return ev.Lease, true
		}
	}
	return limiter.LeaseID{}, false
}

// drain asks for one request after another until one is not granted.
func (w *world) drain(e applier, pool string, now limiter.Time) (n int64) {
	w.t.Helper()
	for {
		if _, ok := w.ask(e, pool, 1, now); !ok {
			return n
		}
		if n++; n > 10_000 {
			w.t.Fatal("there is no end of it")
		}
	}
}

// inAccount makes a configuration of one account.
func inAccount(account, limits string) string {
	return "cold_start: trust\nmax_replicas: 3\norganizations: {o: {accounts: {a: {" + account +
		"pools: {p: {models: [m], limits: {" + limits + "}}}}}}}\npriority_classes: {interactive: {paced: false}, standard: {paced: false}}\n"
}
