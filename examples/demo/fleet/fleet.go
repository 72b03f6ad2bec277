package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Options describe a fleet.
type Options struct {
	Addresses []string // of the replicas' gRPC
	Upstream  *Upstream
	Workers   int
	Classes   []string // worker i is of the class i mod len
	Project   string
	Route     string
	// Block is how long a worker lets a call be held while it waits, and Patience how much longer it
	// waits for an answer before it asks another replica.
	Block, Patience time.Duration
	TTL             time.Duration // of leases
	// Call says what a worker of a class does next.
	Call func(class string, r *rand.Rand) Call
}

// A Call is what a worker does next.
type Call struct {
	Input, Output int64         // tokens; the output is declared as it is
	Life          time.Duration // how long the provider takes
	Before        time.Duration // how long the worker does something else first
}

// A Fleet is all workers together.
type Fleet struct {
	options  Options
	replicas []*replica
	ledger   *ledger
	run      int64 // makes request ids of this run
}

// New makes a fleet that has not begun.
func New(o Options) (*Fleet, error) {
	if len(o.Addresses) == 0 || o.Upstream == nil || o.Workers < 1 || len(o.Classes) == 0 || o.Call == nil {
		return nil, errors.New("fleet: addresses, an upstream, workers, classes and calls are needed")
	}
	replicas, err := dial(o.Addresses)
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	return &Fleet{options: o, replicas: replicas, ledger: newLedger(), run: time.Now().UnixNano()}, nil
}

// Close ends the connections.
func (f *Fleet) Close() error { return hangUp(f.replicas) }

// Run works until the context ends, and then until each worker's call has ended.
func (f *Fleet) Run(ctx context.Context) {
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	var followers, workers sync.WaitGroup
	for _, r := range f.replicas {
		followers.Go(func() { r.follow(following) })
	}
	for i := range f.options.Workers {
		workers.Go(func() { f.work(ctx, i) })
	}
	workers.Wait()
	stop()
	followers.Wait()
}

// Tally tells what has become of the calls so far.
func (f *Fleet) Tally() Tally { return f.ledger.copy() }

// Since gives the time since the fleet was made.
func (f *Fleet) Since() time.Duration { return time.Since(f.ledger.start) }
