package redistest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

var clusterArgs = []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000"}

// StartClusterReplica adds a replica of one of the masters of a cluster, and waits until
// all know it, so that it could take over.
func StartClusterReplica(t testing.TB, masters []*Server, of int) *Server {
	t.Helper()
	master := masters[of]
	s := Start(t, clusterArgs...)
	c := goredis.NewClient(&goredis.Options{Addr: s.Address(), Protocol: 2})
	m := goredis.NewClient(&goredis.Options{Addr: master.Address(), Protocol: 2})
	defer func() { _, _ = c.Close(), m.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.ClusterMeet(ctx, "127.0.0.1", fmt.Sprint(master.Port)).Err(); err != nil {
		t.Fatal(err)
	}
	id := m.ClusterMyID(ctx).Val()
	until := func(what string, done func() bool) {
		t.Helper()
		for !done() {
			if ctx.Err() != nil {
				t.Fatal(what)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	until("the replica does not join the cluster", func() bool { return c.ClusterReplicate(ctx, id).Err() == nil })
	until("the replica does not come up", func() bool {
		return strings.Contains(c.Info(ctx, "replication").Val(), "master_link_status:up") && strings.Contains(c.ClusterInfo(ctx).Val(), "cluster_state:ok")
	})
	for _, other := range masters {
		o := goredis.NewClient(&goredis.Options{Addr: other.Address(), Protocol: 2})
		until("the replica is not known", func() bool {
			for line := range strings.Lines(o.ClusterNodes(ctx).Val()) {
				if strings.Contains(line, s.Address()) && strings.Contains(line, "slave") && strings.Contains(line, " connected") {
					return true
				}
			}
			return false
		})
		_ = o.Close()
	}
	return s
}

// StartCluster starts a cluster of n masters, without replicas, and waits until it serves.
func StartCluster(t testing.TB, n int) []*Server {
	t.Helper()
	const slots = 16384
	var all []*Server
	var clients []*goredis.Client
	defer func() {
		for _, c := range clients {
			_ = c.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	do := func(c *goredis.Client, args ...any) {
		t.Helper()
		if err := c.Do(ctx, args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	for i := range n {
		s := Start(t, clusterArgs...)
		c := goredis.NewClient(&goredis.Options{Addr: s.Address(), Protocol: 2})
		all, clients = append(all, s), append(clients, c)
		do(c, "cluster", "set-config-epoch", i+1)
		do(c, "cluster", "addslotsrange", i*slots/n, (i+1)*slots/n-1)
	}
	for _, s := range all[1:] {
		do(clients[0], "cluster", "meet", "127.0.0.1", s.Port)
	}
	for _, c := range clients {
		for {
			info, err := c.ClusterInfo(ctx).Result()
			if err != nil {
				t.Fatalf("the cluster does not come up: %v", err)
			}
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", n)) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return all
}
