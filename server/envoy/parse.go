package envoy

import (
	"fmt"
	"maps"
	"slices"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"go.yaml.in/yaml/v4"

	"github.com/watermaster-project/watermaster/server/spelling"
)

const (
	// maxDescriptors bounds those of all files, what aliases unfold to included.
	maxDescriptors = 200_000
	// maxText bounds a domain, key, value or name of a file, in bytes.
	maxText = 4096
)

// Options say how a directory is read.
type Options struct {
	// MergeDomains reads files of one domain as one. Otherwise a domain that is given twice
	// is an error.
	MergeDomains bool
}

// Parse reads the limits of files, in their order. The error is of type [Errors] and holds all
// that is wrong. The result depends on nothing but the arguments.
func Parse(files []File, o Options) (*Limits, error) {
	p := parser{
		reader:  reader{spelling: spelling.Search{Work: maxSpelling}},
		options: o,
		limits:  &Limits{domains: make(map[string]*Domain)},
	}
	for _, f := range files {
		if p.exceeded {
			break
		}
		p.reader.file = f.Name
		if len(f.Data) > MaxFile {
			p.fail(nil, "", "larger than 1 MiB")
			continue
		}
		if root := p.document(f.Data); root != nil {
			p.readFile(p.follow(root, 0))
		}
	}
	p.checkReplaces()
	if len(p.errors.list) > 0 {
		return nil, Errors(p.errors.sorted())
	}
	l := p.limits
	l.Warnings = p.warnings.sorted()
	l.names = slices.Sorted(maps.Keys(l.domains))
	for i, r := range l.Rules {
		r.ID = i
	}
	return l, nil
}

// A parser makes limits of files.
type parser struct {
	reader
	options     Options
	limits      *Limits
	domain      string // the one that is being read
	descriptors int
	replacing   []replacement
}

// A replacement is a name that a rule replaces, and where it is written.
type replacement struct {
	rule *Rule
	name string
	file string
	at   *yaml.Node
}

func (p *parser) readFile(root *yaml.Node) {
	f := p.fields(root, "a file of limits", 0, "domain", "descriptors")
	name := p.bounded(f, "domain")
	if name == "" {
		if p.exceeded || len(f.has) == 0 && root.Kind != yaml.MappingNode {
			return
		}
		p.fail(f.where("domain"), "", "the domain is empty")
		name = "?" // its descriptors are still looked at
	}
	d := p.limits.domains[name]
	switch {
	case d == nil:
		d = &Domain{Name: name, at: place{p.file, f.where("domain").Line}}
		d.override = &Rule{Domain: name, Path: name + ".override", Override: true, Detailed: true, telling: true}
		p.limits.domains[name] = d
		p.limits.Rules = append(p.limits.Rules, d.override)
	case !p.options.MergeDomains && name != "?":
		p.fail(f.where("domain"), "", "domain %s is given twice, first in %s (--envoy-merge-domains reads both as one)", quote(name), d.at)
	}
	p.domain = name
	p.readDescriptors(f, &d.root, name, false, 0)
}

// bounded gives the text under a key, of bounded length.
func (p *parser) bounded(f fields, key string) string {
	s := f.text(key)
	if len(s) > maxText {
		p.fail(f.value(key), "", "%s is longer than %d bytes", key, maxText)
		return ""
	}
	return s
}

func (l place) String() string { return fmt.Sprintf("%s:%d", l.file, l.line) }

// readDescriptors reads those of a file, or those below one.
func (p *parser) readDescriptors(f fields, in *node, path string, telling bool, depth int) {
	for _, item := range f.list("descriptors") {
		if p.descriptors++; p.descriptors > maxDescriptors && !p.exceeded {
			p.exceeded = true
			p.fail(item, "", "more than %d descriptors", maxDescriptors)
		}
		if p.exceeded {
			return
		}
		p.readDescriptor(p.follow(item, depth+1), in, path, telling, depth+1)
	}
}

