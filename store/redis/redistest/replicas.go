package redistest

import (
	"context"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Replicate makes a server the replica of another, and waits until it has everything.
func Replicate(t testing.TB, s, of *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := goredis.NewClient(&goredis.Options{Addr: s.Address(), Protocol: 2})
	defer func() { _ = c.Close() }()
	if err := c.Do(ctx, "replicaof", "127.0.0.1", of.Port).Err(); err != nil {
		t.Fatal(err)
	}
	follow(ctx, t, c)
}

// StartReplicas gives each master of a cluster a replica, and waits until they have everything.
func StartReplicas(t testing.TB, masters []*Server) (all []*Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, m := range masters {
		all = append(all, startReplica(ctx, t, m))
	}
	return all
}

// startReplica gives a master of a cluster a replica.
func startReplica(ctx context.Context, t testing.TB, m *Server) *Server {
	t.Helper()
	s := Start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-allow-replica-migration", "no")
	master, c := goredis.NewClient(&goredis.Options{Addr: m.Address(), Protocol: 2}), goredis.NewClient(&goredis.Options{Addr: s.Address(), Protocol: 2})
	defer func() { _, _ = master.Close(), c.Close() }()
	id, err := master.Do(ctx, "cluster", "myid").Text()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Do(ctx, "cluster", "meet", "127.0.0.1", m.Port).Err(); err != nil {
		t.Fatal(err)
	}
	// It has to hear of the master first.
	for err = c.Do(ctx, "cluster", "replicate", id).Err(); err != nil; err = c.Do(ctx, "cluster", "replicate", id).Err() {
		if ctx.Err() != nil {
			t.Fatalf("the replica does not come up: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	follow(ctx, t, c)
	return s
}

// follow waits until a replica has what its master has.
func follow(ctx context.Context, t testing.TB, c *goredis.Client) {
	t.Helper()
	for {
		info, err := c.Info(ctx, "replication").Result()
		if err == nil && strings.Contains(info, "master_link_status:up") {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the replica does not come up: %v\n%s", err, info)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
