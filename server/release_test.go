package server

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

func used(input, output int64) *pb.ReleaseRequest_Usage {
	return &pb.ReleaseRequest_Usage{Usage: &pb.Usage{InputTokens: &input, OutputTokens: &output}}
}

// settlements lists what a release has come to: charged, refunded, owed.
func settlements(a *pb.ReleaseResponse) map[string][3]int64 {
	m := map[string][3]int64{}
	for _, s := range a.Settlements {
		m[s.Scope+" "+s.Metric] = [3]int64{s.Charged, s.Refunded, s.Owed}
	}
	return m
}

func TestSettlement(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		tests := []struct {
			name    string
			release *pb.ReleaseRequest
			want    map[string][3]int64
		}{
			{"less", &pb.ReleaseRequest{Consumption: used(100, 40)}, map[string][3]int64{
				"pool/main/gpt requests": {1, 0, 0}, "pool/main/gpt tokens": {200, 0, 0}, "pool/main/gpt concurrency": {0, 1, 0},
				"project/search tokens": {140, 60, 0}, "organization cost": {180, 120, 0},
			}},
			{"more", &pb.ReleaseRequest{Consumption: used(100, 150)}, map[string][3]int64{
				"pool/main/gpt requests": {1, 0, 0}, "pool/main/gpt tokens": {250, 0, 50}, "pool/main/gpt concurrency": {0, 1, 0},
				"project/search tokens": {250, 0, 50}, "organization cost": {400, 0, 100},
			}},
			{"unsent", &pb.ReleaseRequest{Outcome: pb.Outcome_OUTCOME_UNSENT}, map[string][3]int64{
				"pool/main/gpt requests": {0, 1, 0}, "pool/main/gpt tokens": {0, 200, 0}, "pool/main/gpt concurrency": {0, 1, 0},
				"project/search tokens": {0, 200, 0}, "organization cost": {0, 300, 0},
			}},
			{"in the provider's words", &pb.ReleaseRequest{Consumption: &pb.ReleaseRequest_ProviderUsage{ProviderUsage: object(t, map[string]any{
				"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140,
			})}}, map[string][3]int64{
				"pool/main/gpt requests": {1, 0, 0}, "pool/main/gpt tokens": {200, 0, 0}, "pool/main/gpt concurrency": {0, 1, 0},
				"project/search tokens": {140, 60, 0}, "organization cost": {180, 120, 0},
			}},
		}
		for _, tt := range tests {
			tt.release.LeaseId = w.grant(ask(tt.name)).LeaseId
			a, err := w.Release(w.t.Context(), tt.release)
			if err != nil {
				t.Fatal(err)
			}
			got := settlements(a)
			if len(got) != len(tt.want) || a.Late || a.Advice != nil {
				t.Errorf("%s: got %v", tt.name, a)
			}
			for k, want := range tt.want {
				if got[k] != want {
					t.Errorf("%s: %s: got %v, want %v", tt.name, k, got[k], want)
				}
			}
			again, err := w.Release(w.t.Context(), tt.release)
			if err != nil || !again.Late {
				t.Errorf("%s: released twice: got %v, %v, want late", tt.name, again, err)
			}
		}
	})
}

func object(t *testing.T, m map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestThrottled: a 429 closes the pool for as long as it says, for everybody, and is advised on.
func TestThrottled(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		g := w.grant(ask("a"))
		a, err := w.Release(w.t.Context(), &pb.ReleaseRequest{LeaseId: g.LeaseId, Observation: &pb.Observation{
			HttpStatus: 429, Headers: map[string]string{"Retry-After": "7"},
			Body: `{"error":{"code":"rate_limit_exceeded","message":"slow down"}}`,
		}})
		if err != nil {
			t.Fatal(err)
		}
		if v := a.Advice; v.GetFailureClass() != pb.FailureClass_FAILURE_CLASS_THROTTLED || !v.Retry || v.RetryAfter.AsDuration() < 7*time.Second {
			t.Errorf("advice %v", v)
		}
		if got := w.acquire(ask("b", maxWait(0))); got.GetRejected().GetReason() != pb.Reason_REASON_GATED ||
			!near(got.GetRejected().RetryAfter.AsDuration(), 7*time.Second) {
			t.Errorf("got %v, want gated for 7 s", got)
		}
		gates := w.limit("pool/main/gpt", "requests/min").Gates
		if len(gates) == 0 || !near(gates[0].Remaining.AsDuration(), 7*time.Second) {
			t.Errorf("gates %v", gates)
		}
		got := <-w.later(w.t.Context(), ask("c"))
		if got.GetGranted() == nil || got.took < 7*time.Second {
			t.Errorf("got %v after %v, want a grant when the gate opens", got, got.took)
		}
	})
}

