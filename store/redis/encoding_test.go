package redis

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

func TestSlot(t *testing.T) {
	// CRC16's check value, and what CLUSTER KEYSLOT says of some.
	for tag, want := range map[string]uint16{"123456789": 0x31c3, "": 0, "foo": 12182, "somekey": 11058} {
		if got := slot(tag); got != want {
			t.Errorf("%q: got slot %d, want %d", tag, got, want)
		}
	}
	for i := range uint16(slots) {
		if got := slot(slotTag(i)); got != i {
			t.Fatalf("the tag %s is of slot %d, want %d", slotTag(i), got, i)
		}
	}
}

// No two organizations have a key in common, and no name ends the tag.
func TestKeysAreApart(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"", "%", "%25", "a", "a}b", "{a}", "a:b", "A", "ä", " ", "\n", "%7b", "{", "}", "{}", "a}:log", "\xff"} {
		k := keysOf(name, true)
		for _, key := range []string{k.log, k.snapshot, k.channel} {
			if other, ok := seen[key]; ok {
				t.Errorf("%q and %q have the key %s in common", name, other, key)
			}
			seen[key] = name
			tag, _, _ := strings.Cut(key[strings.IndexByte(key, '{')+1:], "}")
			if tag == "" || slot(tag) != slot(k.marker[strings.IndexByte(k.marker, '{')+1:len(k.marker)-1]) {
				t.Errorf("%q: %s is in another slot than %s", name, key, k.marker)
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]address{
		"redis://h":                       {hosts: []string{"h:6379"}},
		"redis://u:p@h:1/3":               {hosts: []string{"h:1"}, user: "u", password: "p", database: 3},
		"rediss://:p%40%2f@[::1]:1":       {hosts: []string{"[::1]:1"}, password: "p@/", tls: true},
		"redis://[::1]":                   {hosts: []string{"[::1]:6379"}},
		"redis+sentinel://a,b:2/main/1":   {hosts: []string{"a:26379", "b:2"}, master: "main", database: 1},
		"rediss+cluster://u@a:1,b:2,c:3/": {hosts: []string{"a:1", "b:2", "c:3"}, user: "u", tls: true, cluster: true},
	} {
		got, err := parseAddress(text)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "h:1", "http://h", "redis+x://h", "redis://", "redis://h:x", "redis://h:0", "redis://a,b", "redis://h/x", "redis://h/-1",
		"redis://h?db=1", "redis+sentinel://a", "redis+cluster://a/1", "redis://u:%zz@h", "redis://::1", "redis://secret:secret@h:99999",
	} {
		if got, err := parseAddress(text); err == nil {
			t.Errorf("%s: got %+v, want an error", text, got)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error has the password: %v", err)
		}
	}
}

func TestMessages(t *testing.T) {
	for _, m := range []message{
		{sender: 1, kind: nudgeMessage, incarnations: []uint64{2, math.MaxUint64}},
		{sender: math.MaxUint64, kind: joinedMessage},
		{sender: 3, kind: missingMessage, at: store.Position{Major: 4, Minor: math.MaxUint64}},
	} {
		got, ok := parseMessage(m.String())
		if !ok || got.String() != m.String() {
			t.Errorf("%q: got %q, %v", m.String(), got.String(), ok)
		}
	}
	for _, text := range []string{"", "1", "1 unknown", "x joined", "1 missing", "1 missing 1", "1 nudge x", "1 missing 1 2 3", "  "} {
		if _, ok := parseMessage(text); ok {
			t.Errorf("%q is taken for a message", text)
		}
	}
}

// Another may say how far it has come before this process notices that the log is gone.
func TestContest(t *testing.T) {
	var c contest
	c.init()
	at := func(n uint64) store.Position { return store.Position{Major: n} }
	c.take(&message{kind: missingMessage, at: at(9)})
	c.take(&message{kind: createdMessage})
	c.take(&message{kind: missingMessage, at: at(5)})
	created, _ := c.enter()
	if !c.beaten(at(4)) || c.beaten(at(5)) {
		t.Error("in the second contest 5 is the furthest")
	}
	select {
	case <-created:
		t.Error("the second contest is over when it begins")
	default:
	}
	c.take(&message{kind: createdMessage})
	<-created
}

func randomEntry(r *rand.Rand) entry {
	return entry{
		Position: store.Position{Major: r.Uint64(), Minor: r.Uint64(), Incarnation: r.Uint64(), Number: r.Uint64()},
		claim:    store.Claim{Time: store.Time(r.Uint64()), Base: r.Uint64(), Wall: int64(r.Uint64())},
		join:     r.IntN(2) == 0, hold: time.Duration(r.Int64()), payload: fmt.Sprint(r.Uint64())[:r.IntN(8)],
	}
}

func TestEntriesAndTimelines(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		e := randomEntry(r)
		got, err := parseEntry([]any{id(e.Position), []any{entryField, string(appendEntry(nil, &e))}})
		if err != nil || fmt.Sprint(got) != fmt.Sprint(e) {
			t.Fatalf("got %+v, %v; want %+v", got, err, e)
		}
		if !bytes.HasPrefix(appendEntry(nil, &e), appendHead(nil, e.Position)) {
			t.Fatal("an entry does not begin with its head")
		}
		line := begin(&e)
		line.joiner, line.join = r.Uint64(), r.Uint64()
		if back, err := parseTimeline(string(line.append(nil))); err != nil || back != line {
			t.Fatalf("got %+v, %v; want %+v", back, err, line)
		}
	}
}

