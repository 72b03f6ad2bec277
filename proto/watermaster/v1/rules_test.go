package watermasterv1_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// request is an Acquire with most of its fields set.
func request(change func(*pb.AcquireRequest)) *pb.AcquireRequest {
	r := &pb.AcquireRequest{
		RequestId:       "0190d1f0-7a4e-7c5b-9d55-2f7d3a1b6c01",
		Organization:    "acme",
		Project:         "search",
		Destination:     &pb.AcquireRequest_Route{Route: "smart"},
		PriorityClass:   "interactive",
		InputTokens:     1200,
		MaxOutputTokens: proto.Int64(800),
		MaxWait:         durationpb.New(10 * time.Second),
		LeaseTtl:        durationpb.New(30 * time.Second),
		Labels:          map[string]string{"agent": "planner"},
	}
	if change != nil {
		change(r)
	}
	return r
}

func many(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[strconv.Itoa(i)] = ""
	}
	return m
}

// TestRules holds the bounds that the comments promise, on both sides of each.
func TestRules(t *testing.T) {
	type acquire = func(*pb.AcquireRequest)
	with := func(f acquire) proto.Message { return request(f) }
	seen := func(o *pb.Observation) proto.Message { return &pb.ReleaseRequest{LeaseId: "l", Observation: o} }
	used := func(u *pb.Usage) proto.Message {
		return &pb.ReleaseRequest{LeaseId: "l", Consumption: &pb.ReleaseRequest_Usage{Usage: u}}
	}
	tests := []struct {
		name  string
		in    proto.Message
		field string // that is refused; "" for none
	}{
		{"a usual request", with(nil), ""},
		{"no request_id", with(func(r *pb.AcquireRequest) { r.RequestId = "" }), "request_id"},
		{"request_id of 128", with(func(r *pb.AcquireRequest) { r.RequestId = strings.Repeat("é", 128) }), ""},
		{"request_id of 129", with(func(r *pb.AcquireRequest) { r.RequestId = strings.Repeat("é", 129) }), "request_id"},
		{"attempt of 1,001", with(func(r *pb.AcquireRequest) { r.Attempt = 1001 }), "attempt"},
		{"no organization, no project", with(func(r *pb.AcquireRequest) { r.Organization, r.Project = "", "" }), ""},
		{"organization of 129", with(func(r *pb.AcquireRequest) { r.Organization = strings.Repeat("a", 129) }), "organization"},
		{"project of 129", with(func(r *pb.AcquireRequest) { r.Project = strings.Repeat("a", 129) }), "project"},
		{"neither route nor model", with(func(r *pb.AcquireRequest) { r.Destination = nil }), "destination"},
		{"an empty route", with(func(r *pb.AcquireRequest) { r.Destination = &pb.AcquireRequest_Route{} }), "route"},
		{"a model", with(func(r *pb.AcquireRequest) { r.Destination = &pb.AcquireRequest_Model{Model: "gpt-5"} }), ""},
		{"class of 129", with(func(r *pb.AcquireRequest) { r.PriorityClass = strings.Repeat("a", 129) }), "priority_class"},
		{"no tokens", with(func(r *pb.AcquireRequest) { r.InputTokens, r.MaxOutputTokens = 0, proto.Int64(0) }), ""},
		{"negative tokens", with(func(r *pb.AcquireRequest) { r.InputTokens = -1 }), "input_tokens"},
		{"10^12 tokens", with(func(r *pb.AcquireRequest) { r.InputTokens = 1e12 }), ""},
		{"more tokens", with(func(r *pb.AcquireRequest) { r.InputTokens = 1e12 + 1 }), "input_tokens"},
		{"negative output", with(func(r *pb.AcquireRequest) { r.MaxOutputTokens = proto.Int64(-1) }), "max_output_tokens"},
		{"negative cached", with(func(r *pb.AcquireRequest) { r.CachedInputTokens = proto.Int64(-1) }), "cached_input_tokens"},
		{"cached above input", with(func(r *pb.AcquireRequest) { r.CachedInputTokens = proto.Int64(1e12) }), ""},
		{"units", with(func(r *pb.AcquireRequest) { r.Units = map[string]int64{"images": 3} }), ""},
		{"a negative unit", with(func(r *pb.AcquireRequest) { r.Units = map[string]int64{"images": -3} }), "units"},
		{"a nameless unit", with(func(r *pb.AcquireRequest) { r.Units = map[string]int64{"": 3} }), "units"},
		{"max_wait of 0", with(func(r *pb.AcquireRequest) { r.MaxWait = durationpb.New(0) }), ""},
		{"max_wait below 0", with(func(r *pb.AcquireRequest) { r.MaxWait = durationpb.New(-1) }), "max_wait"},
		{"max_wait of a day", with(func(r *pb.AcquireRequest) { r.MaxWait = durationpb.New(24 * time.Hour) }), ""},
		{"max_wait above a day", with(func(r *pb.AcquireRequest) { r.MaxWait = durationpb.New(24*time.Hour + 1) }), "max_wait"},
		{"a long block is cut", with(func(r *pb.AcquireRequest) { r.Block = durationpb.New(time.Minute) }), ""},
		{"block below 0", with(func(r *pb.AcquireRequest) { r.Block = durationpb.New(-1) }), "block"},
		{"lease_ttl below 1 s", with(func(r *pb.AcquireRequest) { r.LeaseTtl = durationpb.New(time.Second - 1) }), "lease_ttl"},
		{"lease_ttl above a day", with(func(r *pb.AcquireRequest) { r.LeaseTtl = durationpb.New(24*time.Hour + 1) }), "lease_ttl"},
		{"affinity_key of 257", with(func(r *pb.AcquireRequest) { r.AffinityKey = strings.Repeat("a", 257) }), "affinity_key"},
		{"16 labels", with(func(r *pb.AcquireRequest) { r.Labels = many(16) }), ""},
		{"17 labels", with(func(r *pb.AcquireRequest) { r.Labels = many(17) }), "labels"},
		{"65 accounts", with(func(r *pb.AcquireRequest) {
			r.Constraints = &pb.Constraints{Accounts: strings.Split(strings.Repeat("a", 65), "")}
		}), "constraints.accounts"},
		{"quality of 1", with(func(r *pb.AcquireRequest) { r.Constraints = &pb.Constraints{MinQuality: proto.Float64(1)} }), ""},
		{"quality above 1", with(func(r *pb.AcquireRequest) { r.Constraints = &pb.Constraints{MinQuality: proto.Float64(1.1)} }), "constraints.min_quality"},

		{"no leases", &pb.RenewRequest{}, "lease_ids"},
		{"256 leases", &pb.RenewRequest{LeaseIds: strings.Split(strings.Repeat("a", 256), "")}, ""},
		{"257 leases", &pb.RenewRequest{LeaseIds: strings.Split(strings.Repeat("a", 257), "")}, "lease_ids"},

		{"a bare release", &pb.ReleaseRequest{LeaseId: "l"}, ""},
		{"no lease", &pb.ReleaseRequest{}, "lease_id"},
		{"an outcome of the future", &pb.ReleaseRequest{LeaseId: "l", Outcome: 99}, "outcome"},
		{"usage of nothing", used(&pb.Usage{OutputTokens: proto.Int64(0)}), ""},
		{"usage below nothing", used(&pb.Usage{OutputTokens: proto.Int64(-1)}), "usage.output_tokens"},
		{"no answer", seen(&pb.Observation{}), ""},
		{"status 99", seen(&pb.Observation{HttpStatus: 99}), "observation.http_status"},
		{"status 529", seen(&pb.Observation{HttpStatus: 529}), ""},
		{"status 600", seen(&pb.Observation{HttpStatus: 600}), "observation.http_status"},
		{"65 headers", seen(&pb.Observation{Headers: many(65)}), "observation.headers"},
		{"body of 4,096 bytes", seen(&pb.Observation{Body: strings.Repeat("é", 2048)}), ""},
		{"body of 4,098 bytes", seen(&pb.Observation{Body: strings.Repeat("é", 2049)}), "observation.body"},
		{"seen in the future", seen(&pb.Observation{Age: durationpb.New(-1)}), "observation.age"},

		{"a report of nothing", &pb.ReportRequest{}, ""}, // refused as a whole; see below
		{"a report by lease", &pb.ReportRequest{LeaseId: "l"}, ""},
		{"a report by model", &pb.ReportRequest{Account: "a", Model: "m"}, ""},

		{"all headroom", &pb.GetHeadroomRequest{}, ""},
		{"pool of 129", &pb.GetHeadroomRequest{Pool: strings.Repeat("a", 129)}, "pool"},
		{"a hasty watch", &pb.WatchHeadroomRequest{Interval: durationpb.New(99 * time.Millisecond)}, "interval"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := protovalidate.Validate(tt.in)
			if tt.name == "a report of nothing" {
				if err == nil {
					t.Fatal("got no error")
				}
				return
			}
			if got := field(t, err); got != tt.field {
				t.Fatalf("got violation of %q, want %q (%v)", got, tt.field, err)
			}
		})
	}
}

