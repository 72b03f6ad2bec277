package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// examine examines, and logs what was found.
func examine(t *testing.T, url string, o redis.Options) redis.Report {
	t.Helper()
	r, err := redis.Examine(t.Context(), url, o)
	must(t, err)
	for _, f := range r {
		t.Logf("%-5v %-20s %s [%s] → %s", f.Level, f.What, f.Found, f.Where, f.Change)
		if (f.Level == redis.Warn || f.Level == redis.Fail) && f.Change == "" {
			t.Errorf("%s: it does not say what to change", f.What)
		}
	}
	return r
}

// has checks that a finding is there: its level, what was looked at, and a part of what was
// found and of what is to be changed.
func has(t *testing.T, r redis.Report, level redis.Level, what, found, change string) {
	t.Helper()
	for _, f := range r {
		if f.Level == level && f.What == what && strings.Contains(f.Found, found) && strings.Contains(f.Change, change) {
			return
		}
	}
	t.Errorf("there is no finding %v %s with %q and %q", level, what, found, change)
}

// nothingLeft sees that the examination removed its keys.
func nothingLeft(t *testing.T, s *redistest.Server) {
	t.Helper()
	if names := admin(t, s.Address()).Keys(t.Context(), "*").Val(); len(names) != 0 {
		t.Errorf("it left %v", names)
	}
}

// allow makes a user, whose password is secret.
func allow(t *testing.T, c *goredis.Client, name, acl string) {
	t.Helper()
	args := []any{"acl", "setuser", name, "reset", "on", ">secret"}
	for _, word := range strings.Fields(acl) {
		args = append(args, word)
	}
	must(t, c.Do(t.Context(), args...).Err())
}

func TestExamineGood(t *testing.T) {
	s := redistest.Start(t, "--maxmemory", "100mb")
	allow(t, admin(t, s.Address()), "watermaster", redis.MinimalACL+" +config|get +acl|whoami +scan +pttl")
	o := options(t, newClock())
	o.User, o.Password = "watermaster", "secret"
	r := examine(t, s.URL(), o)
	if got := r.Worst(); got != redis.Note { // no TLS, no replica
		t.Errorf("the worst is %v", got)
	}
	for _, what := range []string{
		"reachable", "password", "version", "mode", "role", "maxmemory-policy", "maxmemory", "persistence", "permissions",
		"maxclients", "timeout", "tcp-keepalive", "client-output-buffer-limit", "latency", "clock", "keys",
	} {
		has(t, r, redis.OK, what, "", "")
	}
}

func TestExamineBadSettings(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "no", "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru", "--timeout", "5",
		"--tcp-keepalive", "0", "--client-output-buffer-limit", "pubsub 100kb 10kb 10")
	must(t, admin(t, s.Address()).Set(t.Context(), "wm:{x}:log", "x", 0).Err())
	o := options(t, newClock())
	r := examine(t, s.URL(), o)
	has(t, r, redis.Fail, "maxmemory-policy", "allkeys-lru", `CONFIG SET maxmemory-policy "noeviction"`)
	has(t, r, redis.Warn, "persistence", "none", `CONFIG SET appendonly "yes"`)
	has(t, r, redis.Warn, "timeout", "5 s", `timeout 0`)
	has(t, r, redis.Note, "tcp-keepalive", "0", "tcp-keepalive 60")
	has(t, r, redis.Warn, "client-output-buffer-limit", "pubsub 102400 10240", "pubsub 32mb 8mb 60")
	has(t, r, redis.Note, "TLS", "no", "tls-port")
	has(t, r, redis.Note, "password", "none", "ACL SETUSER watermaster on >PASSWORD "+redis.MinimalACL)
	has(t, r, redis.Note, "keys", "1 keys never expire", "PEXPIRE")
	if r.Worst() != redis.Fail {
		t.Errorf("the worst is %v", r.Worst())
	}

	c := admin(t, s.Address())
	for _, row := range []struct {
		name, value, what, found string
		level                    redis.Level
	}{
		{"maxmemory", "0", "maxmemory-policy", "allkeys-lru", redis.Warn},
		{"save", "60 1", "persistence", "snapshots only (save 60 1)", redis.Warn},
		{"appendonly", "yes", "persistence", "everysec", redis.OK},
		{"appendfsync", "no", "persistence", "appendfsync no", redis.Warn},
		{"appendfsync", "always", "persistence", "appendfsync always", redis.Note},
		{"maxmemory", "1", "commands", "OOM", redis.Fail},
	} {
		must(t, c.ConfigSet(t.Context(), row.name, row.value).Err())
		for end := time.Now().Add(10 * time.Second); strings.Contains(c.Info(t.Context(), "persistence").Val(), "in_progress:1") && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
		has(t, examine(t, s.URL(), o), row.level, row.what, row.found, "")
	}
}

