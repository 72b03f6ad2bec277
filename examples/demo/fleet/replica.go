package fleet

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// A replica is one of those that may be asked.
type replica struct {
	conn    *grpc.ClientConn
	limiter pb.LimiterServiceClient
	away    atomic.Bool // it says that it does not serve, or cannot be reached
}

// dial makes connections, which are made when they are needed and again when they are lost.
func dial(addresses []string) (all []*replica, err error) {
	for _, address := range addresses {
		conn, err := grpc.NewClient(address,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			// A replica may be back at once.
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: time.Second,
			}),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second}))
		if err != nil {
			return nil, errors.Join(err, hangUp(all))
		}
		all = append(all, &replica{conn: conn, limiter: pb.NewLimiterServiceClient(conn)})
	}
	return all, nil
}

func hangUp(all []*replica) (err error) {
	for _, r := range all {
		err = errors.Join(err, r.conn.Close())
	}
	return err
}

// follow keeps to what the replica's health says, until the context ends.
func (r *replica) follow(ctx context.Context) {
	for ctx.Err() == nil {
		stream, err := healthpb.NewHealthClient(r.conn).Watch(ctx, &healthpb.HealthCheckRequest{Service: pb.LimiterService_ServiceDesc.ServiceName})
		for err == nil {
			var h *healthpb.HealthCheckResponse
			if h, err = stream.Recv(); err == nil {
				r.away.Store(h.Status != healthpb.HealthCheckResponse_SERVING)
			}
		}
		r.away.Store(true)
		pause(ctx, 100*time.Millisecond)
	}
}

// pause waits, but not longer than the context lasts.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