func TestRenew(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		g := w.grant(ask("a", func(r *pb.AcquireRequest) { r.LeaseTtl = durationpb.New(30 * time.Second) }))
		if d := g.RenewEvery.AsDuration(); d != 10*time.Second {
			t.Errorf("renew every %v, want 10 s", d)
		}
		for range 3 {
			time.Sleep(20 * time.Second)
			a, err := w.Renew(w.t.Context(), &pb.RenewRequest{LeaseIds: []string{g.LeaseId, "nonsense", g.LeaseId}})
			if err != nil {
				t.Fatal(err)
			}
			r := a.Renewals
			if len(r) != 3 || r[0].Gone || r[0].Ttl.AsDuration() != 30*time.Second || !r[1].Gone || r[2].Gone || r[1].LeaseId != "nonsense" {
				t.Fatalf("got %v", a)
			}
		}
		time.Sleep(31 * time.Second)
		if held := w.limit("pool/main/gpt", "concurrency").Held; held != 0 {
			t.Errorf("%d held after the ttl", held)
		}
		a, err := w.Renew(w.t.Context(), &pb.RenewRequest{LeaseIds: []string{g.LeaseId}})
		if err != nil || !a.Renewals[0].Gone {
			t.Errorf("got %v, %v, want gone", a, err)
		}
		late, err := w.Release(w.t.Context(), &pb.ReleaseRequest{LeaseId: g.LeaseId, Consumption: used(100, 500)})
		if err != nil || !late.Late || settlements(late)["project/search tokens"] != [3]int64{600, 0, 400} {
			t.Errorf("got %v, %v, want a late settlement with a debt", late, err)
		}
		time.Sleep(time.Hour)
		_, err = w.Release(w.t.Context(), &pb.ReleaseRequest{LeaseId: g.LeaseId})
		wantCode(t, err, codes.NotFound)
	})
}

func TestReport(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		g := w.grant(ask("a", class("interactive")))
		a, err := w.Report(w.t.Context(), &pb.ReportRequest{LeaseId: g.LeaseId, Consumption: &pb.ReportRequest_Usage{
			Usage: &pb.Usage{InputTokens: proto.Int64(100), OutputTokens: proto.Int64(900)},
		}})
		if err != nil || a.Advice != nil || a.Pressure.GetLevel() != pb.PressureLevel_PRESSURE_LEVEL_SATURATED {
			t.Fatalf("got %v, %v", a, err)
		}
		if held := w.limit("project/search", "tokens/min").Held; held != 1000 {
			t.Errorf("%d tokens held, want what was reported, 1000", held)
		}
		a, err = w.Report(w.t.Context(), &pb.ReportRequest{Account: "claude", Model: "sonnet", Observation: &pb.Observation{
			HttpStatus: 529, Body: `{"type":"error","error":{"type":"overloaded_error"}}`,
		}})
		if err != nil || a.Advice.GetFailureClass() != pb.FailureClass_FAILURE_CLASS_OVERLOADED || a.Pressure == nil {
			t.Errorf("got %v, %v, want overloaded", a, err)
		}
		_, err = w.Report(w.t.Context(), &pb.ReportRequest{LeaseId: lease{w.organization().fingerprint, 0, w.organization().nextLease()}.String()})
		wantCode(t, err, codes.NotFound)
	})
}

func TestLeaseText(t *testing.T) {
	l := lease{1, 2, [1]lease{}[0].id}
	l.id.Incarnation, l.id.Count = 1<<63+5, 77
	got, ok := parseLease(l.String())
	if !ok || got != l {
		t.Errorf("got %v, %v, want %v", got, ok, l)
	}
	for _, bad := range []string{"", "x", l.String() + "A", l.String()[1:], "!" + l.String()[1:], lease{}.String()} {
		if got, ok := parseLease(bad); ok {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}
