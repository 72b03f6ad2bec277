package watermaster

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

// granter is the least of a service, on loopback.
func granter(b *testing.B) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	watermasterv1.RegisterLimiterServiceServer(server, &fake{every: 10e9})
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(server.Stop)
	return listener.Addr().String()
}

// What a Limiter adds to the two RPCs: compare with BenchmarkRPCs.
func BenchmarkDo(b *testing.B) {
	l, err := New(granter(b), Options{Organization: "acme", Project: "search"})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Do(b.Context(), Request{Model: "m", InputTokens: 10}, func(_ context.Context, lease *Lease) error {
				lease.SetUsage(Usage{InputTokens: Tokens(9), OutputTokens: Tokens(3)})
				return nil
			}); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkRPCs(b *testing.B) {
	conn, err := grpc.NewClient(granter(b), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	client := watermasterv1.NewLimiterServiceClient(conn)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			out, err := client.Acquire(b.Context(), &watermasterv1.AcquireRequest{RequestId: newRequestID(), InputTokens: 10})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := client.Release(b.Context(), &watermasterv1.ReleaseRequest{LeaseId: out.GetGranted().GetLeaseId()}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// direct answers without a wire.
type direct struct {
	watermasterv1.LimiterServiceClient
	fake *fake
}

func (d direct) Acquire(_ context.Context, in *watermasterv1.AcquireRequest, _ ...grpc.CallOption) (*watermasterv1.AcquireResponse, error) {
	return d.fake.grant(in), nil
}

func (direct) Release(context.Context, *watermasterv1.ReleaseRequest, ...grpc.CallOption) (*watermasterv1.ReleaseResponse, error) {
	return &watermasterv1.ReleaseResponse{}, nil
}

// The Limiter's own part of a call.
func BenchmarkDoWithoutWire(b *testing.B) {
	l, err := New("127.0.0.1:1", Options{Organization: "acme", Project: "search"})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	a, _ := l.service.pick(nil, false)
	l.service.done(a)
	a.limiter = direct{fake: &fake{every: 10e9}}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Do(ctx, Request{Model: "m", InputTokens: 10}, func(_ context.Context, lease *Lease) error {
			lease.SetUsage(Usage{InputTokens: Tokens(9), OutputTokens: Tokens(3)})
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}
