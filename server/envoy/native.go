package envoy

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
)

// A Translation says what the keys of a directory mean to those who wrote it. The first of
// its keys that a domain has is taken.
type Translation struct {
	ProjectKeys      []string // whose values are projects
	ModelKeys        []string // whose values are models
	OrganizationKeys []string // key=value that every request has
	Account          string   // that has the models
	Metric           string   // that limits count: requests or tokens
}

// Native writes the configuration of watermaster's own that says the same as the limits, as far
// as there is one, and tells what of them has no equivalent, or one that is stricter. What is
// written never admits what the limit that it stands for would refuse.
func (l *Limits) Native(t Translation) (text []byte, without []Problem) {
	var b bytes.Buffer
	b.WriteString("# What limits of envoyproxy/ratelimit's format are as watermaster's own. A call is charged to its organization,\n" +
		"# its project and its model at once, so Envoy sends them as entries of one descriptor or of several.\n" +
		"# Windows slide: a call counts for the whole of its window, and up to a hundredth of it longer.\n")
	var bodies bytes.Buffer
	taken := make(map[string]bool)
	for _, name := range l.names { // what may keep its name does
		taken[name] = nameOf(name, organizationLetters) == name
	}
	anything := false
	for _, name := range l.names {
		x := translator{Translation: t, domain: l.domains[name], organizationName: name}
		x.translate()
		without = append(without, x.without...)
		anything = anything || x.said
		if !taken[name] {
			x.organizationName = unique(nameOf(name, organizationLetters), taken)
		}
		x.write(&bodies)
	}
	if anything {
		b.WriteString("priority_classes:\n  standard: {weight: 1}   # the only one: nothing of a limit is kept for others, and no call is paced\n" +
			"organizations:\n")
	}
	b.Write(bodies.Bytes())
	return b.Bytes(), without
}

// A translator translates one domain.
type translator struct {
	Translation
	domain           *Domain
	organizationName string
	without          []Problem

	projectKey   string // "": the domain has none
	modelKey     string
	organization []*Rule
	projects     []nativeLimit // by name; "*" the others
	unsaid       []nativeLimit // "*", when it would admit more
	models       []nativeLimit
	said         bool // something of the domain has an equivalent
}

// A nativeLimit is a project or a model with its limit.
type nativeLimit struct {
	name string
	rule *Rule // nil: none
}

func (x *translator) translate() {
	nodes := x.domain.root.all()
	x.projectKey, x.modelKey = firstKey(nodes, x.ProjectKeys), firstKey(nodes, x.ModelKeys)
	shut := false // nothing of the domain is let through
	open := true  // others than those that are named may be let through as their key says
	var others *node
	for _, n := range nodes {
		_, wild := newWildcard(n)
		switch {
		case slices.Contains(x.OrganizationKeys, n.key+"="+n.value) && !wild:
			if n.stops() && n.rule.RequestsPerUnit == 0 {
				x.tell(n, "an organization cannot be shut out by a quota of 0: the domain is left out")
				shut = true
			}
			if x.limits(n) {
				x.organization = append(x.organization, n.rule)
			}
			x.said = true
		case n.key == x.projectKey && n.value == "":
			others = n
		case n.key == x.projectKey && !wild:
			open = x.project(n) && open
		case n.key == x.modelKey && n.value != "" && !wild:
			x.model(n)
		default:
			open = open && !x.maybe(n)
			x.leave(n)
		}
		x.deeper(n)
	}
	x.others(others, open)
	if shut {
		x.said, x.organization, x.projects, x.unsaid, x.models = false, nil, nil, nil, nil
	}
}

// all gives the nodes below one, in the order of the file.
func (n *node) all() []*node {
	var all []*node
	for _, c := range n.below { // sorted next
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *node) int {
		return cmp.Or(cmp.Compare(a.written.file, b.written.file), a.written.line-b.written.line, cmp.Compare(a.name(), b.name()))
	})
	return all
}

func firstKey(nodes []*node, keys []string) string {
	for _, key := range keys {
		if slices.ContainsFunc(nodes, func(n *node) bool { return n.key == key }) {
			return key
		}
	}
	return ""
}

// project takes a value of the project's key, or says that this cannot be: then the others'
// limit would hold for it, which may admit more.
func (x *translator) project(n *node) bool {
	switch {
	case nameOf(n.value, nameLetters) != n.value || n.value == "*":
		x.tell(n, "%s can be no project's name (1 to 128 of A-Z a-z 0-9 . _ : @ -, not x- at its beginning)", quote(n.value))
		return !n.stops()
	case n.stops() && n.rule.RequestsPerUnit == 0:
		x.tell(n, "a project cannot be shut out by a quota of 0: leave it out of those that are named")
		return false
	}
	limit := nativeLimit{name: n.value}
	if x.limits(n) {
		limit.rule = n.rule
	}
	x.projects = append(x.projects, limit)
	x.said = true
	return true
}

// others says what holds for projects that are not named.
func (x *translator) others(n *node, open bool) {
	if n == nil && x.projectKey == "" {
		return
	}
	limit := nativeLimit{name: "*"}
	if n != nil && x.limits(n) {
		limit.rule = n.rule
	}
	if limit.rule != nil && limit.rule.RequestsPerUnit == 0 { // without "*" there are no others
		x.said = true
		return
	}
	if !open {
		x.unsaid = append(x.unsaid, limit)
		x.said = true
		return
	}
	x.projects = append(x.projects, limit)
	x.said = true
}