// A user who may too little is told what; one who may only what is needed is enough.
func TestExaminePermissions(t *testing.T) {
	s := redistest.Start(t)
	c := admin(t, s.Address())
	o := options(t, newClock())
	o.User, o.Password = "someone", "secret"
	for _, row := range []struct{ acl, denied string }{
		{"~wm:* &wm:* +@all -xadd -eval", "xadd, eval"},
		{"~other:* &wm:* +@all", "xadd, pexpire, persist"},
		{"~wm:{* &wm:* +@all", "eval"}, // the marker
		{"~wm:* resetchannels &other +@all", "publish, subscribe"},
		{"~wm:* &wm:* +@all -client|setname", "client|setname"},
	} {
		allow(t, c, "someone", row.acl)
		r := examine(t, s.URL(), o)
		has(t, r, redis.Fail, "permissions", "may not, on keys and channels wm:*: "+row.denied, "ACL SETUSER someone "+redis.MinimalACL)
	}
	nothingLeft(t, s)
}

// The minimal ACL suffices for everything that a log does, and each of its words is needed.
func TestMinimalACL(t *testing.T) {
	s := redistest.Start(t)
	c := admin(t, s.Address())
	o := options(t, newClock())
	o.User, o.Password = "watermaster", "secret"
	allow(t, c, "watermaster", redis.MinimalACL)
	a, b := newWriter(t, open(t, s.URL(), o), 1), newWriter(t, open(t, s.URL(), o), 2)
	nudged(t, "joined", a.log, acme)
	a.append("x")
	a.hold = 0
	a.append("for ever")
	must(t, a.log.Install(t.Context(), acme, store.Snapshot{Position: a.at, State: []byte("state")}))
	must(t, a.log.Show(t.Context(), acme, map[string]string{"x": "y"}))
	_, err := a.log.Size(t.Context(), acme)
	must(t, err)
	must(t, b.log.Nudge(t.Context(), acme, 1))
	nudged(t, "nudge", a.log, acme)
	b.load()

	r := examine(t, s.URL(), o)
	has(t, r, redis.OK, "permissions", "", "")
	has(t, r, redis.Note, "connections", "unknown: CONFIG GET is not permitted", "ask your provider")
	has(t, r, redis.Note, "keys", "unknown", "")

	var all sync.WaitGroup
	for i, word := range strings.Fields(redis.MinimalACL) {
		switch word {
		case "resetkeys", "resetchannels", "-@all", // they take away
			"+select", "+cluster|slots", "+asking": // another database, a cluster
			continue
		}
		each := o
		each.User = fmt.Sprint("without-", i)
		allow(t, c, each.User, strings.Replace(redis.MinimalACL+" ", word+" ", "", 1))
		all.Go(func() {
			if got, err := redis.Examine(t.Context(), s.URL(), each); err != nil || got.Worst() != redis.Fail {
				t.Errorf("without %s nothing is missing; %v", word, err)
			}
		})
	}
	all.Wait()
}

// In a cluster, or another database, it suffices as well.
func TestMinimalACLElsewhere(t *testing.T) {
	all := redistest.StartCluster(t, 3)
	for _, s := range all {
		allow(t, admin(t, s.Address()), "watermaster", redis.MinimalACL)
		must(t, admin(t, s.Address()).Do(t.Context(), "acl", "setuser", "default", "-xadd", "-eval").Err())
	}
	single := redistest.Start(t)
	allow(t, admin(t, single.Address()), "watermaster", redis.MinimalACL)
	o := options(t, newClock())
	o.User, o.Password = "watermaster", "secret"
	for _, url := range []string{clusterURL(all), single.URL() + "/3"} {
		w := newWriter(t, open(t, url, o), 1)
		other := newWriter(t, open(t, url, o), 2)
		nudged(t, "joined", w.log, acme)
		other.append("x")
		must(t, other.log.Install(t.Context(), acme, store.Snapshot{Position: other.at, State: []byte("state")}))
		_, err := w.log.Size(t.Context(), acme)
		must(t, err)
		has(t, examine(t, url, o), redis.OK, "permissions", "", "")
	}
}

func TestExamineReplica(t *testing.T) {
	first, second := redistest.Start(t), redistest.Start(t)
	replicate(t, admin(t, second.Address()), first)
	o := options(t, newClock())
	has(t, examine(t, second.URL(), o), redis.Fail, "role", "a replica of 127.0.0.1:"+fmt.Sprint(first.Port), "redis+sentinel")
	r := examine(t, first.URL(), o)
	has(t, r, redis.OK, "replicas", "1", "")
	has(t, r, redis.Note, "min-replicas-to-write", "0", `CONFIG SET min-replicas-to-write "1"`)
	if _, err := redis.Open(t.Context(), second.URL(), o); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "a replica") {
		t.Errorf("Open of a replica: got %v", err)
	}
}

