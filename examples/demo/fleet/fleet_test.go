package fleet_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/watermaster-project/watermaster/examples/demo/fleet"
	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	"github.com/watermaster-project/watermaster/server"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/store/memory"
)

const configuration = `
cold_start: trust
organizations:
  acme:
    accounts:
      a:
        start_within: 150ms
        transit: 100ms
        pools: {p: {models: [m], limits: {requests: 100/1s}}}
    routes: {smart: {targets: [{account: a, model: m}]}}
`

// serve serves until it is stopped.
func serve(t *testing.T) (address string, stop func()) {
	t.Helper()
	cfg, err := config.Parse("config.yaml", []byte(configuration), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	log := memory.Open(memory.Options{})
	s, err := server.New(t.Context(), server.Options{Config: cfg, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := s.NewGRPC()
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(listener) }()
	return listener.Addr().String(), func() {
		g.Stop()
		if err := <-ended; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
		s.Close()
		log.Close()
	}
}

func run(t *testing.T, quota int64, addresses []string, length time.Duration) (fleet.Tally, []fleet.Refusal) {
	t.Helper()
	up, err := fleet.NewUpstream(provider.Config{
		Limits: []provider.Limit{{Metric: provider.Requests, Quota: quota, Window: time.Second, Shape: provider.Sliding}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := fleet.New(fleet.Options{
		Addresses: addresses, Upstream: up, Workers: 40, Classes: []string{"interactive", "batch"}, Project: "p", Route: "smart",
		Block: 500 * time.Millisecond, Patience: time.Second, TTL: 5 * time.Second,
		Call: func(string, *rand.Rand) fleet.Call {
			return fleet.Call{Input: 10, Output: 5, Life: 10 * time.Millisecond}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	f.Run(ctx)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	_, refused := up.Report()
	return f.Tally(), refused
}

// A fleet goes on at another replica when one does not answer, and sees what a provider refuses.
func TestFleet(t *testing.T) {
	address, stop := serve(t)
	defer stop()
	gone, end := serve(t)
	end()
	for _, row := range []struct {
		name      string
		quota     int64
		addresses []string
		refused   bool
		errors    bool
	}{
		{"the provider's quota is the configured one", 100, []string{address}, false, false},
		{"it is half of it", 50, []string{address}, true, false},
		{"half of the replicas are gone", 100, []string{gone, address}, false, true},
	} {
		c, refused := run(t, row.quota, row.addresses, 2*time.Second)
		if got := len(refused) > 0; got != row.refused || c.Throttled != int64(len(refused)) {
			t.Errorf("%s: %d calls were refused, and workers saw %d", row.name, len(refused), c.Throttled)
		}
		if got := fleet.All(c.Errors) > 0; got != row.errors || fleet.All(c.Lost) > 0 || len(c.Twice) > 0 {
			t.Errorf("%s: errors %v, lost %v, twice %v", row.name, c.Errors, c.Lost, c.Twice)
		}
		if c.Sent+c.Throttled+c.Late != c.Granted || c.Granted < 100 || len(c.Grants) != int(c.Granted) || c.Waiting != 0 || c.Running != 0 {
			t.Errorf("%s: %d granted, %d sent, %d refused, %d late, %d waiting, %d running",
				row.name, c.Granted, c.Sent, c.Throttled, c.Late, c.Waiting, c.Running)
		}
		if len(c.Waits["interactive"]) == 0 || len(c.Waits["batch"]) == 0 || c.Wait("batch", 100) < c.Wait("batch", 50) {
			t.Errorf("%s: waits of %d classes", row.name, len(c.Waits))
		}
	}
}

func TestGap(t *testing.T) {
	s := time.Second
	c := fleet.Tally{Grants: []time.Duration{1 * s, 2 * s, 5 * s, 6 * s}}
	for _, row := range []struct{ from, to, gap, began time.Duration }{
		{0, 7 * s, 3 * s, 2 * s},
		{5 * s, 10 * s, 4 * s, 6 * s},
		{3 * s, 5 * s, 2 * s, 3 * s},
		{8 * s, 9 * s, 1 * s, 8 * s},
	} {
		if gap, began := c.Gap(row.from, row.to); gap != row.gap || began != row.began {
			t.Errorf("from %v to %v: got %v from %v, want %v from %v", row.from, row.to, gap, began, row.gap, row.began)
		}
	}
}
