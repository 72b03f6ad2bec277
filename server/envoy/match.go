package envoy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"github.com/watermaster-project/watermaster/limiter"
)

// A Match is what a request is held to. It is used again and again: one that has grown to a
// request's size takes the next of that size without allocation.
type Match struct {
	// Hit asks the engine for all counters of the request. Without any there is nothing to
	// ask: the answer is Response(nil, …).
	Hit limiter.Hit
	// Rules are what each descriptor is held to, nil for nothing. Unlimited ones, and those
	// that another replaces (see Counted), have no counter.
	Rules []*Rule

	domain  *Domain
	request *rls.RateLimitRequest
	held    []held
	steps   []step // of all descriptors
	scratch []byte
}

// held is how one descriptor is held to its rule.
type held struct {
	counter  int // its place in Hit.Counters; -1: none
	from, to int // its steps
}

// A step is an entry that has found its node.
type step struct {
	node *node
	by   lookup
}

type lookup uint8

const (
	exactly lookup = iota // key and value
	byWildcard
	byKey // alone
)

// Counted gives the place of a descriptor's counter in Hit, and so of its event; -1 if it has
// none.
func (m *Match) Counted(descriptor int) int { return m.held[descriptor].counter }

// Amount gives the hits of a descriptor: negative for those that are given back, 0 for a look.
func (m *Match) Amount(descriptor int) int64 {
	return amount(m.request, m.request.GetDescriptors()[descriptor])
}

// Match finds what a request is held to. An error says what is wrong with the request; there
// is nothing to charge then, and m is empty.
//
// m keeps the request until it is used again. A nil domain, one that is not known, limits
// nothing.
func (d *Domain) Match(req *rls.RateLimitRequest, m *Match) error {
	m.reset(d, req)
	if err := m.find(); err != nil {
		m.reset(nil, nil)
		return err
	}
	return nil
}

func (m *Match) reset(d *Domain, req *rls.RateLimitRequest) {
	clear(m.Rules) // what is left beyond the length must not keep old limits alive
	clear(m.steps)
	m.Hit.Always, m.Hit.Counters = false, m.Hit.Counters[:0]
	m.Rules, m.held, m.steps = m.Rules[:0], m.held[:0], m.steps[:0]
	m.domain, m.request = d, req
}

func (m *Match) find() error {
	if err := Check(m.request); err != nil {
		return err
	}
	replacing := false
	for i, descriptor := range m.request.GetDescriptors() {
		from := len(m.steps)
		rule, err := m.rule(descriptor)
		if err != nil {
			return fmt.Errorf("descriptor %d: %w", i, err)
		}
		m.Rules = append(m.Rules, rule)
		m.held = append(m.held, held{-1, from, len(m.steps)})
		replacing = replacing || rule != nil && len(rule.Replaces) > 0
	}
	failover := true // quota_mode stops, if all of it is over
	for i, rule := range m.Rules {
		if rule == nil || replacing && m.replaced(rule) {
			continue
		}
		if rule.Quota && (rule.Unlimited || rule.Shadow) {
			failover = false // this one never is
		}
		if rule.Unlimited {
			continue
		}
		m.held[i].counter = len(m.Hit.Counters)
		m.Hit.Counters = append(m.Hit.Counters, m.counter(i, rule))
	}
	if !failover {
		for i := range m.Hit.Counters {
			if c := &m.Hit.Counters[i]; c.Mode == limiter.Quota {
				c.Mode = limiter.Shadow
			}
		}
	}
	return nil
}

// rule gives what a descriptor is held to by itself, and keeps the steps that lead to it.
func (m *Match) rule(descriptor *common.RateLimitDescriptor) (*Rule, error) {
	if m.domain == nil {
		return nil, nil
	}
	if o := descriptor.GetLimit(); o != nil {
		if windowOf(unitOf(o)) == 0 {
			return nil, fmt.Errorf("its limit has the unit %v, which is none", o.GetUnit())
		}
		return m.domain.override, nil
	}
	at := &m.domain.root
	for _, e := range descriptor.GetEntries() {
		s, ok := m.below(at, e)
		if !ok {
			return nil, nil
		}
		m.steps = append(m.steps, s)
		at = s.node
	}
	return at.rule, nil
}

// below finds the node of an entry below another.
func (m *Match) below(at *node, e *common.RateLimitDescriptor_Entry) (step, bool) {
	if len(at.below) == 0 {
		return step{}, false
	}
	m.scratch = append(append(append(m.scratch[:0], e.GetKey()...), '_'), e.GetValue()...)
	if n := at.below[string(m.scratch)]; n != nil {
		return step{n, exactly}, true
	}
	for i := range at.wildcards {
		if w := &at.wildcards[i]; w.fits(m.scratch) {
			return step{w.of, byWildcard}, true
		}
	}
	n := at.below[e.GetKey()]
	return step{n, byKey}, n != nil
}

// replaced says whether another descriptor's limit replaces one.
func (m *Match) replaced(rule *Rule) bool {
	if rule.Name == "" {
		return false
	}
	for _, other := range m.Rules {
		if other != nil && slices.Contains(other.Replaces, rule.Name) {
			return true
		}
	}
	return false
}

// counter is what a descriptor asks of its counter.
func (m *Match) counter(i int, rule *Rule) limiter.CounterHit {
	descriptor := m.request.GetDescriptors()[i]
	hit := limiter.CounterHit{
		Quota: int64(rule.RequestsPerUnit), Window: rule.Window,
		Amount: amount(m.request, descriptor),
	}
	switch {
	case rule.Override:
		o := descriptor.GetLimit()
		hit.Quota, hit.Window = int64(o.GetRequestsPerUnit()), windowOf(unitOf(o))
	case rule.Shadow:
		hit.Mode = limiter.Shadow
	case rule.Quota:
		hit.Mode = limiter.Quota
	}
	hit.Counter = m.digest(descriptor, m.steps[m.held[i].from:m.held[i].to], hit.Window)
	return hit
}

// digest names the counter of a descriptor: of its entries as they count, and its window. What
// the configuration calls them does not matter, nor does the quota.
func (m *Match) digest(descriptor *common.RateLimitDescriptor, steps []step, window time.Duration) (id limiter.CounterID) {
	b := binary.AppendUvarint(m.scratch[:0], uint64(len(descriptor.GetEntries())))
	for i, e := range descriptor.GetEntries() {
		value, kind := e.GetValue(), byte('=')
		if i < len(steps) && steps[i].node.shared {
			value, kind = steps[i].node.value, '*'
		}
		b = appendText(append(appendText(b, e.GetKey()), kind), value)
	}
	b = binary.AppendUvarint(b, uint64(window))
	m.scratch = b
	sum := sha256.Sum256(b)
	return limiter.CounterID(sum[:len(id)])
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
