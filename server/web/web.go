package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// What a client may ask of us.
const (
	maxBody   = 64 << 10 // bytes, as JSON and as the message that it becomes
	maxHeader = 8 << 10  // bytes; net/http allows 4 KiB more before it answers 431
	maxCalls  = 10_000   // at a time, those that wait included

	headerTime = 5 * time.Second  // to send the header
	readTime   = 10 * time.Second // to send the header and the body; it is off once they are read
	writeTime  = 30 * time.Second // to take what was written; not the time to answer, which may be 20 s
	idleTime   = 2 * time.Minute  // between two requests of a connection
)

// The largest answer, of GetHeadroom: some kilobytes for each limit.
const maxAnswer = 64 << 20 // bytes

// Options say what a server serves. NewGRPC is required.
type Options struct {
	// NewGRPC makes the gRPC server that calls go through, with its services and
	// interceptors. It is served within the process alone. The options come last.
	NewGRPC func(...grpc.ServerOption) *grpc.Server
	// Ready says why no calls should be sent here, for /readyz; nil: it is always ready.
	Ready func() error
	// Metrics serves /metrics; nil: there is none.
	Metrics http.Handler
	// Config gives the configuration in force, as YAML and without secrets, for
	// /debug/config; nil: there is none.
	Config func() ([]byte, error)
	// Logs gives the logs that replicas share, as JSON, for /debug/replicas; nil: there is none.
	Logs func(context.Context) ([]byte, error)
	// Authorize says whether a request may see what: "metrics" or "debug". The error is
	// answered, as PERMISSION_DENIED without its text if it is no status. nil: whoever
	// reaches the port may.
	Authorize func(r *http.Request, what string) error
	// Logger takes what went wrong on our side; nil: nowhere.
	Logger *slog.Logger
}

// A Server serves HTTP.
type Server struct {
	options Options
	logger  *slog.Logger
	routes  []route
	byPath  map[string][]*route // those of a path, one for each method
	gateway *runtime.ServeMux
	origins *http.CrossOriginProtection
	clients clients
	calls   atomic.Int64 // at present

	grpc    *grpc.Server
	conn    *grpc.ClientConn
	serving sync.WaitGroup
}

// New makes a server, which begins to serve gRPC within the process. Close ends that.
func New(o Options) (*Server, error) {
	if o.NewGRPC == nil {
		return nil, errors.New("web: a gRPC server is needed")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1}))
	}
	s := &Server{options: o, logger: o.Logger, origins: http.NewCrossOriginProtection()}
	s.grpc = o.NewGRPC(
		grpc.Creds(insecure.NewCredentials()), // the connection does not leave the process
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.KeepaliveParams(keepalive.ServerParameters{}), // the connection lives as long as the process
	)
	listener := s.clients.listen()
	s.serving.Go(func() {
		if err := s.grpc.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.logger.Error("the gateway's gRPC server ended", "error", err)
		}
	})
	var err error
	s.conn, err = grpc.NewClient("passthrough:///gateway",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithUserAgent("watermaster-gateway"),
		grpc.WithDisableServiceConfig())
	if err == nil {
		s.gateway, err = s.newGateway()
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("web: %w", err)
	}
	s.addRoutes()
	return s, nil
}

// HTTPServer makes a server for an address, with bounds on what a connection may take.
// Shut it down before Close.
func (s *Server) HTTPServer(addr string) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           s,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       readTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug), // what clients do wrong
	}
}

// Close ends the calls that still run and the gRPC server.
func (s *Server) Close() {
	if s.conn != nil {
		_ = s.conn.Close() // it is ours alone
	}
	s.grpc.Stop()
	s.serving.Wait()
}