func (p *parser) readDescriptor(at *yaml.Node, in *node, path string, telling bool, depth int) {
	f := p.fields(at, "a descriptor", depth, "key", "value", "rate_limit", "descriptors", "shadow_mode",
		"quota_mode", "detailed_metric", "value_to_metric", "share_threshold", "metadata")
	if p.exceeded || at.Kind != yaml.MappingNode && !isNull(at) {
		return
	}
	n := &node{
		key: p.bounded(f, "key"), value: p.bounded(f, "value"),
		valued: f.flag("value_to_metric"), shared: f.flag("share_threshold"),
		written: place{p.file, at.Line},
	}
	if n.key == "" {
		p.fail(f.where("key"), "", "the key is empty: a descriptor needs one")
	}
	w, wild := newWildcard(n)
	if n.shared && !wild && n.key != "" {
		p.fail(f.where("share_threshold"), "", "share_threshold needs a value with a wildcard (such as files/*), not %s", quote(n.value))
	}
	name := n.name()
	if before := in.below[name]; before != nil && n.key != "" {
		p.fail(f.where("key"), "", "%s.%s is given twice, first in %s", path, name, before.written)
	}
	path += "." + name
	telling = telling || n.valued && (wild && !n.shared || n.value == "")
	n.rule = p.readLimit(f, path, telling)
	if in.below == nil {
		in.below = make(map[string]*node)
	}
	in.below[name] = n
	if wild {
		in.wildcards = append(in.wildcards, w)
	}
	p.readDescriptors(f, n, path, telling, depth)
}

// name is what a node is looked up by.
func (n *node) name() string {
	if n.value == "" {
		return n.key
	}
	return n.key + "_" + n.value
}

// readLimit reads the limit of a descriptor, or gives nil if it has none.
func (p *parser) readLimit(of fields, path string, telling bool) *Rule {
	shadow, quota, detailed := of.flag("shadow_mode"), of.flag("quota_mode"), of.flag("detailed_metric")
	metadata := p.readMetadata(of)
	at := of.value("rate_limit")
	if at == nil {
		return nil
	}
	f := p.fields(at, "a rate_limit", of.depth+1, "unit", "requests_per_unit", "unlimited", "name", "replaces")
	r := &Rule{
		Domain: p.domain, Path: path, Name: p.bounded(f, "name"), File: p.file, Line: at.Line,
		RequestsPerUnit: f.count("requests_per_unit"), Unlimited: f.flag("unlimited"),
		Shadow: shadow, Quota: quota, Detailed: detailed, Metadata: metadata,
		telling: telling || detailed,
	}
	p.readUnit(f, r)
	p.readReplaces(f, r)
	r.current = &rls.RateLimitResponse_RateLimit{RequestsPerUnit: r.RequestsPerUnit, Unit: r.Unit, Name: r.Name}
	p.limits.Rules = append(p.limits.Rules, r)
	return r
}

func (p *parser) readUnit(f fields, r *Rule) {
	text := f.text("unit")
	unit, ok := unitNamed(text)
	switch {
	case r.Unlimited && text != "":
		p.fail(f.where("unit"), "", "a limit that is unlimited has no unit: leave one of the two out")
	case r.Unlimited:
	case text == "":
		p.fail(f.where("unit"), "", "the limit has no unit: it is one of second, minute, hour, day, week, month, year")
	case !ok:
		p.fail(f.value("unit"), p.nearest(text, unitNames), "%s is no unit: it is one of second, minute, hour, day, week, month, year", quote(text))
	default:
		r.Unit, r.Window = unit, windowOf(unit)
	}
}

func (p *parser) readReplaces(f fields, r *Rule) {
	for _, item := range f.list("replaces") {
		if p.exceeded {
			return
		}
		item = p.follow(item, f.depth+1)
		g := p.fields(item, "an item of replaces", f.depth+1, "name")
		name := p.bounded(g, "name")
		switch {
		case item.Kind != yaml.MappingNode && !isNull(item):
		case name == "":
			p.fail(g.where("name"), "", "an item of replaces has no name: it is that of another limit")
		case name == r.Name:
			p.fail(g.where("name"), "", "limit %s replaces itself", quote(name))
		default:
			r.Replaces = append(r.Replaces, name)
			p.replacing = append(p.replacing, replacement{r, name, p.file, g.where("name")})
		}
	}
}

// checkReplaces warns of names that no limit of the domain has.
func (p *parser) checkReplaces() {
	type named struct{ domain, name string }
	names := make(map[named]bool)
	for _, r := range p.limits.Rules {
		names[named{r.Domain, r.Name}] = true
	}
	for _, it := range p.replacing {
		if !names[named{it.rule.Domain, it.name}] {
			p.reader.file = it.file
			p.warn(it.at, "replaces %s, but no limit of domain %s has this name", quote(it.name), it.rule.Domain)
		}
	}
}
