package metrics

import (
	"context"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Calls counts the gRPC calls, by method and code. Their names are those that go-grpc-middleware
// gives them; its own interceptor costs as much as a decision.
type Calls struct {
	mu      sync.Mutex
	methods atomic.Pointer[map[string]*method] // by full name; never changed, but replaced
}

type method struct {
	kind, service, name string
	handled             [codes.Unauthenticated + 1]atomic.Uint64
	took                histogram // of unary calls
}

// find gives the counters of a method. gRPC knows only those that are registered.
func (c *Calls) find(full string, kind string) *method {
	if known := c.methods.Load(); known != nil {
		if m := (*known)[full]; m != nil {
			return m
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	methods := map[string]*method{}
	if known := c.methods.Load(); known != nil {
		if m := (*known)[full]; m != nil {
			return m
		}
		methods = maps.Clone(*known)
	}
	service, name, _ := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	m := &method{kind: kind, service: service, name: name, took: takes.histogram()}
	methods[full] = m
	c.methods.Store(&methods)
	return m
}

// ended counts a call that has ended.
func (m *method) ended(err error) {
	code := codes.OK
	if err != nil {
		code = status.Code(err)
	}
	if int(code) >= len(m.handled) {
		code = codes.Unknown
	}
	m.handled[code].Add(1)
}

// Unary is the interceptor of unary calls. It comes first, so that it sees what all others
// answer.
func (c *Calls) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	m := c.find(info.FullMethod, "unary")
	start := Now()
	answer, err := handler(ctx, req)
	m.took.observe(int64(Now() - start))
	m.ended(err)
	return answer, err
}

// Stream is the interceptor of streams.
func (c *Calls) Stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	kind := "bidi_stream"
	switch {
	case !info.IsClientStream:
		kind = "server_stream"
	case !info.IsServerStream:
		kind = "client_stream"
	}
	err := handler(srv, stream)
	c.find(info.FullMethod, kind).ended(err)
	return err
}

func (c *Calls) collect(to chan<- prometheus.Metric) {
	methods := c.methods.Load()
	if methods == nil {
		return
	}
	for _, m := range *methods {
		for code := range m.handled {
			if n := m.handled[code].Load(); n > 0 || code == int(codes.OK) {
				to <- counter(handled, n, m.kind, m.service, m.name, codes.Code(code).String())
			}
		}
		if m.kind == "unary" {
			m.took.collect(to, handlingSeconds, m.kind, m.service, m.name)
		}
	}
}
