package server

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"strings"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/access"
	"github.com/watermaster-project/watermaster/server/policy"
)

// The keys of entries that mean something, beside entryOrganization. All others are ignored.
const (
	entryProject   = "project"
	entryAccount   = "account"
	entryModel     = "model"
	entryRoute     = "route"
	entryClass     = "priority_class"
	entryRequestID = "request_id"
	entryLeaseID   = "lease_id"
	entryPhase     = "phase"
	entryMetric    = "metric"
)

// A phase is which of the two requests about a call this is.
type phase uint8

const (
	eitherPhase phase = iota // the first one about a call opens it, the second ends it
	requestPhase
	endPhase
)

// A sketch is the one call that all descriptors of a request describe.
type sketch struct {
	draw         policy.Draw
	organization string
	requestID    string
	leaseID      string
	phase        phase
	named        bool // the project is one that an entry names

	// A check only looks: all hits are 0.
	check bool
	// returns: something is given back, and nothing is asked for.
	returns bool

	views []descriptorView // by descriptor
}

// A descriptorView says which limits a descriptor shows.
type descriptorView struct {
	scopes uint8 // bits by limiter.Scope; 0: all
	metric limiter.Metric
	one    bool // of that metric alone
}

func (v *descriptorView) shows(s limiter.Scope, m limiter.Metric) bool {
	return (v.scopes == 0 || v.scopes&(1<<s) != 0) && (!v.one || v.metric == m)
}

// read gathers what descriptors say. Errors: policy.Invalid for what contradicts itself,
// policy.NotFound for a metric that is not known.
func (k *sketch) read(p *policy.Policy, req *rls.RateLimitRequest) error {
	k.views = make([]descriptorView, len(req.Descriptors))
	k.check = true
	asks, returns := false, false
	for i, d := range req.Descriptors {
		v := &k.views[i]
		for _, e := range d.GetEntries() {
			if err := k.entry(p, v, e.GetKey(), e.GetValue()); err != nil {
				return err
			}
		}
		n, told, err := hitsOf(req, d)
		if err != nil {
			return err
		}
		k.add(v, n, told)
		k.check = k.check && n == 0
		asks, returns = asks || n > 0, returns || n < 0
	}
	k.returns = returns && !asks
	k.draw.Check = k.check
	k.draw.Held = k.requestID != ""
	return nil
}

// entry takes over one entry. An empty value is as none: that is what a gateway sends for what
// it does not know.
func (k *sketch) entry(p *policy.Policy, v *descriptorView, key, value string) error {
	if value == "" {
		return nil
	}
	var to *string
	var phase string
	switch key {
	case entryOrganization:
		to = &k.organization
		v.scopes |= 1 << limiter.ScopeOrganization
	case entryProject:
		to, k.named = &k.draw.Project, true
		v.scopes |= 1 << limiter.ScopeProject
	case entryAccount:
		to = &k.draw.Account
		v.scopes |= 1 << limiter.ScopePool
	case entryModel:
		to = &k.draw.Model
		v.scopes |= 1 << limiter.ScopePool
	case entryRoute:
		to = &k.draw.Route
		v.scopes |= 1 << limiter.ScopePool
	case entryClass:
		to = &k.draw.Class
	case entryRequestID:
		to = &k.requestID
	case entryLeaseID:
		to = &k.leaseID
	case entryPhase:
		to = &phase
	case entryMetric:
		m, err := p.Metric(value)
		switch {
		case err != nil:
			return err
		case v.one && v.metric != m:
			return &policy.Invalid{Field: "descriptors", Message: "one of them names two metrics: it takes one descriptor for each"}
		}
		v.metric, v.one = m, true
		return nil
	default:
		return nil
	}
	if *to != "" && *to != value {
		return twoValues(key, *to, value)
	}
	*to = value
	if key == entryPhase {
		return k.setPhase(value)
	}
	return nil
}

func twoValues(key, a, b string) error {
	return &policy.Invalid{Field: "descriptors", Message: fmt.Sprintf("they name two values of %s, %q and %q: all describe one call", key, a, b)}
}

func (k *sketch) setPhase(value string) error {
	var is phase
	switch value {
	case "request":
		is = requestPhase
	case "end":
		is = endPhase
	default:
		return &policy.Invalid{Field: "descriptors", Message: fmt.Sprintf("phase is %q: it is request or end", value)}
	}
	if k.phase != eitherPhase && k.phase != is {
		return twoValues(entryPhase, "request", "end")
	}
	k.phase = is
	return nil
}

// hitsOf gives the hits of a descriptor; told is false where nobody has said how many, which is
// one request.
func hitsOf(req *rls.RateLimitRequest, d *common.RateLimitDescriptor) (n int64, told bool, err error) {
	size := uint64(req.GetHitsAddend())
	told = size > 0
	if d.GetHitsAddend() != nil {
		size, told = d.GetHitsAddend().GetValue(), true
	} else if !told {
		size = 1
	}
	if size > policy.MaxHits {
		return 0, false, &policy.Invalid{Field: "hits_addend", Message: "must not exceed 2^40"}
	}
	if n = int64(size); d.GetIsNegativeHits() {
		n = -n
	}
	return n, told, nil
}

// add adds the hits of a descriptor. Of several that tell the same the larger counts: they
// describe one call.
func (k *sketch) add(v *descriptorView, n int64, told bool) {
	d := &k.draw
	if !v.one && !told && n < 0 {
		v.one, v.metric = true, limiter.Requests // of a call of which nothing more is told
	}
	if !v.one {
		d.Call = d.Call || n > 0
		if told && (!d.Tokens.Set || n > d.Tokens.Value) {
			d.Tokens = policy.Some(n)
		}
		return
	}
	for i := range d.Metrics {
		if m := &d.Metrics[i]; m.Metric == v.metric {
			m.Hits = max(m.Hits, n)
			return
		}
	}
	d.Metrics = append(d.Metrics, policy.MetricHits{Metric: v.metric, Hits: n})
}

// own holds a sketch to the organization that was found for it, and to what its caller's
// credential is for. Who names no project draws for the credential's, or else for the default.
func (k *sketch) own(c *access.Credential, e *edition) (err error) {
	if name := e.settings.Name; k.organization != "" && k.organization != name && k.organization != e.settings.Was {
		return twoValues(entryOrganization, name, k.organization)
	}
	if c != nil {
		if err := c.Class(k.draw.Class); err != nil {
			return err
		}
		if k.draw.Project != "" || !c.AnyProject() {
			k.draw.Project, err = c.Project(k.draw.Project)
			return err
		}
	}
	if k.draw.Project == "" {
		k.draw.Project = e.policy.DefaultProject()
	}
	if k.draw.Project == "" {
		return &policy.Invalid{Field: "descriptors", Message: "they name no project, and there are several: add an entry project, one of " +
			strings.Join(e.policy.Projects(), ", ") + ", or configure a project named envoy"}
	}
	return nil
}

// className gives the class of the draw.
func (k *sketch) className() string { return cmp.Or(k.draw.Class, standardClass) }

// drawKey is the engine's name of a call that a gateway tells of by its request_id: another than
// a worker's of the same id, and another in each project, so that nobody ends what is not his.
func drawKey(project, requestID string) (key limiter.Key) {
	b := make([]byte, 0, 256)
	b = append(b, "envoy\x00"...)
	b = append(b, project...)
	b = append(b, 0)
	b = append(b, requestID...)
	sum := sha256.Sum256(b)
	copy(key[:], sum[:])
	return key
}
