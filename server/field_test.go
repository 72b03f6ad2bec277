package server

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// TestFieldBounds: each field of a request takes as much as is promised, and no more. The checks
// by hand and the rules of the .proto agree (TestFastChecks); that both still say what was
// promised is seen here.
func TestFieldBounds(t *testing.T) {
	const trillion = 1_000_000_000_000
	var (
		acquire = func(set func(m *pb.AcquireRequest, n int64)) func(int64) proto.Message {
			return func(n int64) proto.Message {
				m := ask("a")
				set(m, n)
				return m
			}
		}
		narrow = func(set func(m *pb.Constraints, list []string), of func(n int64) []string) func(int64) proto.Message {
			return acquire(func(m *pb.AcquireRequest, n int64) { m.Constraints = &pb.Constraints{}; set(m.Constraints, of(n)) })
		}
		release = func(set func(m *pb.ReleaseRequest, n int64)) func(int64) proto.Message {
			return func(n int64) proto.Message {
				m := &pb.ReleaseRequest{LeaseId: "a"}
				set(m, n)
				return m
			}
		}
		usage = func(set func(m *pb.Usage, n int64)) func(int64) proto.Message {
			return release(func(m *pb.ReleaseRequest, n int64) {
				u := &pb.Usage{}
				set(u, n)
				m.Consumption = &pb.ReleaseRequest_Usage{Usage: u}
			})
		}
		observed = func(set func(m *pb.Observation, n int64)) func(int64) proto.Message {
			return release(func(m *pb.ReleaseRequest, n int64) { m.Observation = &pb.Observation{}; set(m.Observation, n) })
		}
		report = func(set func(m *pb.ReportRequest, n int64)) func(int64) proto.Message {
			return func(n int64) proto.Message {
				m := &pb.ReportRequest{LeaseId: "a"}
				set(m, n)
				return m
			}
		}
		get = func(set func(m *pb.GetHeadroomRequest, n int64)) func(int64) proto.Message {
			return func(n int64) proto.Message { m := &pb.GetHeadroomRequest{}; set(m, n); return m }
		}
		watch = func(set func(m *pb.WatchHeadroomRequest, n int64)) func(int64) proto.Message {
			return func(n int64) proto.Message { m := &pb.WatchHeadroomRequest{}; set(m, n); return m }
		}
		text  = func(n int64) string { return strings.Repeat("é", int(n)) }
		texts = func(n int64) map[string]string {
			m := map[string]string{}
			for i := range n {
				m[name("k", int(i))] = ""
			}
			return m
		}
		units = func(n int64) map[string]int64 {
			m := map[string]int64{}
			for i := range n {
				m[name("k", int(i))] = 1
			}
			return m
		}
		list = func(n int64) []string { return slices.Repeat([]string{"a"}, int(n)) }
		long = func(n int64) []string { return []string{text(n)} }
		span = func(n int64) *durationpb.Duration { return durationpb.New(time.Duration(n)) }
	)
	const day = int64(24 * time.Hour)
	rows := []struct {
		field string
		most  int64
		with  func(n int64) proto.Message
	}{
		{"request_id", 128, acquire(func(m *pb.AcquireRequest, n int64) { m.RequestId = text(n) })},
		{"attempt", 1000, acquire(func(m *pb.AcquireRequest, n int64) { m.Attempt = uint32(n) })},
		{"organization", 128, acquire(func(m *pb.AcquireRequest, n int64) { m.Organization = text(n) })},
		{"project", 128, acquire(func(m *pb.AcquireRequest, n int64) { m.Project = text(n) })},
		{"route", 128, acquire(func(m *pb.AcquireRequest, n int64) { m.Destination = &pb.AcquireRequest_Route{Route: text(n)} })},
		{"model", 128, acquire(func(m *pb.AcquireRequest, n int64) { m.Destination = &pb.AcquireRequest_Model{Model: text(n)} })},
		{"priority_class", 128, acquire(func(m *pb.AcquireRequest, n int64) { m.PriorityClass = text(n) })},
		{"input_tokens", trillion, acquire(func(m *pb.AcquireRequest, n int64) { m.InputTokens = n })},
		{"max_output_tokens", trillion, acquire(func(m *pb.AcquireRequest, n int64) { m.MaxOutputTokens = &n })},
		{"cached_input_tokens", trillion, acquire(func(m *pb.AcquireRequest, n int64) { m.CachedInputTokens = &n })},
		{"units", 16, acquire(func(m *pb.AcquireRequest, n int64) { m.Units = units(n) })},
		{`units["é"]`, 64, acquire(func(m *pb.AcquireRequest, n int64) { m.Units = map[string]int64{text(n): 1} })},
		{`units["k"]`, trillion, acquire(func(m *pb.AcquireRequest, n int64) { m.Units = map[string]int64{"k": n} })},
		{"max_wait", day, acquire(func(m *pb.AcquireRequest, n int64) { m.MaxWait = span(n) })},
		{"block", day, acquire(func(m *pb.AcquireRequest, n int64) { m.Block = span(n) })},
		{"lease_ttl", day, acquire(func(m *pb.AcquireRequest, n int64) { m.LeaseTtl = span(n) })},
		{"affinity_key", 256, acquire(func(m *pb.AcquireRequest, n int64) { m.AffinityKey = text(n) })},
		{"labels", 16, acquire(func(m *pb.AcquireRequest, n int64) { m.Labels = texts(n) })},
		{`labels["é"]`, 64, acquire(func(m *pb.AcquireRequest, n int64) { m.Labels = map[string]string{text(n): ""} })},
		{`labels["k"]`, 128, acquire(func(m *pb.AcquireRequest, n int64) { m.Labels = map[string]string{"k": text(n)} })},
		{"constraints.accounts", 64, narrow(func(m *pb.Constraints, l []string) { m.Accounts = l }, list)},
		{"constraints.accounts[0]", 128, narrow(func(m *pb.Constraints, l []string) { m.Accounts = l }, long)},
		{"constraints.exclude_accounts", 64, narrow(func(m *pb.Constraints, l []string) { m.ExcludeAccounts = l }, list)},
		{"constraints.exclude_accounts[0]", 128, narrow(func(m *pb.Constraints, l []string) { m.ExcludeAccounts = l }, long)},
		{"constraints.providers", 64, narrow(func(m *pb.Constraints, l []string) { m.Providers = l }, list)},
		{"constraints.providers[0]", 128, narrow(func(m *pb.Constraints, l []string) { m.Providers = l }, long)},
		{"constraints.capabilities", 64, narrow(func(m *pb.Constraints, l []string) { m.Capabilities = l }, list)},
		{"constraints.capabilities[0]", 128, narrow(func(m *pb.Constraints, l []string) { m.Capabilities = l }, long)},
		{"constraints.min_quality", 1, acquire(func(m *pb.AcquireRequest, n int64) {
			m.Constraints = &pb.Constraints{MinQuality: proto.Float64(float64(n))}
		})},

		{"lease_ids", 256, func(n int64) proto.Message { return &pb.RenewRequest{LeaseIds: list(n)} }},
		{"lease_ids[0]", 256, func(n int64) proto.Message { return &pb.RenewRequest{LeaseIds: long(n)} }},

		{"lease_id", 256, release(func(m *pb.ReleaseRequest, n int64) { m.LeaseId = text(n) })},
		{"outcome", int64(pb.Outcome_OUTCOME_UNKNOWN), release(func(m *pb.ReleaseRequest, n int64) { m.Outcome = pb.Outcome(n) })},
		{"usage.input_tokens", trillion, usage(func(m *pb.Usage, n int64) { m.InputTokens = &n })},
		{"usage.output_tokens", trillion, usage(func(m *pb.Usage, n int64) { m.OutputTokens = &n })},
		{"usage.cached_input_tokens", trillion, usage(func(m *pb.Usage, n int64) { m.CachedInputTokens = &n })},
		{"usage.cache_write_input_tokens", trillion, usage(func(m *pb.Usage, n int64) { m.CacheWriteInputTokens = &n })},
		{"usage.units", 16, usage(func(m *pb.Usage, n int64) { m.Units = units(n) })},
		{`usage.units["k"]`, trillion, usage(func(m *pb.Usage, n int64) { m.Units = map[string]int64{"k": n} })},
		{`usage.units["é"]`, 64, usage(func(m *pb.Usage, n int64) { m.Units = map[string]int64{text(n): 1} })},
		{"observation.number", 1_000_000, observed(func(m *pb.Observation, n int64) { m.Number = uint32(n) })},
		{"observation.http_status", 599, observed(func(m *pb.Observation, n int64) { m.HttpStatus = uint32(n) })},
		{"observation.headers", 64, observed(func(m *pb.Observation, n int64) { m.Headers = texts(n) })},
		{`observation.headers["é"]`, 128, observed(func(m *pb.Observation, n int64) { m.Headers = map[string]string{text(n): ""} })},
		{`observation.headers["k"]`, 1024, observed(func(m *pb.Observation, n int64) { m.Headers = map[string]string{"k": text(n)} })},
		{"observation.body", 4096, observed(func(m *pb.Observation, n int64) { m.Body = strings.Repeat("x", int(n)) })},
		{"observation.age", day, observed(func(m *pb.Observation, n int64) { m.Age = span(n) })},

		{"lease_id", 256, report(func(m *pb.ReportRequest, n int64) { m.LeaseId = text(n) })},
		{"organization", 128, report(func(m *pb.ReportRequest, n int64) { m.Organization = text(n) })},
		{"account", 128, report(func(m *pb.ReportRequest, n int64) { m.Account = text(n) })},
		{"model", 128, report(func(m *pb.ReportRequest, n int64) { m.Model = text(n) })},
		{"usage.output_tokens", trillion, report(func(m *pb.ReportRequest, n int64) {
			m.Consumption = &pb.ReportRequest_Usage{Usage: &pb.Usage{OutputTokens: &n}}
		})},
		{"observation.body", 4096, report(func(m *pb.ReportRequest, n int64) {
			m.Observation = &pb.Observation{Body: strings.Repeat("x", int(n))}
		})},

		{"organization", 128, get(func(m *pb.GetHeadroomRequest, n int64) { m.Organization = text(n) })},
		{"account", 128, get(func(m *pb.GetHeadroomRequest, n int64) { m.Account = text(n) })},
		{"pool", 128, get(func(m *pb.GetHeadroomRequest, n int64) { m.Pool = text(n) })},
		{"project", 128, get(func(m *pb.GetHeadroomRequest, n int64) { m.Project = text(n) })},
		{"organization", 128, watch(func(m *pb.WatchHeadroomRequest, n int64) { m.Organization = text(n) })},
		{"account", 128, watch(func(m *pb.WatchHeadroomRequest, n int64) { m.Account = text(n) })},
		{"pool", 128, watch(func(m *pb.WatchHeadroomRequest, n int64) { m.Pool = text(n) })},
		{"project", 128, watch(func(m *pb.WatchHeadroomRequest, n int64) { m.Project = text(n) })},
		{"interval", int64(time.Hour), watch(func(m *pb.WatchHeadroomRequest, n int64) { m.Interval = span(n) })},
	}
	for _, r := range rows {
		m := r.with(r.most)
		if err := validate(m); err != nil {
			t.Errorf("%T with the most of %s: %v", m, r.field, err)
		}
		err := validate(r.with(r.most + 1))
		var broken *protovalidate.ValidationError
		if !errors.As(err, &broken) || len(broken.Violations) != 1 {
			t.Errorf("%T with more of %s: got %v", m, r.field, err)
			continue
		}
		field := protovalidate.FieldPathString(broken.Violations[0].Proto.GetField())
		if want, _, _ := strings.Cut(r.field, "é"); !strings.HasPrefix(field, want) || !strings.Contains(r.field, "é") && field != want {
			t.Errorf("%T with more of %s: got a violation of %s", m, r.field, field)
		}
	}
}

