package watermaster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

// While services come and go, and callers too, each lease that a caller was given is released
// with its outcome; none is released as something else, and nothing is left when all is over.
func TestEveryLeaseIsReleased(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func chaos(t *testing.T, random *rand.Rand) {
	n := newNetwork(t)
	names := []string{one, two}
	var mu sync.Mutex // guards random and all
	under := func(what func()) { mu.Lock(); defer mu.Unlock(); what() }
	roll := func(most int) (x int) { under(func() { x = random.IntN(most) }); return x }
	var all []*fake
	begin := func(name string) *fake {
		f := &fake{every: 3 * time.Second}
		f.acquire = func(ctx context.Context, in *watermasterv1.AcquireRequest) (*watermasterv1.AcquireResponse, error) {
			switch roll(10) {
			case 0:
				return nil, errAway
			case 1:
				return waitAnswer(time.Second), nil
			case 2:
				return rejectAnswer(&watermasterv1.Rejected{}), nil
			}
			time.Sleep(time.Duration(roll(500)) * time.Millisecond)
			return f.grant(in), nil
		}
		f.release = func(context.Context, *watermasterv1.ReleaseRequest) (*watermasterv1.ReleaseResponse, error) {
			time.Sleep(time.Duration(roll(200)) * time.Millisecond)
			if roll(5) == 0 {
				return nil, errAway
			}
			return &watermasterv1.ReleaseResponse{}, nil
		}
		under(func() { all = append(all, f) })
		return n.serve(name, f)
	}
	running := map[string]*fake{one: begin(one), two: begin(two)}
	l := n.limiter(one+","+two, Options{})

	want := map[string]watermasterv1.Outcome{}
	var callers sync.WaitGroup
	for i := range 40 {
		callers.Go(func() {
			for range 10 {
				time.Sleep(time.Duration(roll(2000)) * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(100+roll(20_000))*time.Millisecond)
				_ = l.Do(ctx, Request{Model: "m", RequestID: fmt.Sprint(i % 28)}, func(_ context.Context, lease *Lease) error {
					time.Sleep(time.Duration(roll(10_000)) * time.Millisecond)
					outcome := []Outcome{OutcomeSucceeded, OutcomeUnsent, OutcomeThrottled}[roll(3)]
					under(func() {
						if _, twice := want[lease.ID]; twice {
							t.Errorf("%s was given out twice", lease.ID)
						}
						want[lease.ID] = watermasterv1.Outcome(outcome)
					})
					if roll(2) == 0 {
						lease.ReleaseForAdvice(ctx, End{Outcome: outcome})
					} else {
						lease.Release(End{Outcome: outcome})
					}
					return nil
				})
				cancel()
			}
		})
	}
	ended := make(chan struct{})
	go func() { callers.Wait(); close(ended) }()
	for at := 0; ; at++ {
		select {
		case <-ended:
		case <-time.After(time.Duration(roll(4000)) * time.Millisecond):
			name := names[at%2]
			running[name].stop()
			time.Sleep(time.Duration(roll(3000)) * time.Millisecond)
			running[name] = begin(name)
			continue
		}
		break
	}
	time.Sleep(20 * time.Second)
	if s := l.Stats(); s.Open != 0 || s.Releases != 0 || s.Dropped != 0 {
		t.Errorf("left: %+v", s)
	}
	n.end(l)
	got := map[string]watermasterv1.Outcome{}
	for _, f := range all {
		for _, in := range f.released() {
			if before, twice := got[in.GetLeaseId()]; twice && before != in.GetOutcome() {
				t.Errorf("%s was released as %v and %v", in.GetLeaseId(), before, in.GetOutcome())
			}
			got[in.GetLeaseId()] = in.GetOutcome()
		}
	}
	if len(want) < 100 {
		t.Errorf("only %d leases", len(want))
	}
	for id, outcome := range want {
		if got[id] != outcome {
			t.Errorf("%s was released as %v, want %v", id, got[id], outcome)
		}
	}
}
