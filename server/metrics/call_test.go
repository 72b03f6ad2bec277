package metrics

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestCalls(t *testing.T) {
	s := New(func() State { return State{} })
	unary := func(method string, err error) {
		answer, got := s.Calls.Unary(t.Context(), "in", &grpc.UnaryServerInfo{FullMethod: method},
			func(_ context.Context, in any) (any, error) { return in, err })
		if answer != "in" || !errors.Is(got, err) {
			t.Errorf("got %v, %v of the handler's in, %v", answer, got, err)
		}
	}
	stream := func(method string, client, server bool, err error) {
		_ = s.Calls.Stream(nil, nil, &grpc.StreamServerInfo{FullMethod: method, IsClientStream: client, IsServerStream: server},
			func(any, grpc.ServerStream) error { return err })
	}
	unary("/a.B/One", nil)
	unary("/a.B/One", nil)
	unary("/a.B/One", status.Error(codes.NotFound, "x"))
	unary("/a.B/One", errors.New("x"))
	unary("/a.B/One", status.Error(99, "x"))
	unary("/a.B/Two", status.Error(codes.Unavailable, "x"))
	stream("/a.B/Watch", false, true, nil)
	stream("/a.B/Put", true, false, nil)
	stream("/a.B/Talk", true, true, status.Error(codes.Canceled, "x"))
	err := testutil.CollectAndCompare(shown(s.Calls.collect), strings.NewReader(`
# HELP grpc_server_handled_total Calls that have ended, those by JSON over HTTP included, by method and code.
# TYPE grpc_server_handled_total counter
grpc_server_handled_total{grpc_code="Canceled",grpc_method="Talk",grpc_service="a.B",grpc_type="bidi_stream"} 1
grpc_server_handled_total{grpc_code="NotFound",grpc_method="One",grpc_service="a.B",grpc_type="unary"} 1
grpc_server_handled_total{grpc_code="OK",grpc_method="One",grpc_service="a.B",grpc_type="unary"} 2
grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="a.B",grpc_type="client_stream"} 1
grpc_server_handled_total{grpc_code="OK",grpc_method="Talk",grpc_service="a.B",grpc_type="bidi_stream"} 0
grpc_server_handled_total{grpc_code="OK",grpc_method="Two",grpc_service="a.B",grpc_type="unary"} 0
grpc_server_handled_total{grpc_code="OK",grpc_method="Watch",grpc_service="a.B",grpc_type="server_stream"} 1
grpc_server_handled_total{grpc_code="Unavailable",grpc_method="Two",grpc_service="a.B",grpc_type="unary"} 1
grpc_server_handled_total{grpc_code="Unknown",grpc_method="One",grpc_service="a.B",grpc_type="unary"} 2
`), "grpc_server_handled_total")
	if err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(shown(s.Calls.collect), "grpc_server_handling_seconds"); n != 2 {
		t.Errorf("%d histograms of unary calls, want 2", n)
	}
}

// TestCallsAtOnce: a method that is called for the first time by many loses no call.
func TestCallsAtOnce(t *testing.T) {
	var c Calls
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for _, name := range []string{"/a.B/One", "/a.B/Two", "/a.B/Three"} {
				_, _ = c.Unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: name},
					func(context.Context, any) (any, error) { return nil, nil })
			}
		})
	}
	all.Wait()
	for name, m := range *c.methods.Load() {
		want(t, name, m.handled[codes.OK].Load(), 8)
	}
	want(t, "methods", len(*c.methods.Load()), 3)
}
