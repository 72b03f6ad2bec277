package server

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/store/memory"
)

// edited gives small with pieces replaced, old and new in turn, and a later revision.
func edited(revision int, pieces ...string) string {
	return strings.NewReplacer(append([]string{"revision: 7", fmt.Sprint("revision: ", revision)}, pieces...)...).Replace(small)
}

func (w *world) reload(yaml string) {
	w.t.Helper()
	if err := w.server.Reload(w.t.Context(), parse(w.t, yaml)); err != nil {
		w.t.Fatalf("reload: %v", err)
	}
}

func TestReloadKeepsCounters(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		g := w.grant(ask("a"))
		w.reload(edited(8, "requests: 60/min", "requests: 90/min"))
		l := w.limit("pool/main/gpt", "requests/min")
		if l.Held != 1 || l.Quota != 90 {
			t.Errorf("got %d of %d, want 1 of 90", l.Held, l.Quota)
		}
		if r := w.release(g.LeaseId); r.Late || len(r.Settlements) != 5 {
			t.Errorf("released as %v", r)
		}
		h, err := w.GetHeadroom(w.t.Context(), &pb.GetHeadroomRequest{})
		if err != nil || h.Headroom.ConfigRevision != 8 {
			t.Errorf("revision %d, %v; want 8", h.GetHeadroom().GetConfigRevision(), err)
		}
	})
}

// TestReloadGrantsWaiters: who waits keeps the place, and goes as soon as there is room.
func TestReloadGrantsWaiters(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		w.grant(ask("a"))
		waiter := w.later(w.t.Context(), ask("b"))
		time.Sleep(2 * time.Second)
		w.reload(edited(8, "concurrency: 1", "concurrency: 2"))
		if got := <-waiter; got.GetGranted() == nil || !near(got.took, 2*time.Second) {
			t.Errorf("got %v after %v, want a grant after 2 s", got, got.took)
		}
	})
}

// TestReloadRenamesPool: leases that were given out under the former name are settled with
// what was used, and so is what waits.
func TestReloadRenamesPool(t *testing.T) {
	renamed := edited(8, "gpt: {models: [gpt], limits:", "gpt5: {was: gpt, models: [gpt], limits:")
	inWorld(t, small, memory.Options{}, func(w *world) {
		g := w.grant(ask("a"))
		waiter := w.later(w.t.Context(), ask("b"))
		w.reload(renamed)
		r, err := w.Release(w.t.Context(), &pb.ReleaseRequest{
			LeaseId: g.LeaseId, Outcome: pb.Outcome_OUTCOME_SUCCEEDED,
			Consumption: &pb.ReleaseRequest_Usage{Usage: usage(100, 900)},
		})
		if err != nil {
			t.Fatal(err)
		}
		owed := int64(0)
		for _, s := range r.Settlements {
			if s.Metric == "tokens" && s.Scope == "pool/main/gpt5" {
				owed = s.Owed
			}
		}
		if owed != 800 {
			t.Errorf("settled as %v, want 800 owed to pool/main/gpt5", r.Settlements)
		}
		b := <-waiter
		if b.GetGranted() == nil || b.GetGranted().Target.GetAttributes()["base_url"] == "" {
			t.Fatalf("got %v, want a grant with its attributes", b)
		}
		w.release(b.GetGranted().LeaseId)
		if l := w.limit("pool/main/gpt5", "requests/min"); l.Held != 2 {
			t.Errorf("%d requests held, want 2", l.Held)
		}
	})
}

// TestReloadRenamesOrganization: counters, leases and places go on under the new name, and
// callers may use the former one until they know.
func TestReloadRenamesOrganization(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		g := w.grant(ask("a"))
		waiter := w.later(w.t.Context(), ask("b", maxWait(time.Minute)))
		time.Sleep(time.Second)
		w.reload(edited(8, "  acme:\n", "  apex:\n    was: acme\n"))
		time.Sleep(time.Second)
		named := w.later(w.t.Context(), ask("c", func(r *pb.AcquireRequest) { r.Organization = "acme" }))
		if r := w.release(g.LeaseId); r.Late || len(r.Settlements) == 0 {
			t.Errorf("released as %v", r)
		}
		got := <-waiter // it has not noticed
		if got.GetGranted() == nil || !near(got.took, got.GetGranted().Waited.AsDuration()) || got.took < 2*time.Second {
			t.Fatalf("got %v after %v, want a grant that counts from the beginning", got, got.took)
		}
		w.release(got.GetGranted().LeaseId)
		if got := <-named; got.GetGranted() == nil {
			t.Errorf("got %v, want a grant under the former name", got)
		}
		h, err := w.GetHeadroom(w.t.Context(), &pb.GetHeadroomRequest{Organization: "apex"})
		if err != nil || h.Headroom.Organization != "apex" {
			t.Fatalf("got %v, %v", h, err)
		}
		if l := w.limit("pool/main/gpt", "tokens/min"); l.Held != 600 {
			t.Errorf("%d tokens held, want 600", l.Held)
		}
	})
}

// TestReloadRenamesBack: a name that is taken back goes on from the latest state, not from
// what its log still has of the time before.
func TestReloadRenamesBack(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		w.release(w.grant(ask("a")).LeaseId)
		w.reload(edited(8, "  acme:\n", "  apex:\n    was: acme\n"))
		w.release(w.grant(ask("b")).LeaseId)
		g := w.grant(ask("c"))
		w.reload(edited(9, "  acme:\n", "  acme:\n    was: apex\n"))
		w.release(g.LeaseId)
		if l := w.limit("pool/main/gpt", "tokens/min"); l.Held != 600 {
			t.Errorf("%d tokens held, want 600", l.Held)
		}
	})
}

