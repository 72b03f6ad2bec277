package envoy

import (
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// Where the service cannot decide, Envoy does as it is told, both ways: the service is gone, or Redis is, and
// then the service says so in bounded time. When they are back all is as before.
func TestFailureModes(t *testing.T) {
	heavy(t)
	for _, row := range []struct {
		config string
		want   int // without a decision
	}{
		{"allow.yaml", 200},
		{"deny.yaml", 503},
	} {
		t.Run(row.config, func(t *testing.T) {
			t.Parallel()
			p := startProvider(t)
			ask := func(g *gateway, user string) (status int, took time.Duration) {
				start := time.Now()
				a, _, err := g.post(t.Context(), chatPath, chatBody, "x-user", user)
				must(t, err)
				return a.StatusCode, time.Since(start)
			}

			t.Run("the service is gone", func(t *testing.T) {
				s := startService(t)
				g := startGateway(t, row.config, s.grpc, p)
				if got, _ := ask(g, "ann"); got != 200 {
					t.Errorf("status %d before, want 200", got)
				}
				s.end()
				for range 5 { // of which 3 would pass
					if got, took := ask(g, "bob"); got != row.want || took > time.Second {
						t.Errorf("status %d after %v, want %d", got, took, row.want)
					}
				}
			})

			t.Run("Redis is gone", func(t *testing.T) {
				r := redistest.Start(t)
				s := startService(t, "--store", r.URL())
				g := startGateway(t, row.config, s.grpc, p)
				eventually(t, "a request passes", func() bool { got, _ := ask(g, "ann"); return got == 200 })
				r.Kill()
				for range 5 {
					if got, took := ask(g, "bob"); got != row.want || took > time.Second {
						t.Errorf("status %d after %v, want %d", got, took, row.want)
					}
				}
				r.Restart()
				eventually(t, "limits are held to again", func() bool { // all over the limit, not for want of a decision
					counts := map[int]int{}
					for range 5 {
						got, _ := ask(g, "cid")
						counts[got]++
					}
					return counts[429] >= 2
				})
			})
		})
	}
}
