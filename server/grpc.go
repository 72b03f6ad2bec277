package server

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// What a connection may ask of us. gRPC's own defaults are without bounds.
const (
	maxMessage       = 64 << 10  // bytes
	maxEnvoyMessage  = 256 << 10 // bytes, of Envoy's service: descriptors hold headers, and those may be long
	maxHeader        = 8 << 10   // bytes
	maxStreams       = 1000      // of a connection
	minPing          = 10 * time.Second
	maxConnectionAge = 30 * time.Minute
	connectionGrace  = 30 * time.Second // longer than any call may block
	handshakeTime    = 5 * time.Second
	silence          = time.Minute      // of a client, before it is asked whether it lives
	answerTime       = 20 * time.Second // that it has for that
)

// NewGRPC makes a gRPC server with the services, health and reflection, and the bounds on
// what callers may do. Further options come last.
func (s *Server) NewGRPC(more ...grpc.ServerOption) *grpc.Server {
	unary := []grpc.UnaryServerInterceptor{s.metrics.Calls.Unary, recovery.UnaryServerInterceptor(recovery.WithRecoveryHandlerContext(s.recovered))}
	stream := []grpc.StreamServerInterceptor{s.metrics.Calls.Stream, recovery.StreamServerInterceptor(recovery.WithRecoveryHandlerContext(s.recovered))}
	if s.debug {
		log := logging.LoggerFunc(func(ctx context.Context, l logging.Level, text string, fields ...any) {
			s.logger.Log(ctx, slog.LevelDebug, text, append(fields, "level", l)...)
		})
		unary = append(unary, logging.UnaryServerInterceptor(log, logging.WithLogOnEvents(logging.FinishCall)))
		stream = append(stream, logging.StreamServerInterceptor(log, logging.WithLogOnEvents(logging.StartCall, logging.FinishCall)))
	}
	unary = append(unary, s.checkUnary)
	stream = append(stream, s.checkStream)
	options := append([]grpc.ServerOption{
		grpc.ChainUnaryInterceptor(unary...),
		grpc.ChainStreamInterceptor(stream...),
		grpc.MaxRecvMsgSize(maxEnvoyMessage),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: maxConnectionAge, MaxConnectionAgeGrace: connectionGrace,
			Time: silence, Timeout: answerTime,
		}),
	}, more...)
	g := grpc.NewServer(options...)
	s.Register(g)
	reflection.Register(g)
	return g
}

// recovered turns a panic of a handler into an error.
func (s *Server) recovered(ctx context.Context, p any) error {
	s.metrics.HandlerPanics.Add(1)
	s.logger.ErrorContext(ctx, "a handler panicked", "panic", p, "stack", string(debug.Stack()))
	return status.Error(codes.Internal, "internal error")
}

// checkUnary lets those through who may call, holds requests to their rules and gives errors their codes.
func (s *Server) checkUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, err := s.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, s.failed(ctx, info.FullMethod, err)
	}
	if m, ok := req.(proto.Message); ok {
		if err := checkMessage(m); err != nil {
			return nil, statusOf(err)
		}
	}
	answer, err := handler(ctx, req)
	if err != nil {
		return nil, s.failed(ctx, info.FullMethod, err)
	}
	return answer, nil
}

func (s *Server) checkStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, err := s.admit(stream.Context(), info.FullMethod)
	if err != nil {
		return s.failed(ctx, info.FullMethod, err)
	}
	if info.FullMethod == healthpb.Health_Watch_FullMethodName {
		watching, cancel := context.WithCancel(ctx)
		defer cancel()
		go s.endWatch(watching, cancel)
		ctx = watching
	}
	if err := handler(srv, &checkedStream{stream, ctx}); err != nil {
		return s.failed(ctx, info.FullMethod, err)
	}
	return nil
}

// endWatch ends a stream that watches the health when the server drains: it would otherwise
// last as long as the caller likes. The caller has a second to be told.
func (s *Server) endWatch(ctx context.Context, cancel context.CancelFunc) {
	select {
	case <-ctx.Done():
		return
	case <-s.draining:
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
		cancel()
	}
}

// failed gives an error its code. What is our fault is logged with what callers do not see.
func (s *Server) failed(ctx context.Context, method string, err error) error {
	mapped := statusOf(err)
	s.refused(mapped)
	if c := status.Code(mapped); c == codes.Internal || c == codes.Unavailable || c == codes.Unknown {
		level := slog.LevelError
		if errors.Is(err, errAway) || errors.Is(err, errRestoring) || errors.Is(err, errNotYet) { // it is told when that begins and ends
			level = slog.LevelDebug
		}
		s.logger.Log(ctx, level, "a call failed", "method", method, "code", c.String(), "error", err)
	}
	return mapped
}

// A checkedStream holds the messages of a stream to their rules.
type checkedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (c *checkedStream) Context() context.Context { return c.ctx }

func (c *checkedStream) RecvMsg(m any) error {
	if err := c.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if p, ok := m.(proto.Message); ok {
		return checkMessage(p)
	}
	return nil
}

// checkMessage holds a message to its rules and its size. gRPC has one size for all methods,
// the largest.
func checkMessage(m proto.Message) error {
	if _, envoys := m.(*rls.RateLimitRequest); !envoys {
		if n := proto.Size(m); n > maxMessage {
			return status.Errorf(codes.ResourceExhausted, "the message is larger than it may be (%d bytes of %d)", n, maxMessage)
		}
	}
	return validate(m)
}