func (x *translator) model(n *node) {
	switch {
	case nameOf(n.value, pathLetters) != n.value:
		x.tell(n, "%s can be no model's name (1 to 128 of A-Z a-z 0-9 . _ : @ - /)", quote(n.value))
	case n.stops() && n.rule.RequestsPerUnit == 0:
		x.tell(n, "a model with a quota of 0 is left out: calls for it are refused as unknown")
	default:
		limit := nativeLimit{name: n.value}
		if x.limits(n) {
			limit.rule = n.rule
		}
		x.models = append(x.models, limit)
		x.said = true
	}
}

// limits says whether a node has a limit that stops calls, and tells what else it has.
func (x *translator) limits(n *node) bool {
	r := n.rule
	if r == nil {
		return false
	}
	if r.Metadata != nil {
		x.tell(n, "metadata has no equivalent")
	}
	if r.Unlimited {
		return false
	}
	if r.Shadow {
		x.tell(n, "shadow_mode has no equivalent: the limit is left out, and stops nothing as before")
		return false
	}
	if r.Quota {
		x.tell(n, "quota_mode has no equivalent: the limit stops by itself, which is stricter")
	}
	if len(r.Replaces) > 0 {
		x.tell(n, "replaces has no equivalent: both limits hold, which is stricter")
	}
	return true
}

// stops says whether a node has a limit that stops calls.
func (n *node) stops() bool { return n.rule != nil && !n.rule.Unlimited && !n.rule.Shadow }

// maybe says whether a node may stop what an entry of the project's key finds, by its wildcard
// or by its joined name.
func (x *translator) maybe(n *node) bool {
	if x.projectKey == "" || !n.stops() {
		return false
	}
	of := x.projectKey + "_"
	if w, wild := newWildcard(n); wild {
		return strings.HasPrefix(w.first, of) || strings.HasPrefix(of, w.first)
	}
	return n.key != x.projectKey && strings.HasPrefix(n.name(), of)
}

// leave tells why a node has no equivalent.
func (x *translator) leave(n *node) {
	if n.rule == nil {
		return
	}
	_, wild := newWildcard(n)
	switch {
	case wild:
		x.tell(n, "a wildcard has no equivalent: name the projects or models that it fits")
	case n.key == x.modelKey:
		x.tell(n, "a limit for each model alike has no equivalent: name the models")
	case slices.Contains(x.ProjectKeys, n.key):
		x.tell(n, "projects are the values of %s here, and a call has one project (--project-key %s takes these instead)", x.projectKey, n.key)
	case slices.Contains(x.ModelKeys, n.key):
		x.tell(n, "models are the values of %s here, and a call has one model (--model-key %s takes these instead)", x.modelKey, n.key)
	case n.value != "":
		x.tell(n, "%s is neither a project nor a model; if every request has it, --organization-key %s=%s makes it the organization's limit", n.name(), n.key, n.value)
	default:
		x.tell(n, "%s is neither a project nor a model (--project-key, --model-key)", n.key)
	}
}

// deeper tells of the limits of several entries below a node.
func (x *translator) deeper(n *node) {
	for _, c := range n.all() {
		if c.rule != nil {
			x.tell(c, "a limit of several entries has no equivalent: a call is charged to its project and to its model each")
		}
		x.deeper(c)
	}
}

func (x *translator) tell(n *node, format string, args ...any) {
	p := Problem{File: n.written.file, Line: n.written.line, Column: 1, Message: fmt.Sprintf(format, args...)}
	if n.rule != nil {
		p.Message = n.rule.Path + ": " + p.Message
	}
	x.without = append(x.without, p)
}

const (
	nameLetters         = "._:@-"
	pathLetters         = "._:@-/"
	organizationLetters = "._@-"
)

// nameOf gives a name of letters, digits and some more for a text: itself, if it is one.
func nameOf(s, more string) string {
	const longest = 128
	name := strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(more, c) {
			return c
		}
		return '-'
	}, s)
	if rest, ok := strings.CutPrefix(name, "x-"); ok { // such keys are ignored
		name = "x_" + rest
	}
	return cmp.Or(name[:min(len(name), longest)], "-")
}

// unique gives a name, or one with a number if it is taken, and takes it.
func unique(name string, taken map[string]bool) string {
	free := name
	for i := 2; taken[free]; i++ {
		free = fmt.Sprintf("%.120s-%d", name, i)
	}
	taken[free] = true
	return free
}

// windowNames are windows as limits have them. A month and a year are lengths here, of 30 and
// of 365 days.
var windowNames = map[rls.RateLimitResponse_RateLimit_Unit]string{
	rls.RateLimitResponse_RateLimit_SECOND: "s",
	rls.RateLimitResponse_RateLimit_MINUTE: "min",
	rls.RateLimitResponse_RateLimit_HOUR:   "h",
	rls.RateLimitResponse_RateLimit_DAY:    "day",
	rls.RateLimitResponse_RateLimit_WEEK:   "week",
	rls.RateLimitResponse_RateLimit_MONTH:  fmt.Sprintf("%dh", 30*day/time.Hour),
	rls.RateLimitResponse_RateLimit_YEAR:   fmt.Sprintf("%dh", 365*day/time.Hour),
}
