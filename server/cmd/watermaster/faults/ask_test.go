package faults

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// ask is a request for ten tokens of a model of budget.
func ask(id, model string, block time.Duration) *pb.AcquireRequest {
	return &pb.AcquireRequest{
		RequestId: id, Project: "p", Destination: &pb.AcquireRequest_Model{Model: model},
		InputTokens: 7, MaxOutputTokens: proto.Int64(3), Block: durationpb.New(block), LeaseTtl: durationpb.New(time.Hour), MaxWait: durationpb.New(time.Hour),
	}
}

// acquire asks one replica after the other, within a time each, until one decides; nil: it was refused, or
// nothing was decided while the test lasts.
func acquire(t testing.TB, r *pb.AcquireRequest, within time.Duration, replicas ...pb.LimiterServiceClient) *pb.Granted {
	for i := 0; t.Context().Err() == nil; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		a, err := replicas[i%len(replicas)].Acquire(ctx, r)
		cancel()
		switch code := status.Code(err); {
		case code == codes.Unavailable || code == codes.DeadlineExceeded:
			time.Sleep(2 * time.Millisecond)
		case err != nil:
			if t.Context().Err() == nil {
				t.Errorf("acquire %s: %v", r.RequestId, err)
			}
			return nil
		case a.GetGranted() != nil:
			return a.GetGranted()
		case a.GetRejected() != nil:
			t.Errorf("acquire %s: %v", r.RequestId, a)
			return nil
		}
	}
	return nil
}

// release tells one replica after the other until one takes note, and says what was wrong.
func release(t testing.TB, lease string, within time.Duration, replicas ...pb.LimiterServiceClient) (*pb.ReleaseResponse, error) {
	for i := 0; ; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		a, err := replicas[i%len(replicas)].Release(ctx, &pb.ReleaseRequest{LeaseId: lease, Outcome: pb.Outcome_OUTCOME_SUCCEEDED})
		cancel()
		switch status.Code(err) {
		case codes.Unavailable, codes.DeadlineExceeded:
			if t.Context().Err() == nil {
				time.Sleep(2 * time.Millisecond)
				continue
			}
		}
		return a, err
	}
}

// held gives what is held of a limit of a pool, by its metric.
func held(t testing.TB, m pb.MonitorServiceClient, pool, metric string) int64 {
	t.Helper()
	return limit(t, m, pool, metric).GetHeld()
}

// limit gives a limit of a pool, by its metric.
func limit(t testing.TB, m pb.MonitorServiceClient, pool, metric string) *pb.LimitHeadroom {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	h, err := m.GetHeadroom(ctx, &pb.GetHeadroomRequest{Pool: pool}, grpc.WaitForReady(true))
	must(t, err)
	for _, l := range h.Headroom.Limits {
		if l.Metric == metric {
			return l
		}
	}
	t.Fatalf("there is no limit of %s at %s", metric, pool)
	return nil
}

// waiting counts who waits for a pool.
func waiting(t testing.TB, m pb.MonitorServiceClient, pool, metric string) (n int64) {
	t.Helper()
	for _, c := range limit(t, m, pool, metric).ByClass {
		n += c.Waiting
	}
	return n
}
