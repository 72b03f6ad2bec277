package server

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"google.golang.org/grpc"

	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// A cluster is servers over one store, each a process, and the Redis servers that have it.
type cluster struct {
	servers []*remote
	redis   []*goredis.Client
	conns   []*grpc.ClientConn // of all the servers, one after the other
	idle    float64            // µs that Redis uses in a second in which nobody calls
}

// startCluster starts so many servers over a store.
func startCluster(b *testing.B, o remoteOptions, servers, connections int, at []*redistest.Server) *cluster {
	b.Helper()
	c := &cluster{}
	o.Speed = benchSpeed
	for range servers {
		c.servers = append(c.servers, startRemote(b, o, connections/servers+1))
	}
	time.Sleep(time.Second) // each has joined, and read that the others have
	for _, r := range c.servers {
		r.hurry()
	}
	for i := range connections {
		r := c.servers[i%servers]
		c.conns = append(c.conns, r.conns[i/servers])
	}
	for _, s := range at {
		r := goredis.NewClient(&goredis.Options{Addr: s.Address(), Protocol: 2})
		b.Cleanup(func() { _ = r.Close() })
		c.redis = append(c.redis, r)
	}
	before, start := c.spent(b), time.Now()
	time.Sleep(2 * time.Second)
	c.idle = (c.spent(b).redis - before.redis) / time.Since(start).Seconds()
	return c
}

// A cost is what has been spent for each call. What Redis uses while it is idle, which in a
// cluster is not little and depends on how many there are, is not of it.
type cost struct{ server, redis, batches float64 } // µs, µs, 1

func (c cost) all() float64 { return c.server + c.redis }

// spent gives what all have used, and how many entries there are in their logs.
func (c *cluster) spent(b *testing.B) (sum cost) {
	b.Helper()
	for _, r := range c.servers {
		sum.server += float64(r.figures(false).CPU)
	}
	for _, r := range c.redis {
		sum.redis += redisCPU(b, r)
		stats := r.Info(b.Context(), "commandstats").Val()
		_, after, _ := strings.Cut(stats, "cmdstat_xadd:calls=")
		calls, _, _ := strings.Cut(after, ",")
		n, _ := strconv.Atoi(calls) // none: nothing has been appended there
		sum.batches += float64(n)
	}
	return sum
}

// redisCPU gives the µs that a Redis server's process has used.
func redisCPU(b *testing.B, c *goredis.Client) (sum float64) {
	b.Helper()
	info, err := c.Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			sum += seconds * 1e6
		}
	}
	return sum
}

// load makes n calls, so many at a time, and tells what each has cost and how long they took,
// sorted.
func (c *cluster) load(b *testing.B, n, inFlight int, call callFunc) (each cost, took []time.Duration) {
	took = make([]time.Duration, n)
	before, begun := c.spent(b), time.Now()
	keepInFlight(b, c.conns, n, inFlight, func(conn *grpc.ClientConn, i int64) error {
		start := time.Now()
		err := call(conn, i)
		took[i-1] = time.Since(start)
		return err
	})
	after, calls := c.spent(b), float64(n)
	redis := after.redis - before.redis - c.idle*time.Since(begun).Seconds()
	slices.Sort(took)
	return cost{(after.server - before.server) / calls, redis / calls, (after.batches - before.batches) / calls}, took
}

// organizationsOf is a configuration of so many organizations like that of benched.
func organizationsOf(n int) (config string, names []string) {
	head, one, _ := strings.Cut(benched, "  acme:\n")
	for i := range n {
		names = append(names, fmt.Sprintf("acme-%d", i))
		head += fmt.Sprintf("  acme-%d:\n%s", i, one)
	}
	return head, names
}

// BenchmarkServerOverRedis measures what a call costs the servers and Redis together, where the
// log is in Redis, as BenchmarkServer does. What is to be reached, of one server: 1.9 times an
// empty call for each decision of an Acquire and its Release. So is how long an Acquire takes,
// alone and with 64 in flight, beside an empty call.
func BenchmarkServerOverRedis(b *testing.B) {
	for _, servers := range []int{1, 3} {
		b.Run(fmt.Sprintf("servers=%d", servers), func(b *testing.B) {
			at := redistest.Start(b)
			config, names := organizationsOf(1)
			benchCluster(b, startCluster(b, remoteOptions{Config: config, Store: at.URL()}, servers, 64, []*redistest.Server{at}), names)
		})
	}
}

// BenchmarkShards measures the same of one server with twelve organizations in a Redis Cluster
// of one shard and of six: what a call costs must not depend on it.
func BenchmarkShards(b *testing.B) {
	for _, shards := range []int{1, 6} {
		b.Run(fmt.Sprintf("shards=%d", shards), func(b *testing.B) {
			at := redistest.StartCluster(b, shards)
			url := "redis+cluster://" + at[0].Address()
			config, names := organizationsOf(12)
			benchCluster(b, startCluster(b, remoteOptions{Config: config, Store: url}, 1, 64, at), names)
		})
	}
}

func benchCluster(b *testing.B, c *cluster, organizations []string) {
	const round, few = 10_000, 1000
	single := len(c.redis) == 1 && len(organizations) == 1
	f := newFleet(b, round, organizations...)
	c.load(b, round, 64, f.empty)
	for range 2 {
		c.load(b, round, 64, f.both)
	}
	figures := map[string][]float64{}
	note := func(name string, value float64) { figures[name] = append(figures[name], value) }
	latency := func(name string, took []time.Duration) {
		note(name+"-p50-µs", float64(took[len(took)/2])/1e3)
		note(name+"-p99-µs", float64(took[len(took)*99/100])/1e3)
	}
	for b.Loop() {
		_, emptyAlone := c.load(b, few, 1, f.empty)
		_, alone := c.load(b, few, 1, f.acquire)
		c.load(b, few, 64, f.settle)
		empty, emptyTook := c.load(b, round, 64, f.empty)
		acquire, took := c.load(b, round, 64, f.acquire)
		c.load(b, round, 64, f.settle)
		pair, _ := c.load(b, round, 64, f.both)
		if single {
			least, _ := c.load(b, round, 64, f.floor)
			note("floor-µs", least.all())
			note("floor/empty", least.all()/empty.server)
		}

		note("empty-µs", empty.server)
		note("acquire-µs", acquire.all())
		note("decision-µs", pair.all()/2)
		note("redis-µs", pair.redis/2)
		note("acquire/empty", acquire.all()/empty.server)
		note("decision/empty", pair.all()/2/empty.server)
		note("calls/batch", 2/pair.batches)
		latency("empty@1", emptyAlone)
		latency("acquire@1", alone)
		latency("empty@64", emptyTook)
		latency("acquire@64", took)
	}
	b.ReportMetric(c.idle, "redis-idle-µs/s")
	for name, list := range figures {
		b.ReportMetric(median(list), name)
	}
}
