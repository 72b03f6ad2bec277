package envoy

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
)

// A recorder is a rate-limit service that notes what it is asked, and answers as it is told to.
type recorder struct {
	rls.UnimplementedRateLimitServiceServer
	address string

	mu       sync.Mutex
	over     bool
	err      error
	requests []*rls.RateLimitRequest
}

func startRecorder(t *testing.T) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := &recorder{address: l.Addr().String()}
	s := grpc.NewServer()
	rls.RegisterRateLimitServiceServer(s, r)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return r
}

func (r *recorder) ShouldRateLimit(_ context.Context, req *rls.RateLimitRequest) (*rls.RateLimitResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, req)
	a := &rls.RateLimitResponse{OverallCode: rls.RateLimitResponse_OK}
	if r.over {
		a.OverallCode = rls.RateLimitResponse_OVER_LIMIT
	}
	for range req.Descriptors {
		a.Statuses = append(a.Statuses, &rls.RateLimitResponse_DescriptorStatus{Code: a.OverallCode})
	}
	return a, r.err
}

// answer sets what is answered, and forgets what was asked.
func (r *recorder) answer(over bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over, r.err, r.requests = over, err, nil
}

// asked waits until there are n requests and gives all as text.
func (r *recorder) asked(t *testing.T, n int) (all []string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the service was asked %d times", n), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.requests) >= n
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.requests {
		all = append(all, describe(q))
	}
	return all
}

// describe writes a request as "domain [key=value … hits N] …", with a descriptor's entries in
// order, and its hits where it tells some.
func describe(q *rls.RateLimitRequest) string {
	var b strings.Builder
	b.WriteString(q.Domain)
	if q.HitsAddend != 0 {
		fmt.Fprintf(&b, " hits %d", q.HitsAddend)
	}
	for _, d := range q.Descriptors {
		var words []string
		for _, e := range d.Entries {
			words = append(words, e.Key+"="+e.Value)
		}
		slices.Sort(words)
		if d.HitsAddend != nil {
			words = append(words, fmt.Sprintf("hits %d", d.HitsAddend.Value))
		}
		fmt.Fprintf(&b, " [%s]", strings.Join(words, " "))
	}
	return b.String()
}
