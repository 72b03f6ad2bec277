package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
	"github.com/watermaster-project/watermaster/store/storetest"
)

func clusterURL(all []*redistest.Server) string {
	var hosts []string
	for _, s := range all {
		hosts = append(hosts, s.Address())
	}
	return "redis+cluster://" + strings.Join(hosts, ",")
}

// A cluster is held to the same rules; its organizations are on different nodes.
func TestCluster(t *testing.T) {
	all := redistest.StartCluster(t, 3)
	clock := newClock()
	peer := func(t *testing.T, _ store.Log) store.Log { return open(t, clusterURL(all), options(t, clock)) }
	flush := func(t *testing.T) {
		for _, s := range all {
			must(t, admin(t, s.Address()).FlushAll(t.Context()).Err())
		}
	}
	storetest.Test(t, storetest.Subject{
		Open: func(t *testing.T) store.Log {
			flush(t)
			return peer(t, nil)
		},
		Peer: peer,
		Reopen: func(t *testing.T, l store.Log) store.Log {
			must(t, l.(*redis.Log).Close())
			return peer(t, nil)
		},
		Lose: func(t *testing.T, _ store.Log, _ string) { flush(t) },
		Pass: clock.pass,
	})
}

// A master dies and its replica takes over: nothing lands there before a load, what was
// replicated is there, and organizations of the other masters lose nothing.
func TestClusterFailover(t *testing.T) {
	all := redistest.StartCluster(t, 3)
	l := open(t, clusterURL(all), options(t, newClock()))
	w := newWriter(t, l, 1)
	of := func(organization string) int { // its master
		for i, s := range all {
			if admin(t, s.Address()).Exists(t.Context(), "wm:{"+organization+"}:log").Val() == 1 {
				return i
			}
		}
		t.Fatalf("%s is nowhere", organization)
		return 0
	}
	other := ""
	for i := 0; other == "" || of(other) == of(acme); i++ {
		other = fmt.Sprint("other-", i)
		must(t, l.Create(t.Context(), other, store.Snapshot{}))
	}
	apart, _, err := l.Load(t.Context(), other)
	must(t, err)
	master := of(acme)
	replica := redistest.StartClusterReplica(t, all, master)
	w.append("x")
	must(t, admin(t, all[master].Address()).Do(t.Context(), "wait", 1, 5000).Err())
	former, at := w.load().History, w.at
	all[master].Kill()
	killed := time.Now()
	batch := w.batch("y")
	untilBroken(t, "Append at the new master", func() error { return w.try(batch) })
	t.Logf("the new master answered after %v", time.Since(killed))
	c := admin(t, replica.Address())
	last := c.XRevRangeN(t.Context(), "wm:{acme}:log", "+", "-", 1).Val()
	if want := fmt.Sprintf("%d-%d", at.Major, at.Minor); len(last) != 1 || last[0].ID != want {
		t.Errorf("the new master's log ends at %v before anybody has loaded it, want %s", last, want)
	}
	if w.load().History == former {
		t.Error("the new master's log has the History of the old")
	}
	w.append("goes on")
	if _, err = l.Append(t.Context(), other, apart.Position, store.Batch{}, nil); err != nil {
		wants(t, "Append elsewhere", err, store.ErrBroken)
	}
	if got, _, err := l.Load(t.Context(), other); err != nil || got.History != apart.History {
		t.Errorf("got History %x, %v at a master that lives; want %x as before", got.History, err, apart.History)
	}
}

// All keys of an organization, the marker included, are in one slot, and nudges reach
// processes that listen at other nodes. When a slot moves, its log moves with it: nothing is
// lost, and that another server answers is told.
func TestSlotMoves(t *testing.T) {
	all := redistest.StartCluster(t, 3)
	var clients []*goredis.Client
	for _, s := range all {
		clients = append(clients, admin(t, s.Address()))
	}
	ctx := t.Context()
	a := newWriter(t, open(t, clusterURL(all), options(t, newClock())), 1)
	b := newWriter(t, open(t, clusterURL(all[1:]), options(t, newClock())), 2)
	nudged(t, "somebody joined", a.log, acme)
	slot := clients[0].ClusterKeySlot(ctx, "{acme}").Val()
	from, keys := -1, []string(nil)
	for i, c := range clients {
		got, err := c.ClusterGetKeysInSlot(ctx, int(slot), 10).Result()
		must(t, err)
		if len(got) > 0 {
			from, keys = i, got
		}
	}
	if len(keys) != 3 {
		t.Fatalf("the organization's slot holds %v, want its two keys and the marker", keys)
	}

	to := (from + 1) % len(all)
	source, target := clients[from], clients[to]
	setslot := func(c *goredis.Client, what string, of *goredis.Client) {
		must(t, c.Do(ctx, "cluster", "setslot", slot, what, of.ClusterMyID(ctx).Val()).Err())
	}
	setslot(target, "importing", source)
	setslot(source, "migrating", target)
	a.append("while it is about to move")
	moving, told := a.batch("while it moves"), 0
	for _, key := range keys { // some of them are here, some there: it works or it does not
		must(t, source.Do(ctx, "migrate", "127.0.0.1", all[to].Port, key, 0, 5000).Err())
		if err := a.try(moving); errors.Is(err, store.ErrBroken) {
			told++
		}
	}
	setslot(target, "node", target)
	setslot(source, "node", target)

	before := b.had
	for _, w := range []*writer{a, b} {
		batch := moving
		if w == b {
			batch = w.batch("moved")
		}
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			err := w.try(batch)
			if err == nil {
				break
			}
			if errors.Is(err, store.ErrBroken) {
				told++
				w.load()
			}
		}
		w.append("goes on")
	}
	if told < 2 {
		t.Errorf("%d of two processes were told that another server answers", told)
	}
	b.read()
	for i, e := range before {
		if b.had[i].Position != e.Position || b.had[i].Time != e.Time {
			t.Fatalf("entry %d is %v, and was %v", i, b.had[i].Position, e.Position)
		}
	}
}
