package config

import (
	"errors"
	"strings"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

const (
	// maxDepth bounds how deep a file nests, aliases included: one that contains
	// itself ends here.
	maxDepth = 48
	// maxNodes bounds what aliases may unfold to.
	maxNodes = 1 << 20
)

type kind uint8

const (
	scalar kind = iota
	sequence
	mapping
)

// A node is a piece of the file in which aliases are followed, mappings merged,
// variables expanded and x-… keys dropped. Its position is where its text stands, which
// for an alias is at the anchor.
type node struct {
	kind         kind
	line, column int
	text         string  // of a scalar
	broken       bool    // a scalar that could not be expanded, which has been told
	null         bool    // a scalar that was left out: as good as an empty mapping or sequence
	items        []*node // of a sequence
	entries      []entry // of a mapping, as written; merged ones last
}

type entry struct{ key, value *node }

// String says what a node is, for messages.
func (n *node) String() string {
	switch {
	case n.kind == sequence:
		return "a list"
	case n.kind == mapping:
		return "a mapping"
	case n.null:
		return "nothing"
	}
	return quote(n.text)
}

// parse gives the tree of a file, or nil if it cannot be read at all.
func (r *reader) parse(data []byte) *node {
	var documents []yaml.Node
	err := yaml.Load(data, &documents, yaml.WithAllDocuments(),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		r.syntax(err)
		return nil
	}
	if len(documents) == 0 || len(documents[0].Content) == 0 {
		r.fail(nil, "", "the file is empty")
		return nil
	}
	if len(documents) > 1 {
		at := &node{line: documents[1].Line, column: documents[1].Column}
		r.fail(at, "", "a second document begins here: a configuration is one document")
		return nil
	}
	root := r.tree(documents[0].Content[0], 0)
	if r.exceeded {
		return nil
	}
	return root
}

// syntax tells of a file that is not YAML.
func (r *reader) syntax(err error) {
	var e *yaml.LoadError
	if !errors.As(err, &e) {
		r.fail(nil, "", "not YAML: %v", err)
		return
	}
	at := &node{line: e.Mark.Line, column: e.Mark.Column}
	if e.ContextMsg != "" {
		r.fail(at, "", "not YAML: %s, %s", e.ContextMsg, e.Message)
		return
	}
	r.fail(at, "", "not YAML: %s", e.Message)
}

// tree makes a node. It never gives nil; beyond a bound it gives what it has.
func (r *reader) tree(y *yaml.Node, depth int) *node {
	n := &node{line: y.Line, column: y.Column}
	r.nodes++
	if r.exceeded {
		return n
	}
	if depth > maxDepth || r.nodes > maxNodes {
		r.exceeded = true
		if depth > maxDepth {
			r.fail(n, "", "nested too deeply, or an anchor that contains itself")
		} else {
			r.fail(n, "", "too large, with what its aliases stand for")
		}
		return n
	}
	if y.Kind == yaml.AliasNode {
		return r.tree(y.Alias, depth+1)
	}
	if y.Style&yaml.TaggedStyle != 0 && !strings.HasPrefix(y.Tag, "!!") {
		r.fail(n, "", "tag %s: tags are not used here", quote(y.Tag))
	}
	switch y.Kind {
	case yaml.SequenceNode:
		n.kind = sequence
		for _, c := range y.Content {
			n.items = append(n.items, r.tree(c, depth+1))
		}
	case yaml.MappingNode:
		n.kind = mapping
		r.mapping(n, y, depth)
	default:
		before := r.failures
		n.text = r.expand(n, y.Value)
		n.broken = r.failures > before
		n.null = y.Tag == "!!null" && y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0
	}
	return n
}

// mapping fills in the entries of a mapping: its own, then those of `<<`, of which the
// earlier win.
func (r *reader) mapping(n *node, y *yaml.Node, depth int) {
	has := make(map[string]*node, len(y.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind == yaml.ScalarNode && strings.HasPrefix(k.Value, "x-") {
			continue
		}
		key := r.tree(k, depth+1)
		if key.broken {
			continue
		}
		if key.kind != scalar || key.null || key.text == "" {
			r.fail(key, "", "a key must be text, not %v", key)
			continue
		}
		if before := has[key.text]; before != nil {
			r.fail(key, "", "%s is given twice, first in line %d", quote(key.text), before.line)
			continue
		}
		has[key.text] = key
		if k.Tag == "!!merge" {
			merges = append(merges, v)
			continue
		}
		n.entries = append(n.entries, entry{key, r.tree(v, depth+1)})
	}
	for _, m := range merges {
		from := r.tree(m, depth+1)
		sources := []*node{from}
		if from.kind == sequence {
			sources = from.items
		}
		for _, s := range sources {
			if s.kind != mapping {
				r.fail(s, "", "<< merges mappings, not %v", s)
			}
			for _, e := range s.entries {
				if has[e.key.text] == nil {
					has[e.key.text] = e.key
					n.entries = append(n.entries, e)
				}
			}
		}
	}
}
