package redistest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

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
		s := Start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
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