// Places compare as text as they do as numbers.
func TestPlaces(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var all []store.Position
	for range 1000 {
		all = append(all, store.Position{Major: r.Uint64() >> r.IntN(64), Minor: r.Uint64() >> r.IntN(64)})
	}
	slices.SortFunc(all, store.Position.Compare)
	if !slices.IsSortedFunc(all, func(a, b store.Position) int { return strings.Compare(placeOf(a), placeOf(b)) }) {
		t.Error("as text they have another order")
	}
}

// Whatever the entries say, time does not go back, and no join carries it further than both
// of the clocks that saw it.
func TestTimelineNeverGoesBack(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		e := randomEntry(r)
		line := begin(&e)
		for range 20 {
			e := randomEntry(r)
			if r.IntN(2) == 0 {
				e.claim.Base = line.base
			}
			if r.IntN(2) == 0 { // near
				e.Major = line.id + r.Uint64N(1e6)
				e.claim.Wall = line.wall + r.Int64N(1e15)
				e.claim.Time = line.time + store.Time(r.Int64N(1e15)-1e14)
			}
			before := line
			line.next(&e)
			if line.time < before.time {
				t.Fatalf("from %+v by %+v to %+v", before, e, line)
			}
			moved := time.Duration(line.time - before.time)
			if e.join && moved > 0 && (uint64(moved/time.Millisecond) > e.Major-before.id || int64(moved) > e.claim.Wall-before.wall) {
				t.Fatalf("a join moved time by %v: from %+v by %+v", moved, before, e)
			}
		}
	}
}

// Nothing that stands in Redis makes us panic.
func FuzzReplies(f *testing.F) {
	e := entry{payload: "x"}
	line := begin(&e)
	f.Add("1-2", string(appendEntry(nil, &e)), string(line.append(nil)), "1-2", "5")
	f.Fuzz(func(_ *testing.T, id, value, line, at, kept string) {
		first, err := parseEntry([]any{id, []any{entryField, value}})
		if err != nil {
			return
		}
		w := whole{entries: []entry{first}}
		if w.assemble(value, at, line, line, kept) == nil {
			w.timeline(first.Position)
		}
		parseMessage(value)
		_, _ = parseAddress(value)
	})
}
