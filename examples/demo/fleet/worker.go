package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// A worker makes one call after the other.
type worker struct {
	*Fleet
	home   int // the replica that it asks first
	at     int // the one that it asks now
	class  string
	random *rand.Rand
}

func (f *Fleet) work(ctx context.Context, i int) {
	w := &worker{
		Fleet: f, home: i % len(f.replicas), class: f.options.Classes[i%len(f.options.Classes)],
		random: rand.New(rand.NewPCG(uint64(f.run), uint64(i))), //nolint:gosec // a load is no secret
	}
	for n := 0; ctx.Err() == nil; n++ {
		c := f.options.Call(w.class, w.random)
		if c.Before > 0 {
			pause(ctx, c.Before)
		}
		w.call(ctx, fmt.Sprintf("%x-%d-%d", f.run, i, n), c)
	}
}

// call does what a worker does for one request.
func (w *worker) call(ctx context.Context, id string, c Call) {
	o := &w.options
	req := &pb.AcquireRequest{
		RequestId: id, Project: o.Project, Destination: &pb.AcquireRequest_Route{Route: o.Route},
		PriorityClass: w.class, InputTokens: c.Input, MaxOutputTokens: proto.Int64(c.Output),
		LeaseTtl: durationpb.New(o.TTL), Block: durationpb.New(o.Block),
	}
	w.ledger.note(func(t *Tally) { t.Asked++; t.Waiting++ })
	w.at = w.home
	g, sent := w.acquire(ctx, req)
	w.ledger.note(func(t *Tally) { t.Waiting-- })
	if g == nil {
		return
	}
	upstream, a := w.options.Upstream.Send(sent.Add(g.StartWithin.AsDuration()), provider.Call{Input: c.Input, MaxOutput: c.Output})
	switch a {
	case Late:
		w.ledger.note(func(t *Tally) { t.Late++ })
		w.release(&pb.ReleaseRequest{LeaseId: g.LeaseId, Outcome: pb.Outcome_OUTCOME_UNSENT})
	case Refused:
		w.ledger.note(func(t *Tally) { t.Throttled++ })
		w.release(&pb.ReleaseRequest{LeaseId: g.LeaseId, Observation: &pb.Observation{HttpStatus: 429}})
	case Taken:
		w.ledger.note(func(t *Tally) { t.Sent++; t.Running++ })
		time.Sleep(c.Life) // the call runs
		o.Upstream.Complete(upstream, c.Output)
		w.ledger.note(func(t *Tally) { t.Running-- })
		w.release(&pb.ReleaseRequest{
			LeaseId: g.LeaseId, Outcome: pb.Outcome_OUTCOME_SUCCEEDED,
			Consumption: &pb.ReleaseRequest_Usage{Usage: &pb.Usage{InputTokens: &c.Input, OutputTokens: &c.Output}},
		})
	}
}

// acquire asks until it is granted or refused, or the run is over. sent is when the call that was granted
// was made: start_within counts from there.
func (w *worker) acquire(ctx context.Context, req *pb.AcquireRequest) (g *pb.Granted, sent time.Time) {
	failed := 0 // times in a row
	for begun := time.Now(); ctx.Err() == nil; {
		sent = time.Now()
		// A call that is under way at the end of the run is heard out: who knows what it is granted?
		within, cancel := context.WithTimeout(context.Background(), w.options.Block+w.options.Patience)
		a, err := w.replica().limiter.Acquire(within, req)
		cancel()
		if err != nil {
			if failed++; !w.again("acquire", err, failed) {
				return nil, sent
			}
			continue
		}
		failed = 0
		switch d := a.Decision.(type) {
		case *pb.AcquireResponse_Granted:
			w.ledger.granted(d.Granted.LeaseId, w.class, time.Since(begun))
			return d.Granted, sent
		case *pb.AcquireResponse_Wait:
			pause(ctx, d.Wait.RetryAfter.AsDuration())
		default:
			r := a.GetRejected()
			w.ledger.note(func(t *Tally) { t.Refused[r.GetReason().String()]++ })
			pause(ctx, min(max(r.GetRetryAfter().AsDuration(), 50*time.Millisecond), time.Second))
			return nil, sent
		}
	}
	return nil, sent
}

// persistence is how long a worker goes on telling of a call that has ended.
const persistence = 30 * time.Second

// release ends a lease, also when the run is over.
func (w *worker) release(req *pb.ReleaseRequest) {
	for end, failed := time.Now().Add(persistence), 1; ; failed++ {
		within, cancel := context.WithTimeout(context.Background(), w.options.Patience)
		_, err := w.replica().limiter.Release(within, req)
		cancel()
		if err == nil || !w.again("release", err, failed) {
			return
		}
		if time.Now().After(end) {
			w.ledger.note(func(t *Tally) { t.Lost[kind("release", err)]++ })
			return
		}
	}
}

// replica gives the one to ask: the same as before, or the next one that does not say that it
// does not serve.
func (w *worker) replica() *replica {
	for range w.replicas {
		if !w.replicas[w.at].away.Load() {
			break
		}
		w.at = (w.at + 1) % len(w.replicas)
	}
	return w.replicas[w.at]
}

// again notes an error, so many in a row, and turns to the next replica; false: asking again does not help.
func (w *worker) again(call string, err error, failed int) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
	default:
		w.ledger.note(func(t *Tally) { t.Lost[kind(call, err)]++ })
		return false
	}
	w.ledger.note(func(t *Tally) { t.Errors[kind(call, err)]++ })
	w.at = (w.at + 1) % len(w.replicas)
	// At once to the next replica, then more and more slowly.
	time.Sleep(time.Duration(5+w.random.IntN(10)) * time.Millisecond << min(failed-1, 5))
	return true
}
