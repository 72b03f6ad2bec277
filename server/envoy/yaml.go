package envoy

import (
	"errors"
	"fmt"
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
