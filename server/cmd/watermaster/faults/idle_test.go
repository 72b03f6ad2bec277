package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// short forgets everything within seconds.
const short = `
cold_start: trust
organizations:
  acme:
    accounts:
      a:
        start_within: 150ms
        transit: 100ms
        pools: {p: {models: [m], limits: {requests: 300/2s, tokens: 100k/2s, concurrency: 40}}}
    routes: {smart: {targets: [{account: a, model: m}]}}
`

// immortal lists the keys without a TTL.
func immortal(t *testing.T, c *goredis.Client) (keys []string, all int) {
	t.Helper()
	list, err := c.Keys(t.Context(), "*").Result()
	must(t, err)
	for _, key := range list {
		ttl, err := c.PTTL(t.Context(), key).Result()
		must(t, err)
		if ttl == -1 {
			keys = append(keys, key)
		}
	}
	return keys, len(list)
}

// Every key has a TTL under load, but the marker; and once nobody calls, everything but the
// marker is gone after the longest window.
func TestIdle(t *testing.T) {
	heavy(t)
	s := redistest.Start(t)
	c := admin(t, s.Address())
	replicas := []*member{join(t, short, s.URL()), join(t, short, s.URL())}
	for i := range figure(200, 10_000) {
		m := replicas[i%2]
		g := acquire(t, ask(fmt.Sprint(i), "m", 5*time.Second), 6*time.Second, m.limiter)
		if g == nil {
			t.Fatal("no grant")
		}
		if _, err := release(t, g.LeaseId, time.Second, m.limiter); err != nil {
			t.Fatal(err)
		}
		if i%20 == 0 {
			if keys, all := immortal(t, c); len(keys) != 1 || strings.Contains(keys[0], "acme") || all < 3 {
				t.Errorf("of %d keys %v have no TTL, want the marker alone, and of the organization two at least", all, keys)
			}
		}
	}
	// The longest window is 2.25 s with what a call takes to leave.
	took := eventually(t, "only the marker is left", 8*time.Second, func() bool { _, all := immortal(t, c); return all == 1 })
	t.Logf("everything was gone after %v", took)
	if keys, _ := immortal(t, c); len(keys) != 1 || strings.Contains(keys[0], "acme") {
		t.Errorf("%v is left, want the marker", keys)
	}
	// It goes on after that.
	for i, m := range replicas {
		if acquire(t, ask(fmt.Sprint("later", i), "m", time.Second), 2*time.Second, m.limiter) == nil {
			t.Error("no grant after it was idle")
		}
	}
}

// The log and the snapshot stay bounded under load, however long it lasts, and so do connections.
func TestBounded(t *testing.T) {
	heavy(t)
	s := redistest.Start(t)
	c := admin(t, s.Address())
	a, b := join(t, short, s.URL()), join(t, short, s.URL())
	var most, entries, snapshot, clients int64
	stop := make(chan struct{})
	done := make(chan struct{})
	for w := range 16 {
		go func() {
			defer func() { done <- struct{}{} }()
			m := []*member{a, b}[w%2]
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				r := ask(fmt.Sprintf("%d-%d", w, i), "m", 0)
				g, err := m.limiter.Acquire(t.Context(), r)
				if status.Code(err) == codes.Unavailable { // the machine is busy with other tests
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if lease := g.GetGranted().GetLeaseId(); lease != "" {
					if _, err := release(t, lease, time.Second, m.limiter); err != nil {
						t.Error(err)
						return
					}
				}
			}
		}()
	}
	sent := int64(0)
	for end := time.Now().Add(figure(5*time.Second, 5*time.Minute)); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		size := func(key string) int64 {
			n, err := c.MemoryUsage(t.Context(), key, 0).Result()
			if err != nil && err != goredis.Nil {
				t.Fatal(err)
			}
			return n
		}
		most, snapshot = max(most, size("wm:{acme}:log")), max(snapshot, size("wm:{acme}:snap"))
		entries = max(entries, c.XLen(t.Context(), "wm:{acme}:log").Val())
		if info, err := c.XInfoStream(t.Context(), "wm:{acme}:log").Result(); err == nil {
			sent = info.EntriesAdded
		}
		list, err := c.ClientList(t.Context()).Result()
		must(t, err)
		clients = max(clients, int64(strings.Count(list, "\n")))
	}
	close(stop)
	for range 16 {
		<-done
	}
	t.Logf("%d entries were appended; at most %d entries of %d KB and a snapshot of %d KB; %d connections", sent, entries, most>>10, snapshot>>10, clients)
	// What is behind the latest snapshot, the former's tail, and as much again for a replica that lags.
	if bound := 5 * max(256<<10, snapshot); most > bound {
		t.Errorf("the log grew to %d KB with a snapshot of %d KB, want at most %d KB", most>>10, snapshot>>10, bound>>10)
	}
	if clients > 40 {
		t.Errorf("%d connections of two replicas", clients)
	}
}
