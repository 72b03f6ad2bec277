package redis

import (
	"context"
	"fmt"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// A Shard is where an organization's keys are.
type Shard struct {
	Organization string
	Keys         string // what their names begin with
	Slot         int    // of a cluster; −1: it is none
	Node         string // host:port of the slot's master; "": it has none, or there is no cluster
}

// Shards tells where the keys of organizations are, also of such as have none yet. The URL
// and the options are those of Open.
func Shards(ctx context.Context, url string, o Options, organizations []string) ([]Shard, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	a, err := parseAddress(url)
	if err != nil {
		return nil, err
	}
	u, err := a.options(&o)
	if err != nil {
		return nil, err
	}
	var masters []goredis.ClusterSlot
	if a.cluster {
		logging.Disable()
		c := goredis.NewClusterClient(u.Cluster())
		defer func() { _ = c.Close() }()
		limited, cancel := context.WithTimeout(ctx, longTimeouts*o.Timeout)
		defer cancel()
		if masters, err = c.ClusterSlots(limited).Result(); err != nil { //nolint:staticcheck // shards are not what a log's user may ask for
			return nil, fmt.Errorf("redis: ask for the cluster's slots: %w", err)
		}
	}
	list := make([]Shard, len(organizations))
	for i, organization := range organizations {
		tag := escape(organization)
		s := Shard{Organization: organization, Keys: "wm:{" + tag + "}:", Slot: -1}
		if a.cluster {
			s.Slot = int(slot(tag))
			for _, m := range masters {
				if m.Start <= s.Slot && s.Slot <= m.End && len(m.Nodes) > 0 {
					s.Node = m.Nodes[0].Addr
				}
			}
		}
		list[i] = s
	}
	return list, nil
}
