package metrics

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// BenchmarkCount tells what counting costs where decisions are made.
func BenchmarkCount(b *testing.B) {
	s := New(func() State { return State{} })
	e := s.Edition(configured(), &configured().Organizations[0])
	e.InForce()
	info := &grpc.UnaryServerInfo{FullMethod: pb.LimiterService_Acquire_FullMethodName}
	handler := func(context.Context, any) (any, error) { return nil, nil }
	_, _ = s.Calls.Unary(b.Context(), nil, info, handler)
	for _, bb := range []struct {
		name string
		once func()
	}{
		{"clock", func() { Now() }},
		{"grant", func() { e.Class("batch").Granted(3 * time.Second) }},
		{"wait", func() { e.Class("interactive").Waiting() }},
		{"batch", func() { e.Replica.Committed(3, 1, 2) }},
		{"release", func() { e.Project("search").Used(900, 1000) }},
		{"call", func() { _, _ = s.Calls.Unary(b.Context(), nil, info, handler) }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bb.once()
			}
		})
	}
}