// TestReloadOrganizations: one is added, and one is taken away with who waits there.
func TestReloadOrganizations(t *testing.T) {
	const beta = `
  beta:
    accounts: {a: {provider: openai, pools: {p: {models: [m], limits: {requests: 10/min}}}}}
    routes: {one: {targets: [{account: a, model: m}]}}
`
	of := func(name string) func(*pb.AcquireRequest) {
		return func(r *pb.AcquireRequest) { r.Organization = name }
	}
	inWorld(t, small, memory.Options{}, func(w *world) {
		w.grant(ask("a"))
		w.reload(edited(8) + beta)
		w.grant(ask("b", of("beta")))
		waiter := w.later(w.t.Context(), ask("c", of("acme")))
		only := "revision: 9\norganizations:" + beta
		w.reload(only)
		wantCode(t, (<-waiter).err, codes.NotFound)
		_, err := w.Acquire(w.t.Context(), ask("c", of("acme")))
		wantCode(t, err, codes.NotFound)
		w.grant(ask("d")) // the only one again
		// It comes back in time: what it had used is known.
		w.reload(edited(10) + beta)
		if l := w.headroomOf("acme", "pool/main/gpt", "requests/min"); l.Held != 1 {
			t.Errorf("%d held, want the 1 of before", l.Held)
		}
	})
}

// TestReloadRefuses: what cannot be put in force changes nothing.
func TestReloadRefuses(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		w.grant(ask("a"))
		var older *OlderRevision
		err := w.server.Reload(w.t.Context(), parse(t, edited(6, "requests: 60/min", "requests: 90/min")))
		if !errors.As(err, &older) || older.Revision != 6 || older.InForce != 7 {
			t.Errorf("got %v, want that 6 is below 7", err)
		}
		// A renaming that cannot be opened leaves the former one at work.
		cfg := parse(t, edited(8, "  acme:\n", "  apex:\n    was: acme\n"))
		w.log.(*memory.Log).Close()
		if err := w.server.Reload(w.t.Context(), cfg); err == nil {
			t.Error("a closed log was taken")
		}
		if got := w.server.Organizations(); len(got) != 1 || got[0] != "acme" {
			t.Errorf("got %v, want acme", got)
		}
	})
}

// TestReloadByTime: of configurations that do not number themselves the latest that was
// asked for holds, also if its file is older.
func TestReloadByTime(t *testing.T) {
	unnumbered := func(at int64, quota string) *config.Config {
		yaml := strings.NewReplacer("revision: 7", "", "requests: 60/min", "requests: "+quota).Replace(small)
		cfg, err := config.Parse("test.yaml", []byte(yaml), time.Unix(at, 0))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	inWorld(t, small, memory.Options{}, func(w *world) {
		for i, quota := range []string{"61/min", "62/min", "61/min"} {
			if err := w.server.Reload(w.t.Context(), unnumbered(2_000_000_000-int64(i), quota)); err != nil {
				t.Fatal(err)
			}
			if l := w.limit("pool/main/gpt", "requests/min"); fmt.Sprint(l.Quota, "/min") != quota {
				t.Errorf("quota %d, want %s", l.Quota, quota)
			}
		}
	})
}

// TestReloadUnderLoad: names change again and again while calls come; none fails, and none
// is lost.
func TestReloadUnderLoad(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		var granted, failed atomic.Int64
		var all sync.WaitGroup
		stop := make(chan struct{})
		for i := range 16 {
			all.Go(func() {
				for k := 0; ; k++ {
					select {
					case <-stop:
						return
					default:
					}
					r := ask(name(name("r", i), k), block(time.Second), maxWait(time.Hour))
					a, err := w.Acquire(w.t.Context(), r)
					for err == nil && a.GetWait() != nil {
						a, err = w.Acquire(w.t.Context(), r)
					}
					switch {
					case err != nil || a.GetRejected() != nil:
						t.Errorf("got %v, %v", a, err)
						failed.Add(1)
						return
					case a.GetGranted() != nil:
						granted.Add(1)
						time.Sleep(time.Millisecond)
						w.release(a.GetGranted().LeaseId)
					}
				}
			})
		}
		pools := []string{"gpt", "gpt5"}
		organizations := []string{"acme", "apex"}
		for i := range 40 {
			time.Sleep(100 * time.Millisecond)
			pool := fmt.Sprintf("%s: {was: %s, models", pools[(i+1)%2], pools[i%2])
			organization := "  acme:\n"
			if i >= 20 {
				organization = fmt.Sprintf("  %s:\n    was: %s\n", organizations[(i+1)%2], organizations[i%2])
			}
			w.reload(edited(8+i, "gpt: {models", pool, "  acme:\n", organization,
				"requests: 60/min", "requests: 1M/min", "quota: 60k", "quota: 1G", "tokens: 50k/min", "tokens: 1G/min", "$500/day", "$5M/day"))
		}
		close(stop)
		all.Wait()
		synctest.Wait()
		if granted.Load() < 100 {
			t.Errorf("only %d granted", granted.Load())
		}
		if l := w.limit("pool/main/gpt", "concurrency"); l.Held != 0 {
			t.Errorf("%d slots are held in the end", l.Held)
		}
	})
}