func TestExamineSentinel(t *testing.T) {
	first, second := redistest.Start(t), redistest.Start(t)
	replicate(t, admin(t, second.Address()), first)
	sentinel := redistest.StartSentinel(t, first)
	url := "redis+sentinel://" + sentinel.Address() + "/"
	o := options(t, newClock())
	r := examine(t, url+redistest.Master, o)
	has(t, r, redis.Warn, "sentinel", "1 sentinels, quorum 1", "at least three")
	has(t, r, redis.Warn, "min-replicas-to-write", "0", "min-replicas-max-lag")
	has(t, r, redis.OK, "permissions", "", "")
	c := admin(t, first.Address())
	must(t, c.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
	must(t, c.ConfigSet(t.Context(), "min-replicas-max-lag", "60").Err())
	has(t, examine(t, url+redistest.Master, o), redis.Warn, "min-replicas-to-write", "max-lag 60", `min-replicas-max-lag "10"`)
	must(t, c.ConfigSet(t.Context(), "min-replicas-max-lag", "10").Err())
	has(t, examine(t, url+redistest.Master, o), redis.Note, "min-replicas-to-write", "1 with 1 replicas", "one replica more")
	has(t, examine(t, url+"other", o), redis.Fail, "sentinel", "No such master", "SENTINEL MASTERS")
	has(t, examine(t, "redis://"+sentinel.Address(), o), redis.Fail, "mode", "sentinel", "redis+sentinel://")
}

func TestExamineCluster(t *testing.T) {
	all := redistest.StartCluster(t, 3)
	o := options(t, newClock())
	r := examine(t, clusterURL(all), o)
	has(t, r, redis.OK, "cluster", "3 masters", "")
	has(t, r, redis.Warn, "replicas", "none", "add-node")
	has(t, r, redis.OK, "permissions", "", "")
	for _, s := range all {
		nothingLeft(t, s)
	}
	for _, f := range r {
		if f.What == "maxmemory-policy" && strings.Count(f.Where, ",") != 2 {
			t.Errorf("what all nodes have is told of %s", f.Where)
		}
	}
	has(t, examine(t, all[0].URL(), o), redis.Fail, "mode", "a cluster", "redis+cluster://")

	// One node's user may too little; its keys are found all the same.
	must(t, admin(t, all[1].Address()).Do(t.Context(), "acl", "setuser", "default", "-xadd").Err())
	r = examine(t, clusterURL(all), o)
	has(t, r, redis.Fail, "permissions", "xadd", "ACL SETUSER default")
	must(t, admin(t, all[2].Address()).Do(t.Context(), "cluster", "delslots", "16383").Err())
	must(t, admin(t, all[0].Address()).Do(t.Context(), "cluster", "delslots", "16383").Err())
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(admin(t, all[0].Address()).ClusterInfo(t.Context()).Val(), "cluster_state:fail") {
			break
		}
	}
	has(t, examine(t, "redis+cluster://"+all[0].Address(), o), redis.Fail, "cluster", "cluster_state is fail", "--cluster fix")
	has(t, examine(t, "redis+cluster://"+redistest.Start(t).Address(), o), redis.Fail, "mode", "no cluster", "redis://")
}

func TestExamineUnreachable(t *testing.T) {
	o := options(t, newClock())
	o.Timeout = 100 * time.Millisecond
	has(t, examine(t, "redis://127.0.0.1:1", o), redis.Fail, "reachable", "refused", "firewall")
	has(t, examine(t, "redis+cluster://127.0.0.1:1", o), redis.Fail, "reachable", "refused", "")
	has(t, examine(t, "redis+sentinel://127.0.0.1:1/main", o), redis.Fail, "sentinel", "refused", "")
	s := redistest.Start(t, "--requirepass", "secret")
	has(t, examine(t, s.URL(), o), redis.Fail, "reachable", "NOAUTH", "check user and password")
	has(t, examine(t, "rediss://:secret@"+s.Address(), o), redis.Fail, "reachable", "", "rediss where the port speaks TLS")
	if _, err := redis.Examine(t.Context(), "http://h", o); err == nil {
		t.Error("a URL of another kind is taken")
	}
}

func TestExamineTLS(t *testing.T) {
	certificate, key := certificate(t)
	port := redistest.FreePort(t)
	redistest.Start(t, "--tls-port", fmt.Sprint(port), "--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate)
	o := options(t, newClock())
	o.TLS = redis.TLS{CA: certificate, Certificate: certificate, Key: key}
	url := fmt.Sprintf("rediss://127.0.0.1:%d", port)
	r := examine(t, url, o)
	has(t, r, redis.OK, "TLS", "yes", "")
	has(t, r, redis.OK, "permissions", "", "")
	o.TLS = redis.TLS{}
	has(t, examine(t, url, o), redis.Fail, "reachable", "certificate", "")
}

func TestExamineClock(t *testing.T) {
	s, redisClock := redistest.StartWithClock(t)
	o := options(t, newClock())
	has(t, examine(t, s.URL(), o), redis.OK, "clock", "from ours", "")
	redisClock.Set(-time.Hour)
	has(t, examine(t, s.URL(), o), redis.Warn, "clock", "-3600", "NTP")
	redisClock.Stop(time.Now())
	has(t, examine(t, s.URL(), o), redis.Warn, "clock", "it stands", "NTP")
	redisClock.Run(0, 3)
	has(t, examine(t, s.URL(), o), redis.Warn, "clock", "it went on by", "NTP")
}
