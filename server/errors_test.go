package server

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/replica"
	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/memory"
)

func TestUnknownNames(t *testing.T) {
	const yaml = small + `
  other:
    accounts: {x: {provider: openai, pools: {p: {models: [m], limits: {requests: 1/min}}}}}
    projects: {known: {}}
`
	inWorld(t, yaml, memory.Options{}, func(w *world) {
		org := func(name string) func(*pb.AcquireRequest) {
			return func(r *pb.AcquireRequest) { r.Organization = name }
		}
		route := func(r *pb.AcquireRequest) { r.Destination = &pb.AcquireRequest_Route{Route: "onee"} }
		model := func(r *pb.AcquireRequest) { r.Destination = &pb.AcquireRequest_Model{Model: "sonet"} }
		project := func(r *pb.AcquireRequest) {
			r.Project, r.Destination = "knwon", &pb.AcquireRequest_Model{Model: "m"}
		}
		acquire := func(change ...func(*pb.AcquireRequest)) func() error {
			return func() error { _, err := w.Acquire(w.t.Context(), ask("a", change...)); return err }
		}
		report := func(r *pb.ReportRequest) func() error {
			return func() error { _, err := w.Report(w.t.Context(), r); return err }
		}
		headroom := func(r *pb.GetHeadroomRequest) func() error {
			return func() error { _, err := w.GetHeadroom(w.t.Context(), r); return err }
		}
		tests := []struct {
			call                func() error
			kind, name, nearest string
		}{
			{acquire(org("acmi")), "organization", "acmi", "acme"},
			{acquire(org("acme"), route), "route", "onee", "one"},
			{acquire(org("acme"), model), "model", "sonet", "sonnet"},
			{acquire(org("acme"), class("standart")), "priority class", "standart", "standard"},
			{acquire(org("other"), project), "project", "knwon", "known"},
			{report(&pb.ReportRequest{Organization: "acme", Account: "claud", Model: "m"}), "account", "claud", "claude"},
			{report(&pb.ReportRequest{Organization: "acme", Account: "main", Model: "gtp"}), "model", "gtp", "gpt"},
			{report(&pb.ReportRequest{LeaseId: "nonsense"}), "lease", "nonsense", ""},
			{headroom(&pb.GetHeadroomRequest{Organization: "acme", Account: "mein"}), "account", "mein", "main"},
			{headroom(&pb.GetHeadroomRequest{Organization: "acme", Pool: "gpd"}), "pool", "gpd", "gpt"},
			{headroom(&pb.GetHeadroomRequest{Organization: "other", Project: "knwon"}), "project", "knwon", "known"},
			{func() error {
				l := lease{w.organization().fingerprint, 1, w.organization().nextLease()}
				_, err := w.Release(w.t.Context(), &pb.ReleaseRequest{LeaseId: l.String()})
				if err == nil {
					return nil
				}
				_, err = w.Release(w.t.Context(), &pb.ReleaseRequest{LeaseId: "x"})
				return err
			}, "lease", "x", ""},
		}
		for _, tt := range tests {
			s := wantCode(t, tt.call(), codes.NotFound)
			if len(s.Details()) != 1 {
				t.Errorf("%s %s: details %v", tt.kind, tt.name, s.Details())
				continue
			}
			info := s.Details()[0].(*errdetails.ErrorInfo)
			if got := info.Metadata; got["kind"] != tt.kind || got["name"] != tt.name || got["nearest"] != tt.nearest {
				t.Errorf("got %v, want %s %s, nearest %q", got, tt.kind, tt.name, tt.nearest)
			}
		}
	})
}

func TestMalformed(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		acquire := func(change func(*pb.AcquireRequest)) error {
			_, err := w.Acquire(w.t.Context(), ask("a", change))
			return err
		}
		watch := func(r *pb.WatchHeadroomRequest) error {
			s, err := w.WatchHeadroom(w.t.Context(), r)
			if err == nil {
				_, err = s.Recv()
			}
			return err
		}
		tests := []struct {
			field string
			err   error
		}{
			{"request_id", acquire(func(r *pb.AcquireRequest) { r.RequestId = "" })},
			{"input_tokens", acquire(func(r *pb.AcquireRequest) { r.InputTokens = -1 })},
			{"destination", acquire(func(r *pb.AcquireRequest) { r.Destination = nil })},
			{"lease_ttl", acquire(func(r *pb.AcquireRequest) { r.LeaseTtl = durationpb.New(time.Millisecond) })},
			{"project", acquire(func(r *pb.AcquireRequest) { r.Project = "" })},
			{"interval", watch(&pb.WatchHeadroomRequest{Interval: durationpb.New(1)})},
			{"lease_id", func() error {
				_, err := w.Report(w.t.Context(), &pb.ReportRequest{
					Account: "main", Model: "gpt",
					Consumption: &pb.ReportRequest_Usage{Usage: &pb.Usage{InputTokens: proto.Int64(1)}},
				})
				return err
			}()},
		}
		for _, tt := range tests {
			s := wantCode(t, tt.err, codes.InvalidArgument)
			if len(s.Details()) == 0 {
				t.Errorf("%s: no details in %v", tt.field, tt.err)
				continue
			}
			v := s.Details()[0].(*errdetails.BadRequest).FieldViolations
			if len(v) != 1 || v[0].Field != tt.field || v[0].Description == "" {
				t.Errorf("got %v, want a violation of %s", v, tt.field)
			}
		}
	})
}

func TestStatusOf(t *testing.T) {
	tests := []struct {
		err  error
		code codes.Code
	}{
		{&storeError{store.ErrUnavailable}, codes.Unavailable},
		{&storeError{store.ErrClosed}, codes.Unavailable},
		{fmt.Errorf("wrapped: %w", &storeError{errors.New("disk full at /secret/path")}), codes.Unavailable},
		{errFault, codes.Internal},
		{&replica.Fault{Cause: "x"}, codes.Internal},
		{errDraining, codes.Unavailable},
		{errSlow, codes.ResourceExhausted},
		{errors.New("anything else"), codes.Internal},
	}
	for _, tt := range tests {
		s := wantCode(t, statusOf(tt.err), tt.code)
		if tt.code == codes.Unavailable {
			if len(s.Details()) != 1 || s.Details()[0].(*errdetails.RetryInfo).RetryDelay.AsDuration() <= 0 {
				t.Errorf("%v: no RetryInfo", tt.err)
			}
		}
		if tt.code == codes.Internal && s.Message() != "internal error" || s.Message() == "disk full at /secret/path" {
			t.Errorf("%v tells %q", tt.err, s.Message())
		}
	}
	if statusOf(nil) != nil {
		t.Error("no error has a status")
	}
}
