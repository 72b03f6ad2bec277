package envoy

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"

	"github.com/watermaster-project/watermaster/server/spelling"
)

const (
	// maxDepth bounds how deep a file nests, aliases included: one that contains itself
	// ends here.
	maxDepth = 64
	// maxNodes bounds what the aliases of all files may unfold to.
	maxNodes = 1 << 20
	// maxSpelling bounds the work spent on near spellings; see package spelling.
	maxSpelling = 20_000_000
)

// A reader reads the files. It goes on behind an error, so that all are told at once.
type reader struct {
	file     string // the one that is being read
	errors   ledger
	warnings ledger
	spelling spelling.Search
	nodes    int
	exceeded bool // maxNodes or maxDepth: nothing more is read
}

func (r *reader) fail(at *yaml.Node, hint, format string, args ...any) {
	r.errors.add(r.problem(at, hint, format, args))
}

func (r *reader) warn(at *yaml.Node, format string, args ...any) {
	r.warnings.add(r.problem(at, "", format, args))
}

func (r *reader) problem(at *yaml.Node, hint, format string, args []any) Problem {
	p := Problem{File: r.file, Message: fmt.Sprintf(format, args...), Hint: hint}
	if at != nil {
		p.Line, p.Column = at.Line, at.Column
	}
	return p
}

func (r *reader) nearest(word string, candidates []string) string {
	if r.errors.full() {
		return ""
	}
	return r.spelling.Nearest(word, candidates)
}

// document gives the root of a file, or nil if it cannot be read at all.
func (r *reader) document(data []byte) *yaml.Node {
	var documents []yaml.Node
	err := yaml.Load(data, &documents, yaml.WithAllDocuments(),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	var bad *yaml.LoadError
	switch {
	case errors.As(err, &bad):
		at := &yaml.Node{Line: bad.Mark.Line, Column: bad.Mark.Column}
		r.fail(at, "", "not YAML: %s", bad.Message)
		return nil
	case err != nil:
		r.fail(nil, "", "not YAML: %v", err)
		return nil
	case len(documents) == 0 || len(documents[0].Content) == 0:
		r.fail(nil, "", "the file is empty: it needs a domain")
		return nil
	case len(documents) > 1:
		r.fail(&documents[1], "", "a second document begins here: put each domain in a file of its own")
		return nil
	}
	return documents[0].Content[0]
}

// follow gives what an alias stands for, and counts what is looked at.
func (r *reader) follow(n *yaml.Node, depth int) *yaml.Node {
	for ; n.Kind == yaml.AliasNode; depth++ {
		if n = n.Alias; depth > maxDepth {
			break
		}
	}
	if r.nodes++; !r.exceeded && (r.nodes > maxNodes || depth > maxDepth) {
		r.exceeded = true
		r.fail(n, "", "too much, or nested too deeply, with what aliases stand for")
	}
	if tag := n.Tag; n.Style&yaml.TaggedStyle != 0 && (!strings.HasPrefix(tag, "!!") || tag == "!!binary") {
		r.fail(n, "", "tag %s: tags are not used here", quote(tag))
	}
	return n
}

// An entry is a key of a mapping and what stands under it.
type entry struct {
	key, value *yaml.Node
}

// entries gives those of a mapping by key: its own before those that << merges.
func (r *reader) entries(n *yaml.Node, what string, depth int) map[string]entry {
	has := make(map[string]entry)
	if isNull(n) {
		return has
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n, "", "%s must be a mapping, not %s", what, describe(n))
		return has
	}
	var merges []*yaml.Node
	own := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := r.follow(n.Content[i], depth+1)
		switch {
		case r.exceeded:
			return has
		case k.Kind != yaml.ScalarNode || isNull(k):
			r.fail(k, "", "a key must be text, not %s", describe(k))
		case k.Tag == "!!merge":
			merges = append(merges, n.Content[i+1])
		case own[k.Value]:
			r.fail(k, "", "%s is given twice, first in line %d", quote(k.Value), has[k.Value].key.Line)
		default:
			own[k.Value] = true
			has[k.Value] = entry{k, n.Content[i+1]}
		}
	}
	for _, m := range merges {
		m = r.follow(m, depth+1)
		sources := []*yaml.Node{m}
		if m.Kind == yaml.SequenceNode {
			sources = m.Content
		}
		for _, s := range sources {
			if r.exceeded {
				return has
			}
			for key, e := range r.entries(r.follow(s, depth+1), "what << merges", depth+1) {
				if _, ok := has[key]; !ok {
					has[key] = e
				}
			}
		}
	}
	return has
}

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

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null" && !quoted(n)
}

func quoted(n *yaml.Node) bool {
	return n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// describe says what a node is, for messages.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case isNull(n):
		return "nothing"
	}
	return quote(n.Value)
}

// quote shows a piece of a file in a message: escaped, and not at any length.
func quote(s string) string {
	if len(s) > 80 {
		return strconv.Quote(s[:80]) + "…"
	}
	return strconv.Quote(s)
}
