package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// Examine looks whether a Redis is what a log needs, and says what to change. The URL and
// the options are those of Open. It takes some hundred ms, more where much is slow; it
// writes only to keys of its own, wm:{check-…}:…, and removes them. That Redis cannot be
// reached is a finding; an error says that the URL or the options cannot be used.
func Examine(ctx context.Context, url string, o Options) (Report, error) {
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
	logging.Disable()
	e := &examiner{address: a, timeout: o.Timeout, login: u.Username != "" || u.Password != "", random: o.Random}
	switch {
	case a.cluster:
		e.cluster(ctx, u)
	case a.master != "":
		e.sentinels(ctx, u)
		c := goredis.NewFailoverClient(u.Failover())
		e.server(ctx, "the master", c)
		_ = c.Close()
	default:
		c := goredis.NewClient(u.Simple())
		e.server(ctx, a.hosts[0], c)
		_ = c.Close()
	}
	return e.report, nil
}

// An examiner looks at one server after the other.
type examiner struct {
	address address
	timeout time.Duration
	login   bool // there is a user or password
	random  func() uint64
	report  Report

	// Of the server that is looked at.
	where  string
	redis  *goredis.Client
	info   string
	config map[string]string // nil: it may not be read
}

func (e *examiner) say(level Level, what, found, change string) {
	e.report.add(Finding{Level: level, What: what, Found: found, Change: change, Where: e.where})
}

// server looks at one.
func (e *examiner) server(ctx context.Context, where string, c *goredis.Client) {
	e.where, e.redis, e.config = where, c, nil
	if !e.reach(ctx) {
		return
	}
	info, err := c.Info(ctx, "everything").Result()
	if err != nil {
		e.say(Fail, "permissions", "INFO is refused: "+err.Error(), "ACL SETUSER "+e.user(ctx)+" "+MinimalACL)
		return
	}
	e.info = info
	e.version()
	if !e.mode() {
		return
	}
	e.readConfig(ctx)
	first := e.readClock(ctx)
	master := e.role()
	e.memory()
	e.persistence()
	e.replicas()
	if master {
		e.permissions(ctx)
	}
	e.connections()
	e.latency(ctx)
	e.clock(ctx, first)
	e.keys(ctx)
}

// reach sees whether it answers, and over what.
func (e *examiner) reach(ctx context.Context) bool {
	if err := e.redis.Ping(ctx).Err(); err != nil && !goredis.HasErrorPrefix(err, "MISCONF") { // of which more below
		change := cmp.Or(advice(err), "check the address, that the server runs, that its bind and the firewall let us in, "+
			"and the URL's scheme: rediss where the port speaks TLS, redis where it does not")
		e.say(Fail, "reachable", err.Error(), change)
		return false
	}
	e.say(OK, "reachable", "it answers", "")
	local := true
	for _, host := range e.address.hosts {
		host, _, _ = net.SplitHostPort(host)
		ip := net.ParseIP(host)
		local = local && (host == "localhost" || ip != nil && ip.IsLoopback())
	}
	exposed := Warn
	if local {
		exposed = Note
	}
	if e.address.tls {
		e.say(OK, "TLS", "yes", "")
	} else {
		e.say(exposed, "TLS", "no: what is sent can be read and changed on the way",
			"tls-port 6379 and port 0 with tls-cert-file, tls-key-file and tls-ca-cert-file in redis.conf, and rediss in the URL")
	}
	if e.login {
		e.say(OK, "password", "yes", "")
	} else {
		e.say(exposed, "password", "none: who reaches the server can change every budget",
			"ACL SETUSER watermaster on >PASSWORD "+MinimalACL+"; then user and password in the URL or the options")
	}
	return true
}

func (e *examiner) version() {
	version, name := infoField(e.info, "redis_version"), "Redis"
	found := name + " " + version
	if other := infoField(e.info, "valkey_version"); other != "" {
		found = "Valkey " + other + " (compatible with Redis " + version + ")"
	}
	if major, _, _ := strings.Cut(version, "."); atoi(major) < 7 {
		e.say(Fail, "version", found, "upgrade to Redis 7.0 or later, or a Valkey: earlier ones are not tested")
		return
	}
	e.say(OK, "version", found, "")
}

