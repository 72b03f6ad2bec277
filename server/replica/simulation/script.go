package simulation

import (
	"fmt"

	"github.com/watermaster-project/watermaster/store/redis"
)

// eval runs a script that a log sends, written once more in Go. Who changes one changes it
// here; TestRedis compares the two.
func (s *server) eval(c []any) any {
	n := int(number(c[2]))
	keys := make([]string, n)
	for i := range keys {
		keys[i] = text(c[3+i])
	}
	args := c[3+n:]
	switch script := text(c[1]); script {
	case redis.CreateScript:
		return s.create(keys, args)
	case redis.InstallScript:
		return s.install(keys, args)
	default:
		panic(fmt.Sprintf("simulation: a script that it does not know:\n%s", script))
	}
}

// create begins a log.
func (s *server) create(keys []string, args []any) any {
	log, snapshot := s.value(keys[0]), s.value(keys[1])
	if at, ok := snapshot.field("at").(string); ok && len(xrange(log, at, at).([]any)) == 1 {
		return nil
	}
	if text(args[2]) == "" && s.world.network == calm && s.world.known(s) {
		s.world.tell("%s: the log is begun with nothing, though somebody knows more", s)
		s.world.emptied++
	}
	s.command([]any{"del", keys[0], keys[1]}, "")
	id := streamID{uint64(s.clock()), uint64(number(args[0]))}
	s.xadd(keys[0], nil, []any{id.String(), "e", args[1]})
	kept := "0"
	var marker string
	known := s.value(keys[2])
	if known != nil {
		marker = known.text
	}
	switch was := text(args[5]); {
	case known == nil || was == "lost":
		marker = text(args[4])
		s.command([]any{"set", keys[2], marker}, "")
	case marker == was:
		kept = text(args[6])
	}
	s.command([]any{"hset", keys[1], "state", args[2], "at", id.String(), "place", "", "kept", kept, "begun", id.String()}, "")
	for _, k := range keys[:2] {
		s.command([]any{"pexpire", k, args[3]}, "")
	}
	return marker
}

// install takes a later snapshot.
func (s *server) install(keys []string, args []any) any {
	log, snapshot := s.value(keys[0]), s.value(keys[1])
	at, ok := snapshot.field("at").(string)
	if !ok || log == nil {
		return "none"
	}
	if place, _ := snapshot.field("place").(string); text(args[1]) <= place {
		return "stale"
	}
	id := parseStreamID(text(args[0]))
	i, head := log.stream.from(id), text(args[2])
	if i == len(log.stream.entries) || log.stream.entries[i].id != id {
		return "stale"
	}
	if v := log.stream.entries[i].value; len(v) < len(head) || v[:len(head)] != head {
		return "stale"
	}
	before, _ := snapshot.field("timeline").(string)
	s.command([]any{"hset", keys[1], "state", args[3], "at", args[0], "place", args[1], "timeline", args[4], "before", before}, "")
	if snapshot.field("kept") != nil {
		s.do(effect{kind: effectDeleteField, key: keys[1], field: "kept"})
	}
	s.do(effect{kind: effectTrim, key: keys[0], id: parseStreamID(at)})
	return "done"
}
