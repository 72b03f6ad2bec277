package redis

import (
	"context"
	"fmt"
	"strings"
)

// What cannot be read is for who runs the server.
const askProvider = "ask your provider: "

// readConfig reads the settings that INFO does not tell. Where that is not permitted, as
// with most that is rented, config is nil.
func (e *examiner) readConfig(ctx context.Context) {
	got, err := e.redis.ConfigGet(ctx, "*").Result()
	if err == nil && len(got) > 0 {
		e.config = got
	}
}

// setting gives one; where it cannot be read it says so, and what it should be.
func (e *examiner) setting(name, should string) (value string, ok bool) {
	value, ok = e.config[name]
	if !ok {
		e.say(Note, name, "unknown: CONFIG GET is not permitted", askProvider+"it should be "+should)
	}
	return value, ok
}

// set says how to change a setting, now and for good.
func set(name, value string) string {
	return fmt.Sprintf("CONFIG SET %s %q and CONFIG REWRITE, or in redis.conf: %s %s", name, value, name, value)
}

func (e *examiner) memory() {
	most, used, policy := atoi(infoField(e.info, "maxmemory")), atoi(infoField(e.info, "used_memory")), infoField(e.info, "maxmemory_policy")
	if policy == "" {
		policy, _ = e.setting("maxmemory-policy", "noeviction")
	}
	switch {
	case policy == "":
	case policy == "noeviction":
		e.say(OK, "maxmemory-policy", policy, "")
	case most == 0:
		e.say(Warn, "maxmemory-policy", policy+", which takes effect once maxmemory is set: logs would be evicted, and their budgets forgotten", set("maxmemory-policy", "noeviction"))
	default:
		e.say(Fail, "maxmemory-policy", policy+": logs are evicted when memory is full, and their budgets forgotten", set("maxmemory-policy", "noeviction"))
	}
	const mb = 1 << 20
	switch {
	case most == 0:
		e.say(Note, "maxmemory", fmt.Sprintf("none; %d MB are used", used/mb), "with a bound a full server refuses writes, instead of being killed by the system")
	case used > most/10*8:
		e.say(Warn, "maxmemory", fmt.Sprintf("%d of %d MB are used: once it is full nothing can be decided", used/mb, most/mb), set("maxmemory", fmt.Sprintf("%dmb", 2*most/mb)))
	default:
		e.say(OK, "maxmemory", fmt.Sprintf("%d of %d MB are used", used/mb, most/mb), "")
	}
}

func (e *examiner) persistence() {
	const everysec = "appendonly yes and appendfsync everysec"
	if infoField(e.info, "loading") == "1" {
		e.say(Warn, "persistence", "it is still reading its data", "wait until INFO persistence says loading:0")
	}
	if status := infoField(e.info, "aof_last_write_status"); status == "err" {
		e.say(Fail, "persistence", "the append-only file could not be written", "make room on the disk, and see the server's log")
	}
	if status := infoField(e.info, "rdb_last_bgsave_status"); status == "err" {
		e.say(Warn, "persistence", "the last snapshot to the disk failed: with stop-writes-on-bgsave-error the server refuses writes", "make room on the disk and for fork (vm.overcommit_memory = 1), then BGSAVE")
	}
	if infoField(e.info, "aof_enabled") == "1" {
		fsync, ok := e.setting("appendfsync", "everysec")
		switch {
		case !ok:
		case fsync == "everysec":
			e.say(OK, "persistence", everysec, "")
		case fsync == "always":
			e.say(Note, "persistence", "appendfsync always: nothing is lost, and every decision waits for the disk", set("appendfsync", "everysec")+"; the second that may be lost is restored by replicas that live")
		default:
			e.say(Warn, "persistence", "appendfsync "+fsync+": a crash of the machine may lose half a minute", set("appendfsync", "everysec"))
		}
		return
	}
	save, ok := e.setting("save", "empty, with "+everysec)
	change := set("appendonly", "yes") + "; " + set("appendfsync", "everysec")
	switch {
	case !ok:
		e.say(Warn, "persistence", "no append-only file", askProvider+everysec)
	case strings.TrimSpace(save) == "":
		e.say(Warn, "persistence", "none: a restart forgets what was used, unless a replica of Watermaster lives that knows", change)
	default:
		e.say(Warn, "persistence", "snapshots only (save "+save+"): a restart forgets what was used since the last, unless a replica of Watermaster lives that knows", change)
	}
}