// mode sees whether the URL speaks of what is there.
func (e *examiner) mode() bool {
	mode := infoField(e.info, "redis_mode")
	switch {
	case mode == "sentinel":
		e.say(Fail, "mode", "this is a sentinel", "redis+sentinel://HOST:PORT,…/MASTER as URL")
		return false
	case mode == "cluster" && !e.address.cluster:
		e.say(Fail, "mode", "this is a node of a cluster", "redis+cluster://HOST:PORT,… as URL")
		return false
	case e.address.master != "":
		e.say(OK, "mode", "behind sentinels", "")
	default:
		e.say(OK, "mode", mode, "")
	}
	return true
}

func (e *examiner) role() (master bool) {
	if infoField(e.info, "role") != "master" {
		e.say(Fail, "role", "a replica of "+infoField(e.info, "master_host")+":"+infoField(e.info, "master_port"),
			"name its master in the URL, or use redis+sentinel or redis+cluster, which find it")
		return false
	}
	e.say(OK, "role", "master", "")
	return true
}

// cluster looks at a cluster and at each of its masters.
func (e *examiner) cluster(ctx context.Context, u *goredis.UniversalOptions) {
	c := goredis.NewClusterClient(u.Cluster())
	defer func() { _ = c.Close() }()
	var mu sync.Mutex
	var masters []*goredis.Client
	err := c.ForEachMaster(ctx, func(_ context.Context, each *goredis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters = append(masters, each)
		return nil
	})
	switch {
	case err != nil && strings.Contains(err.Error(), "cluster support disabled"):
		e.say(Fail, "mode", "this is no cluster", "redis://HOST:PORT as URL, or cluster-enabled yes in redis.conf")
		return
	case err != nil || len(masters) == 0:
		e.say(Fail, "reachable", fmt.Sprint("no node gives the cluster's slots: ", err), cmp.Or(advice(err), "check the addresses, and that one of the nodes runs"))
		return
	}
	slices.SortFunc(masters, func(a, b *goredis.Client) int { return cmp.Compare(a.Options().Addr, b.Options().Addr) })
	for _, each := range masters { // they may not agree
		e.where = each.Options().Addr
		info, err := each.ClusterInfo(ctx).Result()
		switch {
		case goredis.IsPermissionError(err):
			e.say(Note, "cluster", "unknown: CLUSTER INFO is not permitted", "+cluster|info for the user shows it")
		case err != nil: // it is told that it cannot be reached
		case infoField(info, "cluster_state") != "ok":
			e.say(Fail, "cluster", "cluster_state is "+infoField(info, "cluster_state")+", "+infoField(info, "cluster_slots_ok")+" of 16384 slots are served",
				"redis-cli --cluster check HOST:PORT says which, and redis-cli --cluster fix mends it")
		default:
			e.say(OK, "cluster", fmt.Sprintf("cluster_state is ok, %d masters", len(masters)), "")
		}
	}
	for _, each := range masters {
		e.server(ctx, each.Options().Addr, each)
	}
}

// sentinels looks at them.
func (e *examiner) sentinels(ctx context.Context, u *goredis.UniversalOptions) {
	for _, host := range e.address.hosts {
		simple := *u.Simple()
		simple.Addr, simple.Username, simple.Password, simple.DB = host, "", "", 0
		c := goredis.NewSentinelClient(&simple)
		e.where = host
		master, err := c.Master(ctx, e.address.master).Result()
		_ = c.Close()
		if err != nil {
			change := "check the address, and that a sentinel runs there"
			if strings.Contains(err.Error(), "No such master") {
				change = "SENTINEL MASTERS lists the names that it knows: the URL's path has to be one of them"
			}
			e.say(Fail, "sentinel", err.Error(), change)
			continue
		}
		others, quorum := atoi(master["num-other-sentinels"]), atoi(master["quorum"])
		found := fmt.Sprintf("%d sentinels, quorum %d, %s replicas; a master is given up after %s ms",
			others+1, quorum, master["num-slaves"], master["down-after-milliseconds"])
		switch {
		case others+1 < 3:
			e.say(Warn, "sentinel", found, "at least three sentinels on three machines: fewer cannot tell a dead master from a cut network")
		case quorum <= (others+1)/2:
			e.say(Warn, "sentinel", found, fmt.Sprintf("SENTINEL SET %s quorum %d: more than half", e.address.master, (others+1)/2+1))
		default:
			e.say(OK, "sentinel", found, "")
		}
	}
}

