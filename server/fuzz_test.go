package server

import (
	"context"
	"strings"
	"testing"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/envoy"
	"github.com/watermaster-project/watermaster/server/policy"
	"github.com/watermaster-project/watermaster/store/memory"
)

// A recorded service is what gRPC would serve: the handlers, to be called without a connection.
type recorded struct {
	services []*grpc.ServiceDesc
	by       []any
}

// RegisterService implements grpc.ServiceRegistrar.
func (r *recorded) RegisterService(d *grpc.ServiceDesc, s any) {
	r.services, r.by = append(r.services, d), append(r.by, s)
}

// fuzzed is a server whose time runs so fast that its windows are empty again at once.
func fuzzed(f *testing.F) *Server {
	start := time.Now()
	clock := func() int64 { return start.UnixNano() + 10_000*int64(time.Since(start)) }
	s, err := New(f.Context(), Options{Config: parse(f, small), Log: memory.Open(memory.Options{Clock: clock}), Envoy: EnvoyOptions{
		Limits: limitsOf(f, gateway), Answering: envoy.Answering{Headers: &envoy.DefaultHeaders, DynamicMetadata: true},
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	return s
}

// handle makes a call as gRPC would: it decodes the bytes, and goes through the interceptor that
// checks. That which catches panics is left out: here one is a failure.
func (s *Server) handle(ctx context.Context, d *grpc.ServiceDesc, by any, method int, b []byte) (any, error) {
	m := &d.Methods[method]
	return m.Handler(by, ctx, func(to any) error {
		if err := proto.Unmarshal(b, to.(proto.Message)); err != nil {
			return status.Error(codes.Internal, errNotDecoded)
		}
		return nil
	}, s.checkUnary)
}

// errNotDecoded is what gRPC itself would say, before the service is asked.
const errNotDecoded = "not a message"

// FuzzCalls: no bytes that a caller sends as a message make a handler panic or fail.
func FuzzCalls(f *testing.F) {
	s := fuzzed(f)
	var r recorded
	s.Register(&r)
	add := func(method int, m proto.Message) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(method, b)
	}
	for i := range 9 {
		add(i, ask("a", block(0), maxWait(0)))
		add(i, &pb.ReleaseRequest{LeaseId: "a", Observation: &pb.Observation{HttpStatus: 429, Headers: map[string]string{"retry-after": "1"}}})
		add(i, &pb.RenewRequest{LeaseIds: []string{"a", ""}})
		add(i, &pb.ReportRequest{Account: "main", Model: "gpt", Observation: &pb.Observation{HttpStatus: 529, Body: "{}"}})
		add(i, &pb.GetHeadroomRequest{Account: "main", Project: "search"})
		add(i, &rls.RateLimitRequest{Domain: "gateway", HitsAddend: 2, Descriptors: []*common.RateLimitDescriptor{
			descriptor("user", "a"), hitting(0, descriptor("path", "/chat")),
			{IsNegativeHits: true, Limit: &common.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: 1, Unit: 99}},
		}})
		add(i, &rls.RateLimitRequest{Domain: "acme", Descriptors: []*common.RateLimitDescriptor{
			descriptor("project", "search", "account", "main", "model", "gpt"), hitting(1<<63, descriptor("request_id", "a", "metric", "tokens")),
		}})
	}
	o, err := s.find("acme")
	if err != nil {
		f.Fatal(err)
	}
	for _, target := range []policy.TargetID{0, 1, 1 << 30} { // of a lease that is ours but for the target
		id := lease{o.fingerprint, target, limiter.LeaseID{Incarnation: o.incarnation, Count: 1}}.String()
		add(1, &pb.ReleaseRequest{LeaseId: id, Observation: &pb.Observation{HttpStatus: 429}})
		add(3, &pb.ReportRequest{LeaseId: id, Observation: &pb.Observation{HttpStatus: 429}})
		add(2, &pb.RenewRequest{LeaseIds: []string{id, id}})
	}
	f.Add(0, []byte("\x0a\xff\xff\xff\xff\x0f"))
	f.Add(1, []byte(strings.Repeat("\x2a\x04\x0a\x02", 100)))
	f.Fuzz(func(t *testing.T, method int, b []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond) // what waits is fine
		defer cancel()
		var all int
		for _, d := range r.services {
			all += len(d.Methods)
		}
		method = int(uint(method) % uint(all))
		for i, d := range r.services {
			if method >= len(d.Methods) {
				method -= len(d.Methods)
				continue
			}
			_, err := s.handle(ctx, d, r.by[i], method, b)
			if c := status.Code(err); (c == codes.Internal || c == codes.Unknown) && status.Convert(err).Message() != errNotDecoded {
				t.Fatalf("%s: %v", d.Methods[method].MethodName, err)
			}
			return
		}
	})
}