// replicas bounds how long two masters take writes at once.
func (e *examiner) replicas() {
	n := atoi(infoField(e.info, "connected_slaves"))
	found := fmt.Sprintf("%d", n)
	failover := e.address.cluster || e.address.master != ""
	switch {
	case n == 0 && failover:
		e.say(Warn, "replicas", "none: when this server dies nothing takes over", "add one: REPLICAOF HOST PORT at it, in a cluster redis-cli --cluster add-node NEW OLD --cluster-slave")
		return
	case n == 0:
		e.say(Note, "replicas", "none: while this server is away when_away decides", "a replica and three sentinels, or a cluster, take over in seconds")
		return
	}
	e.say(OK, "replicas", found, "")
	const name = "min-replicas-to-write"
	least, ok := e.setting(name, "1, with min-replicas-max-lag 10")
	if !ok {
		return
	}
	lag := e.config["min-replicas-max-lag"]
	level := Warn
	if e.address.cluster || !failover { // there cluster-node-timeout, or a person, bounds it
		level = Note
	}
	change := set(name, "1") + "; " + set("min-replicas-max-lag", "10")
	switch {
	case atoi(least) == 0:
		e.say(level, name, "0: a master that is cut off goes on granting until it is found, and what it granted is counted late", change)
	case atoi(lag) == 0 || atoi(lag) > 10:
		e.say(level, name, fmt.Sprintf("%s with min-replicas-max-lag %s: two masters may grant for as long", least, lag), set("min-replicas-max-lag", "10"))
	case atoi(least) >= n:
		e.say(Note, name, fmt.Sprintf("%s with %d replicas: when one is down nothing can be decided", least, n), "one replica more")
	default:
		e.say(OK, name, fmt.Sprintf("%s, min-replicas-max-lag %s", least, lag), "")
	}
	if e.address.cluster {
		if timeout, ok := e.setting("cluster-node-timeout", "15000 or less"); ok {
			e.say(OK, "cluster-node-timeout", timeout+" ms: so long may a master that is cut off go on", "")
		}
	}
}

// connections looks at what ends them.
func (e *examiner) connections() {
	if most, used := atoi(infoField(e.info, "maxclients")), atoi(infoField(e.info, "connected_clients")); most > 0 && used > most/10*8 {
		e.say(Warn, "maxclients", fmt.Sprintf("%d of %d connections are in use; a replica of Watermaster has up to 17", used, most), set("maxclients", fmt.Sprint(2*most)))
	} else {
		e.say(OK, "maxclients", fmt.Sprintf("%d of %d connections are in use", used, most), "")
	}
	if e.config == nil {
		e.say(Note, "connections", "unknown: CONFIG GET is not permitted",
			askProvider+"timeout 0, tcp-keepalive 60, client-output-buffer-limit pubsub at least 8mb 2mb 60 and normal 0 0 0")
		return
	}
	if timeout := atoi(e.config["timeout"]); timeout == 0 || timeout >= 60 {
		e.say(OK, "timeout", e.config["timeout"], "")
	} else {
		e.say(Warn, "timeout", fmt.Sprintf("%d s: idle connections are ended, and made again for the next call", timeout), set("timeout", "0"))
	}
	if keep := atoi(e.config["tcp-keepalive"]); keep == 0 || keep > 300 {
		e.say(Note, "tcp-keepalive", fmt.Sprintf("%d: connections of replicas that have died stay", keep), set("tcp-keepalive", "60"))
	} else {
		e.say(OK, "tcp-keepalive", e.config["tcp-keepalive"], "")
	}
	const name = "client-output-buffer-limit"
	for _, limit := range []struct {
		class, change string
		least         int64
	}{
		{"pubsub", "pubsub 32mb 8mb 60", 1 << 20},
		{"normal", "normal 0 0 0", 64 << 20}, // a load carries a whole state
	} {
		hard, soft := bufferLimit(e.config[name], limit.class)
		found := fmt.Sprintf("%s %d %d", limit.class, hard, soft)
		if hard > 0 && hard < limit.least || soft > 0 && soft < limit.least {
			e.say(Warn, name, found+" bytes: longer answers end the connection", set(name, limit.change))
		} else {
			e.say(OK, name, found, "")
		}
	}
}

// bufferLimit finds a class in "normal 0 0 0 slave 268435456 67108864 60 pubsub …"; 0: none.
func bufferLimit(text, class string) (hard, soft int64) {
	words := strings.Fields(text)
	for i := 0; i+3 < len(words); i += 4 {
		if words[i] == class {
			return atoi(words[i+1]), atoi(words[i+2])
		}
	}
	return 0, 0
}
