package metrics

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// MaxRules bounds the rules of a domain that have series of their own. Labels are made of what
// requests say, where a rule asks for it (detailed_metric, value_to_metric).
const MaxRules = 1000

// otherRule is the rule of all that have no series of their own.
const otherRule = "(other)"

// A Domain counts what is asked of the limits of one of Envoy's domains.
type Domain struct {
	name  string
	codes [answers]atomic.Uint64

	rules  atomic.Pointer[map[string]*Rule] // by label; never changed, but replaced
	mu     sync.Mutex                       // of whoever replaces it
	others Rule
}

// An Answer is what a request as a whole is told.
type Answer int

// The answers.
const (
	OK        Answer = iota
	OverLimit        // 429
	Shadowed         // OK, for nothing but --envoy-shadow lets it through
	answers
)

var answerNames = [answers]string{"ok", "over_limit", "shadowed"}

// Domain gives the counters of a domain, which go on from where they were if it was there before.
func (s *Set) Domain(name string) *Domain {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.domains[name]
	if d == nil {
		d = &Domain{name: strings.ToValidUTF8(name, "?")}
		d.rules.Store(&map[string]*Rule{})
		s.domains[name] = d
	}
	return d
}

// Answered counts a request.
func (d *Domain) Answered(a Answer) { d.codes[a].Add(1) }

// Rule finds the counters of a rule by its label; of one too many those of all others.
func (d *Domain) Rule(label []byte) *Rule {
	if r := (*d.rules.Load())[string(label)]; r != nil {
		return r
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	known := *d.rules.Load()
	if r := known[string(label)]; r != nil {
		return r
	}
	shown := strings.ToValidUTF8(string(label), "?")
	r := known[shown]
	if r == nil && len(known) >= MaxRules {
		return &d.others
	}
	if r == nil {
		r = &Rule{}
	}
	next := maps.Clone(known)
	next[string(label)], next[shown] = r, r
	d.rules.Store(&next)
	return r
}

// Replace ends the series of rules that are there no longer, and begins those of plain ones,
// whose labels no request changes. They take the places of others if need be.
func (d *Domain) Replace(gone, plain []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := maps.Clone(*d.rules.Load())
	for _, label := range gone {
		delete(next, label)
	}
	keep := make(map[string]bool, len(plain))
	for _, label := range plain {
		keep[label] = true
	}
	rest := slices.DeleteFunc(slices.Sorted(maps.Keys(next)), func(label string) bool { return keep[label] })
	for _, label := range plain {
		switch {
		case next[label] != nil:
			continue
		case len(next) < MaxRules:
		case len(rest) > 0:
			delete(next, rest[0])
			rest = rest[1:]
		default:
			d.rules.Store(&next)
			return
		}
		next[label] = &Rule{}
	}
	d.rules.Store(&next)
}

func (d *Domain) collect(to chan<- prometheus.Metric) {
	for a, name := range answerNames {
		to <- counter(rateLimitRequests, d.codes[a].Load(), d.name, name)
	}
	now := Now()
	for label, r := range *d.rules.Load() {
		if utf8.ValidString(label) { // else it is there once more
			r.collect(to, now, d.name, label)
		}
	}
	if d.others.hits.Load() > 0 {
		d.others.collect(to, now, d.name, otherRule)
	}
}
