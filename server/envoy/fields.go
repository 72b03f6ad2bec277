package envoy

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// fields are the entries of a mapping whose keys are known beforehand.
type fields struct {
	*reader
	what  string // the mapping, for messages
	at    *yaml.Node
	depth int
	has   map[string]entry
}

// allKeys are all that the format knows, anywhere.
var allKeys = []string{
	"domain", "descriptors", "key", "value", "rate_limit", "shadow_mode", "quota_mode",
	"detailed_metric", "value_to_metric", "share_threshold", "metadata",
	"unit", "requests_per_unit", "unlimited", "name", "replaces",
}

// fields reads a mapping of the given keys. A key that is none anywhere is an error. One that
// belongs elsewhere is a warning: envoyproxy/ratelimit takes it, and it does nothing.
func (r *reader) fields(n *yaml.Node, what string, depth int, keys ...string) fields {
	f := fields{r, what, n, depth, r.entries(n, what, depth)}
	for key, e := range f.has {
		switch {
		case slices.Contains(keys, key):
			continue
		case slices.Contains(allKeys, key):
			r.warn(e.key, "%s has no effect in %s: it belongs %s", key, what, homes[key])
		default:
			r.fail(e.key, r.nearest(key, keys), "unknown key %s in %s", quote(key), what)
		}
		delete(f.has, key)
	}
	return f
}

// homes say where a key belongs.
var homes = map[string]string{
	"domain": "at the top of the file", "descriptors": "in the file or in a descriptor",
	"key": "in a descriptor", "value": "in a descriptor", "rate_limit": "in a descriptor",
	"shadow_mode": "beside rate_limit", "quota_mode": "beside rate_limit",
	"detailed_metric": "beside rate_limit", "value_to_metric": "in a descriptor",
	"share_threshold": "beside the value", "metadata": "beside rate_limit",
	"unit": "in a rate_limit", "requests_per_unit": "in a rate_limit",
	"unlimited": "in a rate_limit", "name": "in a rate_limit", "replaces": "in a rate_limit",
}

// value gives what stands under a key, or nil if nothing does.
func (f fields) value(key string) *yaml.Node {
	e, ok := f.has[key]
	if !ok {
		return nil
	}
	if n := f.follow(e.value, f.depth+1); !isNull(n) && !f.exceeded {
		return n
	}
	return nil
}

// where gives the place of a key, or of the mapping if it has none.
func (f fields) where(key string) *yaml.Node {
	if e, ok := f.has[key]; ok {
		return e.key
	}
	return f.at
}

// text gives the text under a key, as it is written; "" if there is none.
func (f fields) text(key string) string {
	n := f.value(key)
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode {
		f.fail(n, "", "%s must be text, not %s", key, describe(n))
		return ""
	}
	return n.Value
}

// flag gives true or false, in the words of YAML 1.1: those that envoyproxy/ratelimit takes.
func (f fields) flag(key string) bool {
	n := f.value(key)
	if n == nil {
		return false
	}
	if v, ok := boolean(n); ok {
		return v
	}
	f.fail(n, "", "%s must be true or false, not %s", key, describe(n))
	return false
}

// boolean reads YAML 1.1's words for true and false.
func boolean(n *yaml.Node) (v, ok bool) {
	if n.Kind == yaml.ScalarNode && !quoted(n) {
		switch n.Value {
		case "true", "True", "TRUE", "yes", "Yes", "YES", "y", "Y", "on", "On", "ON":
			return true, true
		case "false", "False", "FALSE", "no", "No", "NO", "n", "N", "off", "Off", "OFF":
			return false, true
		}
	}
	return false, false
}

// count gives a whole number that fits 32 bits; 0 if there is none. Like YAML 1.1's it may be
// hexadecimal, octal (with a leading 0) or binary.
func (f fields) count(key string) uint32 {
	n := f.value(key)
	if n == nil {
		return 0
	}
	if n.Kind == yaml.ScalarNode && !quoted(n) {
		digits := strings.TrimPrefix(strings.ReplaceAll(n.Value, "_", ""), "+")
		if v, err := strconv.ParseUint(digits, 0, 32); err == nil {
			return uint32(v)
		}
	}
	f.fail(n, "", "%s must be a whole number from 0 to %d, not %s", key, uint32(math.MaxUint32), describe(n))
	return 0
}

// list gives the items under a key.
func (f fields) list(key string) []*yaml.Node {
	n := f.value(key)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		f.fail(n, "", "%s must be a list, not %s", key, describe(n))
		return nil
	}
	return n.Content
}
