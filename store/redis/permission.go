package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// MinimalACL is what the user of a log may do, as ACL SETUSER takes it: enough, and nothing
// else. In a cluster each node has its own users.
const MinimalACL = "resetkeys ~wm:* resetchannels &wm:* -@all " +
	"+ping +info +select +client|setname +client|getname +multi +exec " +
	"+get +set +del +exists +time +eval +pexpire +persist +memory|usage " +
	"+xadd +xrange +xrevrange +xlen +xtrim +hset +hget +hmget +hdel +hstrlen " +
	"+publish +subscribe +unsubscribe +cluster|slots +asking"

// user gives the name that the server knows us by.
func (e *examiner) user(ctx context.Context) string {
	if name, err := e.redis.Do(ctx, "acl", "whoami").Text(); err == nil {
		return name
	}
	if name := e.redis.Options().Username; name != "" {
		return name
	}
	return "default"
}

// permissions tries what a log does, on keys of its own.
func (e *examiner) permissions(ctx context.Context) {
	k, ok := e.probe(ctx)
	if !ok {
		return
	}
	conn := e.redis.Conn() // one, for it has a name
	defer func() { _ = conn.Close() }()
	var denied []string
	var refused error
	note := func(name string, err error) {
		switch {
		case err == nil || errors.Is(err, goredis.Nil):
		case goredis.IsPermissionError(err) || strings.Contains(err.Error(), "unknown command"):
			if !slices.Contains(denied, name) {
				denied = append(denied, name)
			}
		case refused == nil && !isMoved(err):
			refused = fmt.Errorf("%s: %w", name, err)
		}
	}
	const name, ms = identityPrefix + "check", 60000
	named := ""
	for _, args := range [][]any{
		{"client", "setname", name},
		{"client", "getname"},
		{"xadd", k.log, "*", entryField, "x"}, {"pexpire", k.log, ms}, {"persist", k.log}, {"pexpire", k.log, ms},
		{"xrange", k.log, "-", "+"}, {"xrevrange", k.log, "+", "-"}, {"xlen", k.log}, {"xtrim", k.log, "minid", "0"},
		{"hset", k.snapshot, stateField, "x"}, {"pexpire", k.snapshot, ms},
		{"hget", k.snapshot, stateField}, {"hmget", k.snapshot, stateField}, {"hstrlen", k.snapshot, stateField}, {"hdel", k.snapshot, atField},
		{"hset", k.board, "x", "x"}, {"pexpire", k.board, ms},
		{"set", k.log + ":x", "x", "px", ms}, {"get", k.log + ":x"}, {"exists", k.log},
		{"memory", "usage", k.log},
		{"time"},
		{"eval", "return redis.call('TIME')[1]", 1, k.marker}, // it checks that the marker may be written
		{"publish", k.channel, "x"},
		{"del", k.log, k.snapshot, k.board, k.log + ":x"},
	} {
		reply, err := conn.Do(ctx, args...).Result()
		what := fmt.Sprint(args[0])
		if what == "client" || what == "memory" {
			what += "|" + fmt.Sprint(args[1])
		}
		if args[0] == "client" && err == nil {
			named, _ = reply.(string)
		}
		note(what, err)
	}
	_, err := e.redis.TxPipelined(ctx, func(p goredis.Pipeliner) error {
		p.Ping(ctx)
		return nil
	})
	note("multi", err)
	sub := e.redis.Subscribe(ctx, k.channel)
	_, err = sub.ReceiveTimeout(ctx, longTimeouts*e.timeout)
	note("subscribe", err)
	if err == nil {
		if err = sub.Unsubscribe(ctx, k.channel); err == nil {
			_, err = sub.ReceiveTimeout(ctx, longTimeouts*e.timeout)
		}
		note("unsubscribe", err)
	}
	_ = sub.Close()

	user := e.user(ctx)
	switch {
	case len(denied) > 0:
		e.say(Fail, "permissions", fmt.Sprintf("the user %s may not, on keys and channels wm:*: %s", user, strings.Join(denied, ", ")), "ACL SETUSER "+user+" "+MinimalACL)
	default:
		e.say(OK, "permissions", "the user "+user+" may do all that is needed", "")
	}
	if refused != nil {
		e.say(Fail, "commands", refused.Error(), advice(errors.Unwrap(refused)))
	}
	if named != name && len(denied) == 0 && refused == nil {
		e.say(Fail, "connection", "it does not keep its name", "no proxy between us and Redis that shares connections: it would hide which server answers")
	}
}

// probe gives keys that nobody else has, in a cluster such as are this node's.
func (e *examiner) probe(ctx context.Context) (keys, bool) {
	for range 1 << 16 {
		tag := fmt.Sprintf("check-%016x", e.random())
		k := keysOf(tag, e.address.cluster)
		if !e.address.cluster {
			return k, true
		}
		err := e.redis.Exists(ctx, k.log).Err()
		if !isMoved(err) {
			return k, true
		}
	}
	e.say(Note, "permissions", "unknown: the node has no slots", "")
	return keys{}, false
}

func isMoved(err error) bool {
	_, moved := goredis.IsMovedError(err)
	return moved
}
