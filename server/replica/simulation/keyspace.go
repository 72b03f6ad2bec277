package simulation

import (
	"maps"
	"slices"
	"strconv"
)

// A keyspace is the data of a Redis server. It changes by effects alone, which a follower
// is sent as they are.
type keyspace map[string]*value

// A value is what a key holds: a stream, a hash or a text.
type value struct {
	stream  *stream
	hash    map[string]string
	text    string
	expires int64 // Unix ms by the server's clock; 0: never

	// For the verdict alone: what the fields of the hash were set to first.
	origin map[string]string
}

// A stream is that of Redis, of entries with one field.
type stream struct {
	entries []streamEntry
	last    streamID
	whole   []streamEntry // for the verdict alone: with those that were trimmed
}

type streamID struct{ ms, seq uint64 }

type streamEntry struct {
	id    streamID
	reply any // what XRANGE says of it
	value string
}

func (a streamID) less(b streamID) bool { return a.ms < b.ms || a.ms == b.ms && a.seq < b.seq }

func (a streamID) String() string {
	return strconv.FormatUint(a.ms, 10) + "-" + strconv.FormatUint(a.seq, 10)
}

// from gives the index of the first entry at or after an id.
func (s *stream) from(id streamID) int {
	low, high := 0, len(s.entries)
	if n := high - 8; n > 0 && s.entries[n].id.less(id) {
		low = n // mostly the end is asked for
	}
	for low < high {
		if mid := (low + high) / 2; s.entries[mid].id.less(id) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// An effect is one change of one key, as it goes to followers and to the append-only file.
type effect struct {
	kind  effectKind
	key   string
	entry streamEntry // added
	id    streamID    // trimmed: those before go
	field string
	value string
	at    int64  // expires
	whole *value // put
}

type effectKind byte

const (
	effectAdd effectKind = iota
	effectTrim
	effectDelete
	effectExpire // at 0: no more
	effectSet
	effectSetField
	effectDeleteField
	effectPut
)

// obey applies an effect.
func (k keyspace) obey(e *effect) {
	v := k[e.key]
	switch e.kind {
	case effectDelete:
		delete(k, e.key)
		return
	case effectPut:
		k[e.key] = e.whole.copied()
		return
	}
	if v == nil {
		if e.kind == effectExpire || e.kind == effectTrim || e.kind == effectDeleteField {
			return
		}
		v = &value{}
		k[e.key] = v
	}
	switch e.kind {
	case effectAdd:
		if v.stream == nil {
			v.stream = &stream{}
		}
		v.stream.entries = append(v.stream.entries, e.entry)
		v.stream.whole = append(v.stream.whole, e.entry)
		v.stream.last = e.entry.id
	case effectTrim:
		v.stream.entries = v.stream.entries[v.stream.from(e.id):]
	case effectExpire:
		v.expires = e.at
	case effectSet:
		v.text, v.expires = e.value, 0
	case effectSetField:
		if v.hash == nil {
			v.hash, v.origin = map[string]string{}, map[string]string{}
		}
		v.hash[e.field] = e.value
		if _, set := v.origin[e.field]; !set {
			v.origin[e.field] = e.value
		}
	case effectDeleteField:
		delete(v.hash, e.field)
	}
}

// copied gives the same data, which changes on its own.
func (k keyspace) copied() keyspace {
	c := keyspace{}
	for name, v := range k {
		c[name] = v.copied()
	}
	return c
}

func (v *value) copied() *value {
	c := *v
	if v.stream != nil {
		s := *v.stream
		s.entries = s.entries[:len(s.entries):len(s.entries)]
		s.whole = s.whole[:len(s.whole):len(s.whole)]
		c.stream = &s
	}
	c.hash, c.origin = maps.Clone(v.hash), maps.Clone(v.origin)
	return &c
}

// names lists the keys.
func (k keyspace) names() []string { return slices.Sorted(maps.Keys(k)) }
