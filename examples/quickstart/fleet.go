package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// A fleet is all workers together.
type fleet struct {
	limiter  pb.LimiterServiceClient
	provider *upstream
	route    string
	out      io.Writer
	run      int64 // makes request ids of this run

	asked, waiting, running, throttled, unsent, failed atomic.Int64

	mu       sync.Mutex
	waits    map[string][]time.Duration // from asking until the grant, by class
	refused  map[pb.Reason]int
	pressure pb.PressureLevel
	last     error
}

// The mix of the trace's requests, which says nothing of classes and projects.
var (
	mix      = []string{"interactive", "interactive", "standard", "standard", "standard", "batch", "batch", "batch", "batch", "batch"}
	projects = []string{"search", "chat", "reports"}
)

// replay sends the rows at their times until the context ends.
func (f *fleet) replay(ctx context.Context, rows []row, speed float64, workers int) error {
	start := time.Now()
	fmt.Fprintf(f.out, "%d requests, %d workers, speed %g\n", len(rows), workers, speed)
	work := make(chan int)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range work {
				f.call(ctx, i, rows[i%len(rows)])
			}
		})
	}
	all.Go(func() { f.progress(ctx, start) })
	span := rows[len(rows)-1].at + time.Second
	for i := 0; ctx.Err() == nil; i++ { // from the beginning again at the trace's end
		at := rows[i%len(rows)].at + time.Duration(i/len(rows))*span
		timer := time.NewTimer(time.Until(start.Add(time.Duration(float64(at) / speed))))
		select {
		case <-timer.C:
			select {
			case work <- i:
			case <-ctx.Done():
			}
		case <-ctx.Done():
			timer.Stop()
		}
	}
	close(work)
	all.Wait()
	if f.last != nil && len(f.waits) == 0 {
		return f.last
	}
	return nil
}

// call does what a worker does for one request.
func (f *fleet) call(ctx context.Context, i int, r row) {
	class := mix[i*7%len(mix)]
	f.asked.Add(1)
	f.waiting.Add(1)
	begun := time.Now()
	g, sent, err := f.acquire(ctx, &pb.AcquireRequest{
		RequestId:       fmt.Sprintf("%x-%d", f.run, i),
		Project:         projects[i%len(projects)],
		Destination:     &pb.AcquireRequest_Route{Route: f.route},
		PriorityClass:   class,
		InputTokens:     r.input,
		MaxOutputTokens: proto.Int64(r.output),
		LeaseTtl:        durationpb.New(time.Minute),
	})
	f.waiting.Add(-1)
	if err != nil && ctx.Err() == nil {
		f.failed.Add(1)
		f.mu.Lock()
		f.last = err
		f.mu.Unlock()
	}
	if g == nil {
		return
	}
	f.mu.Lock()
	f.waits[class] = append(f.waits[class], time.Since(begun))
	f.mu.Unlock()
	if time.Since(sent) > g.StartWithin.AsDuration() { // too late: it must not be sent any more
		f.unsent.Add(1)
		f.release(&pb.ReleaseRequest{LeaseId: g.LeaseId, Outcome: pb.Outcome_OUTCOME_UNSENT})
		return
	}
	f.running.Add(1)
	defer f.running.Add(-1)
	id, taken := f.provider.arrive(r)
	if !taken {
		f.throttled.Add(1)
		f.release(&pb.ReleaseRequest{LeaseId: g.LeaseId, Observation: &pb.Observation{HttpStatus: 429}})
		return
	}
	select { // a call takes 0.3 s and 10 ms a token
	case <-time.After(300*time.Millisecond + time.Duration(r.output)*10*time.Millisecond):
	case <-ctx.Done():
	}
	f.provider.complete(id, r.output)
	f.release(&pb.ReleaseRequest{
		LeaseId: g.LeaseId, Outcome: pb.Outcome_OUTCOME_SUCCEEDED,
		Consumption: &pb.ReleaseRequest_Usage{Usage: &pb.Usage{InputTokens: &r.input, OutputTokens: &r.output}},
	})
}

