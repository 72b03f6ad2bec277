package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// Row 9. The master dies, and Sentinel makes its replica the master: with all of the log, and
// with the tail of it lost, which the replicas put back.
func TestSentinelFailover(t *testing.T) {
	heavy(t)
	for range figure(1, 25) {
		for _, row := range []struct {
			name string
			lag  time.Duration // by which the follower is behind
		}{{"nothing lost", 0}, {"the tail lost", 400 * time.Millisecond}} {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				first, second := redistest.Start(t), redistest.Start(t)
				redistest.Replicate(t, second, first)
				sentinel := redistest.StartSentinel(t, first)
				url := "redis+sentinel://" + sentinel.Address() + "/" + redistest.Master
				a, b := join(t, budget, url), join(t, budget, url)
				eventually(t, "the sentinel knows the follower", 15*time.Second, func() bool {
					list, err := admin(t, sentinel.Address()).Do(t.Context(), "sentinel", "replicas", redistest.Master).Slice()
					return err == nil && len(list) == 1
				})
				l := drive(t, a.address, b.address)
				l.granted(0, 5*time.Second)
				holder := acquire(t, ask("holder", "wide", time.Second), 2*time.Second, a.limiter)
				time.Sleep(2 * time.Second)
				if row.lag > 0 { // it hears nothing of its master any more
					must(t, admin(t, second.Address()).Do(t.Context(), "replicaof", "127.0.0.1", 1).Err())
					time.Sleep(row.lag)
				}
				tail := acquire(t, ask("in the tail", "wide", time.Second), 2*time.Second, b.limiter)
				killed := l.now()
				first.Kill()
				time.Sleep(500 * time.Millisecond)
				// when_away grants from the margin meanwhile: the failover is over when it is as before.
				gap := eventually(t, "grants go on as before", 15*time.Second, func() bool {
					return l.now() > killed+1500*time.Millisecond && l.rate(l.now()-500*time.Millisecond, l.now()) > 60
				})
				t.Logf("as before %v after the master died", gap+500*time.Millisecond)
				if gap > 5*time.Second {
					t.Errorf("the failover took %v, want 5s", gap)
				}
				if got := held(t, b.monitor, "wide", "concurrency"); got != 2 {
					t.Errorf("%d calls are held after the failover, want the two", got)
				}
				for _, g := range []string{holder.GetLeaseId(), tail.GetLeaseId()} {
					if _, err := release(t, g, time.Second, b.limiter); err != nil {
						t.Errorf("release of a lease from before the failover: %v", err)
					}
				}
				time.Sleep(2 * time.Second)
				l.end()
			})
		}
	}
}

// Row 10. A cluster of six: the master that has the organization dies, and its replica takes over.
func TestClusterFailover(t *testing.T) {
	heavy(t)
	for i := range figure(2, 50) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			clusterFailover(t)
		})
	}
}

func clusterFailover(t *testing.T) {
	masters := redistest.StartCluster(t, 3)
	redistest.StartReplicas(t, masters)
	var hosts []string
	for _, m := range masters {
		hosts = append(hosts, m.Address())
	}
	url := "redis+cluster://" + strings.Join(hosts, ",")
	a, b := join(t, budget, url), join(t, budget, url)
	l := drive(t, a.address, b.address)
	l.granted(0, 5*time.Second)
	time.Sleep(2 * time.Second)
	for _, m := range masters {
		if n, err := admin(t, m.Address()).Exists(t.Context(), "wm:{acme}:log").Result(); err != nil || n == 0 {
			continue // MOVED
		}
		killed := l.now()
		m.Kill()
		time.Sleep(500 * time.Millisecond)
		gap := eventually(t, "grants go on as before", 20*time.Second, func() bool {
			return l.now() > killed+2*time.Second && l.rate(l.now()-500*time.Millisecond, l.now()) > 60
		})
		t.Logf("as before %v after the master died", gap+500*time.Millisecond)
		if gap > 8*time.Second {
			t.Errorf("the failover took %v, want 8s", gap)
		}
		break
	}
	time.Sleep(2 * time.Second)
	l.end()
	for _, m := range []*member{a, b} {
		if strings.Contains(m.said.String(), "CROSSSLOT") {
			t.Error("keys of several slots were in one command")
		}
	}
}
