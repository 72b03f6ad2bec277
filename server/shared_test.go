package server

import (
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// TestLeaseOfAnother: a caller that is bound to projects renews, reports on and releases at one
// process what another has granted just now, which the one has not read yet.
func TestLeaseOfAnother(t *testing.T) {
	s := redistest.Start(t)
	a, b := newAwayWorldOf(t, s, guarded(), ""), newAwayWorldOf(t, s, guarded(), "")
	for i, call := range []func(lease string) error{
		func(lease string) error {
			r, err := b.Renew(b.as(searchKey), &pb.RenewRequest{LeaseIds: []string{lease}})
			if err == nil && r.Renewals[0].Gone {
				t.Error("a lease that runs is told to be gone")
			}
			return err
		},
		func(lease string) error {
			_, err := b.Report(b.as(searchKey), &pb.ReportRequest{LeaseId: lease})
			return err
		},
		func(string) error { return nil },
	} {
		r := ask(name("r", i))
		r.Organization, r.Block = "acme", durationpb.New(0)
		got, err := a.Acquire(a.as(searchKey), r)
		if err != nil || got.GetGranted() == nil {
			t.Fatalf("got %v, %v, want a grant", got, err)
		}
		lease := got.GetGranted().LeaseId
		if err := call(lease); err != nil {
			t.Errorf("call %d: %v", i, err)
		}
		if _, err := b.Release(b.as(searchKey), &pb.ReleaseRequest{LeaseId: lease}); err != nil {
			t.Errorf("release after call %d: %v", i, err)
		}
	}
}