// field gives the path, less keys and indices, of the first violation.
func field(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v, want a violation", err)
	}
	var path []string
	for _, e := range invalid.Violations[0].Proto.GetField().GetElements() {
		path = append(path, e.GetFieldName())
	}
	return strings.Join(path, ".")
}

// TestEveryRequestFieldHasARule keeps a new field from being forgotten: whatever a
// caller may send is bounded.
func TestEveryRequestFieldHasARule(t *testing.T) {
	for _, file := range []protoreflect.FileDescriptor{pb.File_watermaster_v1_limiter_proto, pb.File_watermaster_v1_monitor_proto} {
		services := file.Services()
		for i := range services.Len() {
			methods := services.Get(i).Methods()
			for j := range methods.Len() {
				check(t, methods.Get(j).Input())
			}
		}
	}
}

func check(t *testing.T, message protoreflect.MessageDescriptor) {
	fields := message.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if m := f.Message(); m != nil && !f.IsMap() && m.ParentFile().Package() == message.ParentFile().Package() {
			check(t, m)
			continue
		}
		if f.Name() == "provider_usage" || f.Kind() == protoreflect.BoolKind {
			continue // bounded by the size of a message; either is well
		}
		rules, err := protovalidate.ResolveFieldRules(f)
		if err != nil || rules == nil {
			t.Errorf("%s has no rule (%v)", f.FullName(), err)
		}
	}
}

func BenchmarkValidateAcquire(b *testing.B) {
	v, err := protovalidate.New()
	if err != nil {
		b.Fatal(err)
	}
	r := request(nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := v.Validate(r); err != nil {
			b.Fatal(err)
		}
	}
}