// acquire asks until it is granted or refused. sent is when the call that was granted was
// made: start_within counts from there.
func (f *fleet) acquire(ctx context.Context, req *pb.AcquireRequest) (g *pb.Granted, sent time.Time, err error) {
	for ctx.Err() == nil {
		sent = time.Now()
		a, err := f.limiter.Acquire(ctx, req)
		if status.Code(err) == codes.Unavailable { // the server is starting, or moving
			f.mu.Lock()
			f.last = err
			f.mu.Unlock()
			time.Sleep(500 * time.Millisecond)
			continue
		}
		if status.Code(err) == codes.DeadlineExceeded { // the run is over
			return nil, sent, nil
		}
		if err != nil {
			return nil, sent, err
		}
		f.mu.Lock()
		f.pressure = a.Pressure.GetLevel()
		f.mu.Unlock()
		switch d := a.Decision.(type) {
		case *pb.AcquireResponse_Granted:
			return d.Granted, sent, nil
		case *pb.AcquireResponse_Wait:
			time.Sleep(d.Wait.RetryAfter.AsDuration())
		default:
			f.mu.Lock()
			if f.refused == nil {
				f.refused = map[pb.Reason]int{}
			}
			f.refused[a.GetRejected().GetReason()]++
			f.mu.Unlock()
			return nil, sent, nil
		}
	}
	return nil, sent, ctx.Err()
}

// release ends a lease, also when the fleet itself is ending.
func (f *fleet) release(req *pb.ReleaseRequest) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := f.limiter.Release(ctx, req); err != nil {
		f.failed.Add(1)
	}
}

// progress prints a line every second.
func (f *fleet) progress(ctx context.Context, start time.Time) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintln(f.out)
			return
		case <-ticker.C:
		}
		now := time.Since(start)
		_, use := f.provider.use(max(0, now-10*time.Second), now)
		f.mu.Lock()
		pressure := f.pressure
		f.mu.Unlock()
		fmt.Fprintf(f.out, "\r%3.0f s  asked %4d  waiting %3d  running %3d  429s %d  use of the last 10 s: requests %3.0f %%, tokens %3.0f %%  %s   ",
			now.Seconds(), f.asked.Load(), f.waiting.Load(), f.running.Load(), f.throttled.Load(), 100*use[0], 100*use[1], pressure)
	}
}

// report prints what it has come to.
func (f *fleet) report() {
	w := f.out
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.provider.report()
	ran := time.Since(f.provider.start)
	names, use := f.provider.use(0, ran)
	fmt.Fprintf(w, "\n%d asked, %d sent, %d refused with 429, %d granted too late to send, %d errors\n",
		f.asked.Load(), r.Calls, f.throttled.Load(), f.unsent.Load(), f.failed.Load())
	for i, l := range r.Limits {
		fmt.Fprintf(w, "%-9s used %3.0f %% of the quota over %.0f s (a full bucket at the start is above it); at its fullest %.1f %% of what the provider allows\n",
			names[i], 100*use[i], ran.Seconds(), 100*l.Peak.Float())
	}
	fmt.Fprintf(w, "%-12s %6s %10s %10s %10s\n", "waits", "calls", "median", "p99", "longest")
	for _, class := range []string{"interactive", "standard", "batch"} {
		d := f.waits[class]
		if len(d) == 0 {
			continue
		}
		slices.Sort(d)
		at := func(p int) time.Duration { return d[min(len(d)-1, len(d)*p/100)].Round(time.Millisecond) }
		fmt.Fprintf(w, "%-12s %6d %10v %10v %10v\n", class, len(d), at(50), at(99), at(100))
	}
	for reason, n := range f.refused {
		fmt.Fprintf(w, "%d refused: %v\n", n, reason)
	}
	if f.last != nil {
		fmt.Fprintln(w, "last error:", f.last)
	}
}
