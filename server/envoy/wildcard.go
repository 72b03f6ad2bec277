package envoy

import (
	"bytes"
	"strings"
)

// A wildcard fits key_value texts that have its pieces in their order: the first at the
// front, the last at the end, and anything, nothing included, for each star between.
type wildcard struct {
	first, last string
	middle      [][]byte
	of          *node
}

// newWildcard makes the wildcard of a node, if it is one. A star of the key itself counts
// only at its end, and only without a value: that is what lookups by joined texts make of it.
func newWildcard(n *node) (w wildcard, ok bool) {
	var pieces []string
	switch {
	case strings.Contains(n.value, "*"):
		pieces = strings.Split(n.value, "*")
		pieces[0] = n.key + "_" + pieces[0]
	case n.value == "" && strings.HasSuffix(n.key, "*"):
		pieces = []string{n.key[:len(n.key)-1], ""}
	default:
		return w, false
	}
	end := len(pieces) - 1
	w = wildcard{first: pieces[0], last: pieces[end], of: n}
	for _, piece := range pieces[1:end] {
		w.middle = append(w.middle, []byte(piece))
	}
	return w, true
}

// fits says whether the wildcard fits a text, leftmost first: with pieces in order that is
// no worse than any other way to lay them.
func (w *wildcard) fits(text []byte) bool {
	if len(text) < len(w.first)+len(w.last) ||
		string(text[:len(w.first)]) != w.first || string(text[len(text)-len(w.last):]) != w.last {
		return false
	}
	rest := text[len(w.first) : len(text)-len(w.last)]
	for _, piece := range w.middle {
		i := bytes.Index(rest, piece)
		if i < 0 {
			return false
		}
		rest = rest[i+len(piece):]
	}
	return true
}
