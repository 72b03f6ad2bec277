package config

import (
	"slices"
	"strings"
	"time"
)

// fields are the entries of a mapping whose keys are known beforehand.
type fields struct {
	*reader
	what string // the mapping, for messages
	at   *node
	has  map[string]entry
}

// fields reads a mapping of the given keys; any other key is an error. What is not a
// mapping is told of and has no fields.
func (r *reader) fields(at *node, what string, keys ...string) fields {
	f := fields{r, what, at, make(map[string]entry)}
	if at.null {
		return f
	}
	if at.kind != mapping {
		r.fail(at, "", "%s must be a mapping, not %v", what, at)
		return f
	}
	for _, e := range at.entries {
		if !slices.Contains(keys, e.key.text) {
			r.fail(e.key, r.nearest(e.key.text, keys), "unknown key %s in %s", quote(e.key.text), what)
			continue
		}
		f.has[e.key.text] = e
	}
	return f
}

// value gives what stands under a key, or nil.
func (f fields) value(key string) *node { return f.has[key].value }

// where gives the place of a key, or of the mapping if it has none.
func (f fields) where(key string) *node {
	if k := f.has[key].key; k != nil {
		return k
	}
	return f.at
}

// text gives the text under a key, or what it is otherwise.
func (f fields) text(key, otherwise string) string {
	n := f.value(key)
	switch {
	case n == nil || n.broken:
		return otherwise
	case n.kind != scalar:
		f.fail(n, "", "%s must be text, not %v", key, n)
		return otherwise
	case n.null || n.text == "":
		f.fail(n, "", "%s has no value", key)
		return otherwise
	}
	return n.text
}

// parsed gives the text under a key as a parser reads it, from least to most.
func parsed[T int64 | time.Duration](f fields, key string, otherwise, least, most T,
	parse func(string) (T, error), show func(T) string) T {
	text := f.text(key, "")
	if text == "" {
		return otherwise
	}
	v, err := parse(text)
	switch {
	case err != nil:
		f.fail(f.value(key), hintOf(err), "%s: %v", key, err)
		return otherwise
	case v < least || v > most:
		f.fail(f.value(key), "", "%s must be from %s to %s, not %s", key, show(least), show(most), text)
		return otherwise
	}
	return v
}

// whole gives a whole number.
func (f fields) whole(key string, otherwise, least, most int64) int64 {
	return parsed(f, key, otherwise, least, most, func(s string) (int64, error) { return decimal(s, 0) }, digits)
}

// share gives a part of a whole in units of 10^-exponent.
func (f fields) share(key string, exponent int, otherwise, least, most int64) int64 {
	return parsed(f, key, otherwise, least, most,
		func(s string) (int64, error) { return proportion(s, exponent) },
		func(v int64) string { return fraction(v*100, exponent) + "%" })
}

func (f fields) duration(key string, otherwise, least, most time.Duration) time.Duration {
	return parsed(f, key, otherwise, least, most, duration, short)
}

// flag gives true or false, or nil if the key is absent.
func (f fields) flag(key string) *bool {
	switch text := f.text(key, ""); text {
	case "":
		return nil
	case "true", "false":
		v := text == "true"
		return &v
	default:
		f.fail(f.value(key), "", "%s must be true or false, not %s", key, quote(text))
		return nil
	}
}

// choice gives one of several words, or "" if the key is absent.
func (f fields) choice(key string, words ...string) string {
	text := f.text(key, "")
	if text != "" && !slices.Contains(words, text) {
		f.fail(f.value(key), f.nearest(text, words), "%s must be one of %s, not %s",
			key, strings.Join(words, ", "), quote(text))
		return ""
	}
	return text
}

// list gives the items under a key; nothing is an empty list.
func (f fields) list(key string) []*node {
	n := f.value(key)
	if n == nil || n.null {
		return nil
	}
	if n.kind != sequence {
		f.fail(n, "", "%s must be a list, not %v", key, n)
		return nil
	}
	return n.items
}

// words gives the texts of a list under a key, each once.
func (f fields) words(key string) (texts []string, at []*node) {
	listed := make(map[string]bool)
	for _, n := range f.list(key) {
		switch {
		case n.broken:
		case n.kind != scalar || n.text == "":
			f.fail(n, "", "%s must list names, not %v", key, n)
		case listed[n.text]:
			f.fail(n, "", "%s is listed twice in %s", quote(n.text), key)
		default:
			listed[n.text] = true
			texts, at = append(texts, n.text), append(at, n)
		}
	}
	return texts, at
}

// named gives the entries of a mapping from names of things to things, without those
// whose names will not do.
func (f fields) named(key string, check func(string) error) []entry {
	n := f.value(key)
	if n == nil || n.null {
		return nil
	}
	if n.kind != mapping {
		f.fail(n, "", "%s must be a mapping, not %v", key, n)
		return nil
	}
	var good []entry
	for _, e := range n.entries {
		if err := check(e.key.text); err != nil {
			f.fail(e.key, "", "%s: %v", key, err)
			continue
		}
		good = append(good, e)
	}
	return good
}

// texts gives a mapping of texts to texts, or nil.
func (f fields) texts(key string) map[string]string {
	var m map[string]string
	for _, e := range f.named(key, func(string) error { return nil }) {
		if e.value.kind != scalar || e.value.null {
			f.fail(e.value, "", "%s: %s must be text, not %v", key, e.key.text, e.value)
			continue
		}
		if m == nil {
			m = make(map[string]string)
		}
		m[e.key.text] = e.value.text
	}
	return m
}
