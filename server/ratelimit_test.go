package server

import (
	"testing"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/codes"

	"github.com/watermaster-project/watermaster/store/memory"
)

// descriptor makes one of keys and values.
func descriptor(words ...string) *common.RateLimitDescriptor {
	d := &common.RateLimitDescriptor{}
	for i := 0; i < len(words); i += 2 {
		d.Entries = append(d.Entries, &common.RateLimitDescriptor_Entry{Key: words[i], Value: words[i+1]})
	}
	return d
}

func (w *world) shouldRateLimit(domain string, descriptors ...*common.RateLimitDescriptor) (*rls.RateLimitResponse, error) {
	return rls.NewRateLimitServiceClient(w.conn).ShouldRateLimit(w.t.Context(), &rls.RateLimitRequest{Domain: domain, Descriptors: descriptors})
}

// TestUnknownDomain: what nothing limits is let through, with a status for each descriptor.
func TestUnknownDomain(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		a, err := w.shouldRateLimit("nowhere", descriptor("k", "v"), descriptor("k", "w", "l", "x"))
		if err != nil {
			t.Fatal(err)
		}
		if a.OverallCode != rls.RateLimitResponse_OK || len(a.Statuses) != 2 {
			t.Fatalf("got %v", a)
		}
		for _, s := range a.Statuses {
			if s.Code != rls.RateLimitResponse_OK || s.CurrentLimit != nil {
				t.Errorf("got %v", s)
			}
		}
		_, err = w.shouldRateLimit("", descriptor("k", "v"))
		wantCode(t, err, codes.InvalidArgument)
		_, err = w.shouldRateLimit("nowhere")
		wantCode(t, err, codes.InvalidArgument)
		_, err = w.shouldRateLimit("nowhere", descriptor("organization", "acme"), descriptor("organization", "other"))
		wantCode(t, err, codes.InvalidArgument)
	})
}
