package main

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// A placeholder listens where a server is going to: it lives, is not ready, and sends every
// call away, to be tried again or elsewhere.
type placeholder struct {
	why       string
	addresses []string // of gRPC, and of HTTP if there is any
	grpc      *grpc.Server
	http      *http.Server
	serving   sync.WaitGroup
}

// retryAfter is what calls are told that come before anything is served.
const retryAfter = time.Second

// newPlaceholder listens at --grpc and --http until it is closed.
func (s *service) newPlaceholder(why string) (*placeholder, error) {
	p := &placeholder{why: why}
	options := []grpc.ServerOption{grpc.UnknownServiceHandler(p.refuse)}
	p.http = &http.Server{Handler: http.HandlerFunc(p.answer), ReadHeaderTimeout: 5 * time.Second}
	serve := p.http.Serve
	if s.tls != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(s.tls.TLSConfig("h2"))))
		p.http.TLSConfig = s.tls.TLSConfig("h2", "http/1.1")
		serve = func(l net.Listener) error { return p.http.ServeTLS(l, "", "") }
	}
	p.grpc = grpc.NewServer(options...)
	h := health.NewServer()
	for _, name := range []string{"", pb.LimiterService_ServiceDesc.ServiceName, pb.MonitorService_ServiceDesc.ServiceName} {
		h.SetServingStatus(name, healthpb.HealthCheckResponse_NOT_SERVING)
	}
	healthpb.RegisterHealthServer(p.grpc, h)
	if err := p.listen("grpc", s.flags.grpc, p.grpc.Serve); err != nil {
		return nil, err
	}
	if s.flags.http == "" {
		return p, nil
	}
	if err := p.listen("http", s.flags.http, serve); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *placeholder) listen(name, address string, serve func(net.Listener) error) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--%s: %w", name, err)
	}
	p.addresses = append(p.addresses, l.Addr().String())
	p.serving.Go(func() { _ = serve(l) }) // it ends when it is closed
	return nil
}

// refuse answers every call but those for health.
func (p *placeholder) refuse(any, grpc.ServerStream) error {
	s, err := status.New(codes.Unavailable, p.why).WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	if err != nil {
		return err
	}
	return s.Err()
}

// answer answers every request.
func (p *placeholder) answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if r.URL.Path == "/healthz" {
		_, _ = w.Write([]byte("ok\n")) // who asked may be gone
		return
	}
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = fmt.Fprintf(w, "not ready: %s\n", p.why)
}

// close ends all calls.
func (p *placeholder) close() {
	p.grpc.Stop()
	_ = p.http.Close() // nobody waits for an answer
	p.serving.Wait()
}
