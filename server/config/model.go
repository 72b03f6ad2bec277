package config

import (
	"cmp"
	"slices"
	"strings"
)

// maxTokens bounds what is said of a model's size.
const maxTokens = 1_000_000_000

// maxPrice is the highest price, in micro-USD per million tokens: $1M.
const maxPrice = 1_000_000 * million

// A modelIndex finds models by name or alias.
type modelIndex struct {
	names    []string          // as given in `models:`
	priced   map[string]bool   // names of those with a price
	exact    map[string]string // name or alias without a star: name
	prefixes map[string]string // alias before its star: name
}

// find gives the name of the model that something is a name of. A name or whole alias
// goes before a prefix, a longer prefix before a shorter.
func (x *modelIndex) find(name string) (model string, ok bool) {
	if model, ok = x.exact[name]; ok {
		return model, true
	}
	if len(x.prefixes) == 0 {
		return "", false
	}
	for end := len(name); end >= 0; end-- {
		if model, ok = x.prefixes[name[:end]]; ok {
			return model, true
		}
	}
	return "", false
}

// readModels reads `models:`.
func (r *reader) readModels(top fields) []Model {
	x := modelIndex{priced: map[string]bool{}, exact: map[string]string{}, prefixes: map[string]string{}}
	entries := top.named("models", checkPath)
	for _, e := range entries {
		x.names = append(x.names, e.key.text)
		x.exact[e.key.text] = e.key.text
	}
	var models []Model
	for _, e := range entries {
		models = append(models, r.readModel(e, &x))
	}
	slices.SortFunc(models, func(a, b Model) int { return cmp.Compare(a.Name, b.Name) })
	r.models = x
	return models
}

func (r *reader) readModel(e entry, x *modelIndex) Model {
	m := Model{Name: e.key.text}
	f := r.fields(e.value, "the model "+m.Name, "aliases", "context", "max_output", "capabilities", "price")
	aliases, at := f.words("aliases")
	for i, alias := range aliases {
		bare, starred := strings.CutSuffix(alias, "*")
		names := x.exact
		if starred {
			names = x.prefixes
		}
		other, taken := names[bare]
		switch {
		case bare != "" && checkPath(bare) != nil || bare == "" && !starred:
			r.fail(at[i], "", "the alias %s must be a name, with one * at its end at most", quote(alias))
		case taken:
			r.fail(at[i], "", "the alias %s belongs to the model %s already", quote(alias), other)
		default:
			names[bare] = m.Name
		}
	}
	m.Aliases = aliases
	m.Context = f.whole("context", 0, 1, maxTokens)
	m.MaxOutput = f.whole("max_output", 0, 1, maxTokens)
	if m.Context > 0 && m.MaxOutput > m.Context {
		r.warn(f.where("max_output"), "the model %s has a max_output above its context", m.Name)
	}
	m.Capabilities, _ = f.words("capabilities")
	slices.Sort(m.Capabilities)
	if price := f.value("price"); price != nil {
		m.Price = r.readPrice(price, m.Name)
		x.priced[m.Name] = true
	}
	return m
}

// checkModel tells of a model that is not described and looks like a slip of one that is.
// Models need not be described, so another version of one is only suspect.
func (r *reader) checkModel(at *node, name string) {
	if _, known := r.models.find(name); known || len(r.models.names) == 0 {
		return
	}
	near := r.nearest(name, r.models.names)
	switch {
	case near == "" || r.spelling.Distance(name, near, 2) > 2:
	case only(name, isDigit) != only(near, isDigit) && only(name, isLetter) == only(near, isLetter):
		r.warn(at, "the model %s is not in `models`, where %s is: its size and price are unknown", quote(name), quote(near))
	default:
		r.fail(at, near, "unknown model %s: it is not in `models`, nor an alias there; if it is another model, add it", quote(name))
	}
}

func isDigit(c rune) bool  { return '0' <= c && c <= '9' }
func isLetter(c rune) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// only gives the characters of one kind.
func only(s string, kind func(rune) bool) string {
	return strings.Map(func(c rune) rune {
		if kind(c) {
			return c
		}
		return -1
	}, s)
}

func (r *reader) readPrice(at *node, model string) Price {
	f := r.fields(at, "the price of "+model, "input", "cached_input", "cache_write", "output")
	usd := func(key string, otherwise int64) int64 {
		return parsed(f, key, otherwise, 0, maxPrice, dollars, func(v int64) string { return "$" + fraction(v, 6) })
	}
	var p Price
	for _, key := range []string{"input", "output"} {
		if f.value(key) == nil {
			r.fail(at, "", "the price of %s has no %s, in USD per million tokens", model, key)
		}
	}
	p.Input = usd("input", 0)
	p.CachedInput = usd("cached_input", p.Input)
	p.CacheWrite = usd("cache_write", p.Input)
	p.Output = usd("output", 0)
	return p
}
