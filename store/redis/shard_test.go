package redis_test

import (
	"slices"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// TestShards: organizations are told to be where the cluster puts them.
func TestShards(t *testing.T) {
	nodes := redistest.StartCluster(t, 3)
	names := []string{"acme", "beta", "gamma", "with {braces} and spaces", ""}
	list, err := redis.Shards(t.Context(), "redis+cluster://"+nodes[1].Address(), redis.Options{}, names)
	must(t, err)
	c := goredis.NewClient(&goredis.Options{Addr: nodes[0].Address(), Protocol: 2})
	defer func() { _ = c.Close() }()
	slots, err := c.ClusterSlots(t.Context()).Result() //nolint:staticcheck // as the log does
	must(t, err)
	for i, s := range list {
		slot, err := c.ClusterKeySlot(t.Context(), s.Keys+"log").Result()
		must(t, err)
		at := slices.IndexFunc(slots, func(r goredis.ClusterSlot) bool { return int64(r.Start) <= slot && slot <= int64(r.End) })
		if s.Organization != names[i] || int64(s.Slot) != slot || s.Node != slots[at].Nodes[0].Addr {
			t.Errorf("got %+v, want the slot %d at %s", s, slot, slots[at].Nodes[0].Addr)
		}
	}
	alone := redistest.Start(t)
	list, err = redis.Shards(t.Context(), alone.URL(), redis.Options{}, names[:1])
	must(t, err)
	if want := (redis.Shard{Organization: "acme", Keys: "wm:{acme}:", Slot: -1}); len(list) != 1 || list[0] != want {
		t.Errorf("got %+v, want %+v", list, want)
	}
}
