package server

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

// benched has two metrics in three scopes, and room for everybody.
const benched = `
cold_start: trust
models:
  gpt-5: {context: 400k, max_output: 128k, price: {input: 1.25, output: 10}}
organizations:
  acme:
    limits: {requests: 1G/min, tokens: 1000G/min}
    accounts:
      openai-main:
        provider: openai
        pools:
          gpt-5: {models: [gpt-5], limits: {requests: 1G/min, tokens: 1000G/min}}
    projects:
      "*": {limits: {requests: 1G/min, tokens: 1000G/min}}
    routes:
      smart: {targets: [{account: openai-main, model: gpt-5}]}
`

// emptyService has one method, which does nothing: what a call costs at least.
var emptyService = grpc.ServiceDesc{
	ServiceName: "watermaster.bench.Empty",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Call", Handler: func(srv any, ctx context.Context, dec func(any) error, chain grpc.UnaryServerInterceptor) (any, error) {
		in := new(emptypb.Empty)
		if err := dec(in); err != nil {
			return nil, err
		}
		return chain(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/watermaster.bench.Empty/Call"},
			func(context.Context, any) (any, error) { return new(emptypb.Empty), nil })
	}}},
}

const emptyMethod = "/watermaster.bench.Empty/Call"

// Settled leases are remembered for a minute. Log time runs faster, so that there are soon as
// many that are forgotten as are made: some ten thousand are remembered.
const benchSpeed = 60

// load keeps calls in flight for n calls, and gives the server's µs for each.
func (r *remote) load(b *testing.B, n, inFlight int, call func(c *grpc.ClientConn, i int64) error) float64 {
	var next atomic.Int64
	var all sync.WaitGroup
	before := r.figures(false).CPU
	for w := range inFlight {
		all.Go(func() {
			c := r.conns[w%len(r.conns)]
			for {
				i := next.Add(1)
				if i > int64(n) {
					return
				}
				if err := call(c, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(r.figures(false).CPU-before) / float64(n)
}

// BenchmarkServer measures the server's processor time for each call, with 64 in flight
// from another process over TCP, and tells it as multiples of that of an empty call on the
// same server. Rounds alternate; the median counts. What is to be reached: 1.5 for an Acquire
// over 3 scopes × 2 metrics, 3 for an Acquire with its Release. A fleet of 64 workers has 64
// connections; where calls share one, reading and writing is shared too, and an empty call
// costs half.
func BenchmarkServer(b *testing.B) {
	for _, connections := range []int{64, 8, 1} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) { benchServerWith(b, connections) })
	}
}

func benchServerWith(b *testing.B, connections int) {
	const inFlight, round = 64, 20_000
	r := startRemote(b, remoteOptions{benched, benchSpeed}, connections)
	ctx := context.Background()
	run := time.Now().UnixNano()
	empty := func(c *grpc.ClientConn, _ int64) error {
		return c.Invoke(ctx, emptyMethod, &emptypb.Empty{}, &emptypb.Empty{})
	}
	ids := atomic.Int64{}
	acquire := func(c *grpc.ClientConn, _ int64) (*pb.AcquireResponse, error) {
		i := ids.Add(1)
		a, err := pb.NewLimiterServiceClient(c).Acquire(ctx, &pb.AcquireRequest{
			RequestId: fmt.Sprintf("0190d1f0-7a4e-7c5b-%x-%d", run, i), Project: projectNames[i%100],
			Destination: &pb.AcquireRequest_Route{Route: "smart"}, PriorityClass: "interactive",
			InputTokens: 1200, MaxOutputTokens: proto.Int64(800), LeaseTtl: durationpb.New(10 * time.Minute),
		})
		if err == nil && (a.GetGranted() == nil || len(a.GetGranted().Charges) != 6) {
			err = fmt.Errorf("got %v, want a grant with 6 charges", a)
		}
		return a, err
	}
	release := func(c *grpc.ClientConn, lease string) error {
		_, err := pb.NewLimiterServiceClient(c).Release(ctx, &pb.ReleaseRequest{
			LeaseId: lease, Outcome: pb.Outcome_OUTCOME_SUCCEEDED,
			Consumption: &pb.ReleaseRequest_Usage{Usage: &pb.Usage{InputTokens: proto.Int64(1200), OutputTokens: proto.Int64(300)}},
		})
		return err
	}
	both := func(c *grpc.ClientConn, i int64) error {
		a, err := acquire(c, i)
		if err != nil {
			return err
		}
		return release(c, a.GetGranted().LeaseId)
	}
	leases := make([]string, round+1) // of one round, released behind its measurement
	alone := func(c *grpc.ClientConn, i int64) error {
		a, err := acquire(c, i)
		leases[i] = a.GetGranted().GetLeaseId()
		return err
	}
	settle := func(c *grpc.ClientConn, i int64) error { return release(c, leases[i]) }
	r.load(b, round, inFlight, empty)
	for range 3 {
		r.load(b, round, inFlight, both)
	}
	var e, a, p, ra, rp []float64
	for b.Loop() {
		x := r.load(b, round, inFlight, empty)
		y := r.load(b, round, inFlight, alone)
		r.load(b, round, inFlight, settle)
		z := r.load(b, round, inFlight, both)
		e, a, p, ra, rp = append(e, x), append(a, y), append(p, z), append(ra, y/x), append(rp, z/x)
	}
	b.ReportMetric(median(e), "empty-µs")
	b.ReportMetric(median(a), "acquire-µs")
	b.ReportMetric(median(p), "acquire+release-µs")
	b.ReportMetric(median(ra), "acquire/empty")
	b.ReportMetric(median(rp), "acquire+release/empty")
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

var projectNames = func() (list []string) {
	for i := range 100 {
		list = append(list, name("project", i))
	}
	return list
}()

// BenchmarkHandler measures an Acquire with its Release from the handler on: without gRPC, one
// at a time.
func BenchmarkHandler(b *testing.B) {
	start := time.Now()
	clock := func() int64 { return start.UnixNano() + 1000*int64(time.Since(start)) }
	s, err := New(b.Context(), Options{Config: parse(b, benched), Log: memory.Open(memory.Options{Clock: clock})})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	r := ask("", class("interactive"), func(r *pb.AcquireRequest) { r.Destination = &pb.AcquireRequest_Route{Route: "smart"} })
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		r.RequestId, r.Project = strconv.Itoa(i), projectNames[i%100]
		a, err := s.Acquire(b.Context(), r)
		if err != nil || a.GetGranted() == nil {
			b.Fatal(a, err)
		}
		if _, err := s.Release(b.Context(), &pb.ReleaseRequest{LeaseId: a.GetGranted().LeaseId}); err != nil {
			b.Fatal(err)
		}
	}
}