// latency sends some pings.
func (e *examiner) latency(ctx context.Context) {
	const pings = 20
	var took []time.Duration
	for range pings {
		start := time.Now()
		var said goredis.Error // that is an answer too
		if err := e.redis.Ping(ctx).Err(); err != nil && !errors.As(err, &said) {
			e.say(Fail, "latency", "a ping was not answered: "+err.Error(), "look at the network between us, and at SLOWLOG GET")
			return
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	least, median, most := took[0], took[pings/2], took[pings-1]
	found := fmt.Sprintf("min %v, median %v, max %v of %d pings", least.Round(time.Microsecond), median.Round(time.Microsecond), most.Round(time.Microsecond), pings)
	switch {
	case median > e.timeout/4 || most > e.timeout:
		e.say(Warn, "latency", found, fmt.Sprintf("a server nearer by: every decision waits for it, and after %v counts as away; redis-cli --latency-history and LATENCY DOCTOR show more", e.timeout))
	default:
		e.say(OK, "latency", found, "")
	}
}

// An instant is the server's clock and ours.
type instant struct{ theirs, ours time.Time }

func (e *examiner) readClock(ctx context.Context) (i instant) {
	before := time.Now()
	theirs, err := e.redis.Time(ctx).Result()
	if err == nil {
		i = instant{theirs, before.Add(time.Since(before) / 2)}
	}
	return i
}

// clock compares two readings.
func (e *examiner) clock(ctx context.Context, first instant) {
	const apart = 200 * time.Millisecond
	wait(ctx, apart-time.Since(first.ours), nil)
	second := e.readClock(ctx)
	if first.ours.IsZero() || second.ours.IsZero() {
		e.say(Note, "clock", "unknown: TIME is not answered", "")
		return
	}
	const change = "run an NTP client on the server; until then log time goes by the replicas' clocks, and more slowly when all of them start anew"
	off, passed, ours := second.theirs.Sub(second.ours), second.theirs.Sub(first.theirs), second.ours.Sub(first.ours)
	found := fmt.Sprintf("%+.3f s from ours", off.Seconds())
	switch {
	case passed <= 0:
		e.say(Warn, "clock", found+", and it stands", change)
	case (passed - ours).Abs() > ours/2+50*time.Millisecond:
		e.say(Warn, "clock", fmt.Sprintf("%s, and it went on by %v in %v", found, passed.Round(time.Millisecond), ours.Round(time.Millisecond)), change)
	case off.Abs() > time.Second:
		e.say(Warn, "clock", found, change)
	default:
		e.say(OK, "clock", found, "")
	}
}

// keys counts ours.
func (e *examiner) keys(ctx context.Context) {
	const rounds, within = 200, 2 * time.Second
	organizations, endless, cursor, start := 0, []string(nil), uint64(0), time.Now()
	most := "" // it may be more
	for round := 0; ; round++ {
		names, next, err := e.redis.Scan(ctx, cursor, "wm:*", 1000).Result()
		if err != nil {
			e.say(Note, "keys", "unknown: SCAN is refused", "")
			return
		}
		pipe := e.redis.Pipeline()
		ttls := make([]*goredis.DurationCmd, len(names))
		for i, name := range names {
			ttls[i] = pipe.PTTL(ctx, name)
		}
		if len(names) > 0 {
			if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, goredis.Nil) {
				e.say(Note, "keys", "unknown: PTTL is refused", "")
				return
			}
		}
		for i, name := range names {
			if strings.HasSuffix(name, ":snap") {
				organizations++
			}
			if ttls[i].Val() == -1 && !strings.HasPrefix(name, "wm:marker") {
				endless = append(endless, name)
			}
		}
		if cursor = next; cursor == 0 {
			break
		}
		if round == rounds || time.Since(start) > within {
			most = " or more"
			break
		}
	}
	found := fmt.Sprintf("%d organizations%s", organizations, most)
	if len(endless) > 0 {
		e.say(Note, "keys", fmt.Sprintf("%s; %d keys never expire, %s is one", found, len(endless), endless[0]),
			"nothing, if the organization has a limit without a window (a stock); else PEXPIRE it")
		return
	}
	e.say(OK, "keys", found, "")
}

func atoi(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}
