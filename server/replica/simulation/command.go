package simulation

import (
	"fmt"
	"strconv"
	"strings"
)

// transact does what a MULTI of commands does, and gives their replies.
func (s *server) transact(commands [][]any, connection string) ([]any, error) {
	if !s.primary && writes(commands) {
		return nil, errReadOnly
	}
	replies := make([]any, len(commands))
	for i, c := range commands {
		replies[i] = s.command(c, connection)
	}
	s.replicate()
	return replies, nil
}

func writes(commands [][]any) bool {
	for _, c := range commands {
		switch c[0] {
		case "xrange", "hmget", "hgetall", "get", "client", "xlen", "exists", "publish":
		default:
			return true
		}
	}
	return false
}

// command does one command. Only those are known that a log sends.
func (s *server) command(c []any, connection string) any {
	if c[0] == "client" {
		return connection
	}
	key := text(c[1])
	if c[0] == "publish" {
		return s.publish(key, text(c[2]))
	}
	v := s.value(key)
	switch c[0] {
	case "xadd":
		return s.xadd(key, v, c[2:])
	case "xrange":
		return xrange(v, text(c[2]), text(c[3]))
	case "pexpire":
		return s.pexpireat(key, v, s.clock()+number(c[2]))
	case "pexpireat": // which no log sends, but one with a bug: see TestPlanted
		return s.pexpireat(key, v, number(c[2]))
	case "persist":
		if v == nil || v.expires == 0 {
			return int64(0)
		}
		s.do(effect{kind: effectExpire, key: key})
		return int64(1)
	case "hmget":
		fields := make([]any, 0, len(c)-2)
		for _, f := range c[2:] {
			fields = append(fields, v.field(text(f)))
		}
		return fields
	case "hset":
		added := int64(0)
		for i := 2; i < len(c); i += 2 {
			if s.value(key).field(text(c[i])) == nil {
				added++
			}
			s.do(effect{kind: effectSetField, key: key, field: text(c[i]), value: text(c[i+1])})
		}
		return added
	case "exists":
		if v == nil {
			return int64(0)
		}
		return int64(1)
	case "get":
		if v == nil {
			return nil
		}
		return v.text
	case "set":
		s.do(effect{kind: effectSet, key: key, value: text(c[2])})
		return "OK"
	case "del":
		gone := int64(0)
		for _, k := range c[1:] {
			if s.value(text(k)) != nil {
				s.do(effect{kind: effectDelete, key: text(k)})
				gone++
			}
		}
		return gone
	case "eval":
		return s.eval(c)
	}
	panic(fmt.Sprintf("simulation: Redis is sent %v, which it does not know", c[0]))
}

// value gives what a key holds; nil: it does not exist, or no more.
func (s *server) value(key string) *value {
	v := s.keys[key]
	if v != nil && v.expires != 0 && s.clock() >= v.expires {
		s.world.tell("%s: %s expires", s, key)
		s.do(effect{kind: effectDelete, key: key})
		return nil
	}
	return v
}

func (v *value) field(name string) any {
	if v == nil {
		return nil
	}
	if x, ok := v.hash[name]; ok {
		return x
	}
	return nil
}

func (s *server) xadd(key string, v *value, args []any) any {
	if args[0] == "nomkstream" {
		if v == nil {
			return nil
		}
		args = args[1:]
	}
	var last streamID
	if v != nil {
		last = v.stream.last
	}
	id := streamID{ms: uint64(s.clock())}
	if given := text(args[0]); given != "*" {
		id = parseStreamID(given)
		if !last.less(id) {
			panic("simulation: XADD of an id that is not later")
		}
	} else if id.ms <= last.ms {
		id = streamID{last.ms, last.seq + 1}
	}
	field, value := text(args[1]), text(args[2])
	name := id.String()
	s.do(effect{kind: effectAdd, key: key, entry: streamEntry{id: id, value: value, reply: []any{name, []any{field, value}}}})
	return name
}

func xrange(v *value, from, to string) any {
	if v == nil {
		return []any{}
	}
	low, high := 0, len(v.stream.entries)
	if from != "-" {
		low = v.stream.from(parseStreamID(from))
	}
	if to != "+" {
		end := parseStreamID(to)
		high = v.stream.from(streamID{end.ms, end.seq + 1})
	}
	list := make([]any, 0, max(0, high-low))
	for i := low; i < high; i++ {
		list = append(list, v.stream.entries[i].reply)
	}
	return list
}

func (s *server) pexpireat(key string, v *value, ms int64) any {
	if v == nil {
		return int64(0)
	}
	s.do(effect{kind: effectExpire, key: key, at: max(1, ms)})
	return int64(1)
}

func parseStreamID(id string) streamID {
	major, minor, _ := strings.Cut(id, "-")
	ms, err := strconv.ParseUint(major, 10, 64)
	seq, err2 := strconv.ParseUint(minor, 10, 64)
	if err != nil || err2 != nil {
		panic(fmt.Sprintf("simulation: %q is no id of an entry", id))
	}
	return streamID{ms, seq}
}

func text(arg any) string {
	switch a := arg.(type) {
	case string:
		return a
	case []byte:
		return string(a)
	}
	return fmt.Sprint(arg)
}

func number(arg any) int64 {
	n, err := strconv.ParseInt(text(arg), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}
