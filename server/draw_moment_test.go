package server

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/codes"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/store/memory"
)

// TestDrawRollCall: while others may put back what the log has lost, a gateway is told to ask
// again, and is not told OVER_LIMIT. What ends is settled meanwhile.
func TestDrawRollCall(t *testing.T) {
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		one := hitsAt(1000, descriptor("account", "main", "request_id", "r"))
		w.draw(one)
		o := w.organization()
		c := o.calls.get()
		o.propose(&limiter.Join{Incarnation: 99, Behaviour: limiter.Behaviour}, c) // who will not be heard
		o.propose(&limiter.Loss{History: 5}, c)
		c.free()
		if !o.inRollCall() {
			w.t.Fatal("no roll call")
		}
		for _, d := range list(descriptor("account", "main"), hitsAt(0, descriptor("account", "main")), hitsAt(5, descriptor("account", "main", "request_id", "s"))) {
			_, err := w.shouldRateLimit("acme", d)
			wantCode(w.t, err, codes.Unavailable)
		}
		w.draw(hitsAt(200, descriptor("account", "main", "request_id", "r")))
		w.wantHeld(map[string]int64{"pool/main/gpt tokens": 200, "pool/main/gpt requests": 1})
		time.Sleep(time.Minute)
		if a := w.draw(one); a.OverallCode != isOK {
			w.t.Errorf("after it: %v", a)
		}
	})
}

// TestDrawCancelled: who has left is charged all the same where the answer may have arrived, and
// a lease is left that his end settles.
func TestDrawCancelled(t *testing.T) {
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		ctx, cancel := context.WithCancel(w.t.Context())
		cancel()
		o := w.organization()
		ask := &rls.RateLimitRequest{Domain: "acme", Descriptors: list(hitsAt(1000, descriptor("account", "main", "request_id", "r")))}
		if _, err := w.server.draw(ctx, o, ask); err == nil {
			w.t.Error("decided for one who had left")
		}
		w.wantHeld(map[string]int64{"pool/main/gpt tokens": 0})
		ask.Descriptors[0].Entries = append(ask.Descriptors[0].Entries, descriptor("phase", "end").Entries...)
		if _, err := w.server.draw(ctx, o, ask); err != nil { // an end counts whoever hears of it
			w.t.Error(err)
		}
		w.wantHeld(map[string]int64{"pool/main/gpt tokens": 1000})
	})
}

// TestDrawRace: the two requests about a call at once, many times: it is charged once or twice,
// and no lease is left but of a call that somebody may still end.
func TestDrawRace(t *testing.T) {
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		for k := range 20 {
			var all sync.WaitGroup
			for _, n := range []int64{100, 40} {
				all.Go(func() { w.draw(hitsAt(n, descriptor("account", "main", "request_id", name("r", k)))) })
			}
			all.Wait()
			if got := w.held("pool/main/gpt", "concurrency"); got != 0 {
				w.t.Fatalf("%d calls are in flight after both requests", got)
			}
			if got := w.held("pool/main/gpt", "requests/min"); got != 1 {
				w.t.Fatalf("%d requests are charged, want 1", got)
			}
			time.Sleep(2 * time.Minute)
		}
	})
}

// TestDrawDrain: a process that is about to end still decides what need not wait.
func TestDrawDrain(t *testing.T) {
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		w.server.Drain()
		if a := w.draw(hitsAt(100, descriptor("account", "main"))); a.OverallCode != isOK {
			w.t.Errorf("got %v", a)
		}
	})
}

// TestDrawReload: names of a configuration that was just put in force are known, those that it
// lost are not, and what was drawn is kept.
func TestDrawReload(t *testing.T) {
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		w.draw(hitsAt(4000, descriptor("project", "search", "request_id", "r", "account", "main")))
		w.draw(hitsAt(900, descriptor("request_id", "o")))
		w.reload(strings.NewReplacer("revision: 7", "revision: 8", "      spare:\n", "      young: {provider: openai, pools: {p: {models: [m], limits: {requests: 9/min}}}}\n      spare:\n", "projects:\n", "projects:\n      fresh: {limits: {tokens: 1k/min}}\n").Replace(drawnOn))
		w.draw(hitsAt(10, descriptor("project", "fresh")))
		w.wantHeld(map[string]int64{"organization tokens": 4910})
		w.draw(hitsAt(300, descriptor("request_id", "o")))
		w.wantHeld(map[string]int64{"organization tokens": 4310})
		if a := w.draw(hitsAt(4000, descriptor("project", "search"))); a.OverallCode != isOver {
			w.t.Errorf("got %v, want over: counters stay", a)
		}
		w.draw(hitsAt(500, descriptor("project", "search", "request_id", "r", "account", "main")))
		w.wantHeld(map[string]int64{"project/search tokens": 500, "pool/main/gpt tokens": 500})
	})
}

// TestDrawCounted: decisions count among those of workers; checks and ends do not.
func TestDrawCounted(t *testing.T) {
	inWorld(t, drawnOn, memory.Options{}, func(w *world) {
		w.draw(hitsAt(15_000, descriptor("account", "main", "request_id", "r", "phase", "request")))
		w.draw(hitsAt(15_000, descriptor("account", "main", "request_id", "r", "phase", "request")))
		w.draw(hitsAt(15_000, descriptor("account", "main")))
		w.draw(hitsAt(0, descriptor("account", "main")))
		w.draw(hitsAt(9000, descriptor("account", "main", "request_id", "r", "phase", "end")))
		of := func(decision, reason string) string {
			return `watermaster_decisions_total{decision="` + decision + `",organization="acme",priority_class="standard",reason="` + reason + `"}`
		}
		w.scrape().want(w.t, scrape{of("granted", ""): 1, of("granted", "again"): 1, of("rejected", "wait_too_long"): 1}, "watermaster_decisions_total")
	})
}
