package server

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// heldNow is held, with all that others have appended until now.
func (w *awayWorld) heldNow(scope, name string) int64 {
	w.t.Helper()
	w.organization().catchUp()
	return w.world.held(scope, name)
}

// TestDrawElsewhere: the requests about one call may go to different processes, at once after
// each other: what the one has not read yet of the other it finds out.
func TestDrawElsewhere(t *testing.T) {
	const pool = "pool/main/gpt"
	s := redistest.Start(t)
	a, b := newAwayWorldWithin(t, s, drawnOn, "", patience), newAwayWorldWithin(t, s, drawnOn, "", patience)
	type figures [3]int64
	holds := func() figures {
		return figures{b.heldNow(pool, "tokens/min"), b.heldNow(pool, "requests/min"), b.heldNow(pool, "concurrency")}
	}
	for i, tt := range []struct {
		name   string
		phases [2]string
	}{{"told by phase", [2]string{"request", "end"}}, {"told by nothing", [2]string{"", ""}}} {
		before := holds()
		by := func(n int64, phase string) []string {
			words := []string{"account", "main", "request_id", name("r", i)}
			if phase != "" {
				words = append(words, "phase", phase)
			}
			return words
		}
		for range 3 { // so that neither has been idle
			a.draw(hitsAt(0, descriptor("account", "main")))
			b.draw(hitsAt(0, descriptor("account", "main")))
		}
		a.draw(hitsAt(1000, descriptor(by(1000, tt.phases[0])...)))
		if i == 0 { // the first one once more, elsewhere
			b.draw(hitsAt(1000, descriptor(by(1000, tt.phases[0])...)))
			if got, want := holds(), (figures{before[0] + 1000, before[1] + 1, before[2] + 1}); got != want {
				t.Errorf("%s: the first request holds %v, want %v", tt.name, got, want)
			}
		}
		b.draw(hitsAt(300, descriptor(by(300, tt.phases[1])...)))
		if got, want := holds(), (figures{before[0] + 300, before[1] + 1, before[2]}); got != want {
			t.Errorf("%s: holds %v in the end, want %v", tt.name, got, want)
		}
	}

	// A worker's lease pays, wherever it was granted.
	for i, words := range []func(lease, request string) []string{
		func(lease, _ string) []string { return []string{"account", "main", "lease_id", lease} },
		func(_, request string) []string { return []string{"account", "main", "request_id", request} },
	} {
		id := name("w", i)
		g := a.grant(ask(id, func(r *pb.AcquireRequest) {
			r.Destination = &pb.AcquireRequest_Route{Route: "any"}
			r.Constraints = &pb.Constraints{Accounts: []string{"main"}}
		}))
		if answer := b.draw(hitsAt(100, descriptor(words(g.LeaseId, id)...))); answer.OverallCode != isOK {
			t.Errorf("got %v", answer)
		}
		if got, want := holds()[0], int64(600+200*(i+1)); got != want {
			t.Errorf("with a worker's lease %d tokens are held, want %d: it pays", got, want)
		}
	}
}

// TestDrawAway: while the log is away a gateway is told so at once, and nothing is granted alone.
func TestDrawAway(t *testing.T) {
	s := redistest.Start(t)
	yaml := strings.Replace(drawnOn, "margin: 0%\n        charge: {refund: true}", "margin: 20%\n        charge: {refund: true}\n        when_away: margin", 1)
	w := newAwayWorldOf(t, s, yaml, "")
	w.draw(hitsAt(100, descriptor("account", "main")))
	w.proxy.Point("127.0.0.1:1") // refuses
	ask := hitsAt(100, descriptor("account", "main", "request_id", "r"))
	_, err := w.shouldRateLimit("acme", ask)
	wantCode(t, err, codes.Unavailable)
	w.until("away", w.isAway)
	for _, d := range list(ask, hitsAt(0, descriptor("account", "main")), hitsAt(100, descriptor("account", "main"))) {
		start := time.Now()
		_, err := w.shouldRateLimit("acme", d)
		wantCode(t, err, codes.Unavailable)
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("it took %v to say so", took)
		}
	}
	w.proxy.Point(s.Address())
	w.until("back", func() bool { return !w.isAway() })
	if a := w.draw(hitsAt(100, descriptor("account", "main"))); a.OverallCode != isOK {
		t.Errorf("got %v", a)
	}
	if held := w.heldNow("pool/main/gpt", "tokens/min"); held < 200 || held > 300 {
		t.Errorf("%d tokens are held, want those of two calls, and maybe of one in doubt", held)
	}
}
