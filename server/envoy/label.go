package envoy

import "sync"

const (
	// maxLabel bounds a label of a metric, in bytes.
	maxLabel = 256
	// OtherLabel stands for the labels of a domain beyond the bound.
	OtherLabel = "(other)"
)

// AppendLabel appends what metrics name a descriptor's limit by: the rule's path, with the
// values of the request where detailed_metric or value_to_metric ask for them, cut to 256
// bytes. The descriptor is one that has a rule.
func (m *Match) AppendLabel(b []byte, descriptor int) []byte {
	rule := m.Rules[descriptor]
	start := len(b)
	if !rule.telling {
		b = append(b, rule.Path...)
		return b[:min(len(b), start+maxLabel)]
	}
	b = append(b, rule.Domain...)
	h := m.held[descriptor]
	steps := m.steps[h.from:h.to]
	for i, e := range m.request.GetDescriptors()[descriptor].GetEntries() {
		value := e.GetValue()
		if i < len(steps) {
			value = steps[i].shown(value, rule.Detailed)
		}
		b = append(append(b, '.'), e.GetKey()...)
		if value != "" {
			b = append(append(b, '_'), value...)
		}
	}
	return b[:min(len(b), start+maxLabel)]
}

// shown gives the value that a label has of an entry.
func (s step) shown(value string, detailed bool) string {
	if s.node.shared || s.by == byWildcard && !detailed && !s.node.valued {
		return s.node.value // the wildcard
	}
	if s.by == byKey && !detailed && !s.node.valued {
		return ""
	}
	return value
}

// Labels gives the labels of limits for metrics, each as one string, and not more of them
// than a bound: values come from outside.
type Labels struct {
	mu      sync.Mutex
	max     int
	known   map[string]map[string]string // by domain
	scratch []byte
}

// NewLabels makes labels of which each domain has at most max.
func NewLabels(max int) *Labels {
	return &Labels{max: max, known: make(map[string]map[string]string)}
}

// Of gives the label of a descriptor that has a rule, or [OtherLabel] if its domain has as many
// as it may. A rule whose label no request changes always has its own.
func (l *Labels) Of(m *Match, descriptor int) string {
	rule := m.Rules[descriptor]
	if !rule.telling && len(rule.Path) <= maxLabel {
		return rule.Path
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.scratch = m.AppendLabel(l.scratch[:0], descriptor)
	known := l.known[rule.Domain]
	if label, ok := known[string(l.scratch)]; ok {
		return label
	}
	if len(known) >= l.max {
		return OtherLabel
	}
	if known == nil {
		known = make(map[string]string)
		l.known[rule.Domain] = known
	}
	label := string(l.scratch)
	known[label] = label
	return label
}