// FuzzObservation: nothing that a worker tells of an answer makes a report or a release of its
// lease fail, and the lease is settled.
func FuzzObservation(f *testing.F) {
	s := fuzzed(f)
	f.Add(uint32(429), "retry-after: 7\nx-ratelimit-remaining-tokens: 0\nx-ratelimit-reset-tokens: 7m12s", []byte(`{"error":{"type":"tokens","code":"rate_limit_exceeded"}}`), int64(100))
	f.Add(uint32(529), "anthropic-ratelimit-input-tokens-reset: 2026-11-05T12:00:09Z\ndate: Thu, 05 Nov 2026 12:00:20 GMT", []byte(`{"type":"error","error":{"type":"overloaded_error"}}`), int64(0))
	f.Add(uint32(400), "retry-after-ms: -1", []byte("\xff{"), int64(-1))
	f.Add(uint32(0), "", []byte(nil), int64(1)<<40)
	ids := 0
	f.Fuzz(func(t *testing.T, code uint32, headers string, body []byte, used int64) {
		o := &pb.Observation{HttpStatus: code, Body: string(body), Headers: map[string]string{}}
		for line := range strings.SplitSeq(headers, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			o.Headers[name] = value
		}
		usage := &pb.Usage{InputTokens: &used, OutputTokens: &used}
		ids++
		r := ask(name("r", ids), block(0))
		r.Destination = &pb.AcquireRequest_Model{Model: "sonnet"}
		a, err := s.Acquire(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		lease := a.GetGranted().GetLeaseId()
		if lease == "" { // a gate is closed, for a moment: there is no lease to tell of
			lease = "none"
		}
		report := &pb.ReportRequest{LeaseId: lease, Observation: o, Consumption: &pb.ReportRequest_Usage{Usage: usage}}
		if validate(report) != nil {
			report.Observation, report.Consumption = nil, nil
		}
		if _, err := s.Report(t.Context(), report); status.Code(statusOf(err)) == codes.Internal || err != nil && lease != "none" {
			t.Fatalf("report: %v", err)
		}
		release := &pb.ReleaseRequest{LeaseId: lease, Observation: report.Observation}
		if report.Consumption != nil {
			release.Consumption = &pb.ReleaseRequest_Usage{Usage: usage}
		}
		if _, err := s.Release(t.Context(), release); status.Code(statusOf(err)) == codes.Internal || err != nil && lease != "none" {
			t.Fatalf("release: %v", err)
		}
	})
}

// FuzzLease: a text is a lease's only if it is the one that the lease is told as.
func FuzzLease(f *testing.F) {
	f.Add(lease{1, 2, limiter.LeaseID{Incarnation: 3, Count: 4}}.String())
	f.Add("Rf1xrx-THeN9zrdeMJQV-wAAAAAAAAAB")
	f.Add("")
	f.Add("0000\n000000\r00000000000000000000")
	f.Fuzz(func(t *testing.T, s string) {
		l, ok := parseLease(s)
		if ok && l.String() != s {
			t.Errorf("%q is read as a lease that is told as %q", s, l.String())
		}
	})
}