// TestLeastOfFields: what must be there, and what may not be less.
func TestLeastOfFields(t *testing.T) {
	for _, r := range []struct {
		field string
		m     proto.Message
	}{
		{"request_id", ask("")},
		{"input_tokens", ask("a", func(m *pb.AcquireRequest) { m.InputTokens = -1 })},
		{"max_output_tokens", ask("a", func(m *pb.AcquireRequest) { m.MaxOutputTokens = proto.Int64(-1) })},
		{"max_wait", ask("a", maxWait(-1))},
		{"block", ask("a", block(-1))},
		{"lease_ttl", ask("a", func(m *pb.AcquireRequest) { m.LeaseTtl = durationpb.New(time.Second - 1) })},
		{"lease_ids", &pb.RenewRequest{}},
		{"lease_id", &pb.ReleaseRequest{}},
		{"observation.http_status", &pb.ReleaseRequest{LeaseId: "a", Observation: &pb.Observation{HttpStatus: 99}}},
		{"observation.age", &pb.ReleaseRequest{LeaseId: "a", Observation: &pb.Observation{Age: durationpb.New(-1)}}},
		{"interval", &pb.WatchHeadroomRequest{Interval: durationpb.New(100*time.Millisecond - 1)}},
	} {
		var broken *protovalidate.ValidationError
		err := validate(r.m)
		if !errors.As(err, &broken) || protovalidate.FieldPathString(broken.Violations[0].Proto.GetField()) != r.field {
			t.Errorf("%s: got %v", r.field, err)
		}
	}
}
