package config

import (
	"errors"
	"strings"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// A source is a file as it was read. Behind a pointer it is not printed with its
// configuration.
type source struct{ text []byte }

// Redacted gives the file as it was read, comments included, with REDACTED for all that may
// be secret: what stands under a key that sounds like it (secret.go), at any depth and under
// x-… keys too; what has a ${VAR}; and in all other text what a secret looks like. It
// rather takes too much than too little.
func (c *Config) Redacted() ([]byte, error) {
	if c.source == nil {
		return nil, errors.New("redact: the configuration was not read from a file")
	}
	return redact(c.source.text)
}

func redact(file []byte) ([]byte, error) {
	var document yaml.Node
	err := yaml.Load(file, &document, yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		return nil, errors.New("redact: the file cannot be read again") // the cause could quote it
	}
	r := redactor{seen: make(map[visit]bool), secret: make(map[*yaml.Node]bool)}
	r.queue = []visit{{&document, false, strict}}
	for len(r.queue) > 0 {
		v := r.queue[len(r.queue)-1]
		r.queue = r.queue[:len(r.queue)-1]
		r.visit(v)
	}
	r.clean(&document)
	out, err := yaml.Dump(&document, yaml.WithLineWidth(-1))
	if err != nil {
		return nil, errors.New("redact: the file cannot be written")
	}
	return out, nil
}

// A redactor first finds the scalars that are secret where they stand or where an alias
// puts them, and then replaces them.
type redactor struct {
	queue  []visit
	seen   map[visit]bool
	secret map[*yaml.Node]bool // scalars
}

// binaryTag is the tag of what is written in base64, where no secret is seen.
const binaryTag = "!!binary"

// A visit is what is still to be looked at, and as what.
type visit struct {
	node   *yaml.Node
	secret bool
	within vocabulary
}

// A vocabulary is what the keys of a mapping are.
type vocabulary uint8

const (
	strict vocabulary = iota // those of the configuration
	named                    // names of things, or of metrics: "token" may be a project
	loose                    // whatever somebody wrote: attributes and x-… keys
)

// namedKeys are the keys whose mappings have names for keys.
var namedKeys = map[string]bool{
	"organizations": true, "accounts": true, "pools": true, "projects": true, "routes": true, "models": true,
	"priority_classes": true, "limits": true,
}

// plainKeys are the keys of the configuration that sound like a secret and are none.
var plainKeys = map[string]bool{"credentials": true, "client_certificate": true}

func (r *redactor) visit(v visit) {
	if r.seen[v] {
		return
	}
	r.seen[v] = true
	n := v.node
	switch n.Kind {
	case yaml.ScalarNode:
		r.secret[n] = r.secret[n] || v.secret
	case yaml.AliasNode:
		r.queue = append(r.queue, visit{n.Alias, v.secret, v.within})
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			r.queue = append(r.queue, visit{n.Content[i], v.secret, loose}, r.entry(v, n.Content[i], n.Content[i+1]))
		}
	default:
		if v.within == named { // its items are no things with names
			v.within = strict
		}
		for _, c := range n.Content {
			r.queue = append(r.queue, visit{c, v.secret, v.within})
		}
	}
}

// entry says as what the value of an entry is to be looked at.
func (r *redactor) entry(in visit, key, value *yaml.Node) visit {
	key = follow(key)
	v := visit{value, in.secret, in.within}
	switch {
	case key.Kind != yaml.ScalarNode || key.Tag == binaryTag:
		return visit{value, true, loose}
	case key.Tag == "!!merge":
		return v
	case strings.HasPrefix(key.Value, "x-") || in.within == strict && key.Value == "attributes":
		v.within = loose
	case in.within == named:
		v.within = strict
		return v
	case in.within == strict && namedKeys[key.Value]:
		v.within = named
	}
	plain := v.within != loose && plainKeys[key.Value] || isLimit(key.Value, value)
	v.secret = v.secret || soundsSecret(key.Value) && !plain
	return v
}

// follow gives what an alias stands for.
func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode { // an anchor is never on an alias
		return n.Alias
	}
	return n
}

// clean replaces what is secret in a node and beneath it.
func (r *redactor) clean(n *yaml.Node) {
	for _, comment := range []*string{&n.HeadComment, &n.LineComment, &n.FootComment} {
		*comment = withoutSecrets(*comment)
	}
	if n.Kind == yaml.ScalarNode && n.Value != "" {
		clean := withoutSecrets(n.Value)
		if r.secret[n] || n.Tag == binaryTag || strings.Contains(n.Value, "${") {
			clean = redacted
		}
		if clean != n.Value {
			n.Value, n.Tag, n.Style = clean, "!!str", 0
		}
	}
	for _, c := range n.Content {
		r.clean(c)
	}
}
