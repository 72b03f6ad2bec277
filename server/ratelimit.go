package server

import (
	"context"
	"fmt"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"github.com/watermaster-project/watermaster/server/policy"
)

// rateLimit implements Envoy's RateLimitService.
type rateLimit struct {
	rls.UnimplementedRateLimitServiceServer
	server *Server
}

// ShouldRateLimit implements RateLimitService. Whatever stands in the way of a decision is an
// error and no code in the answer, so that Envoy's failure_mode decides.
func (r *rateLimit) ShouldRateLimit(ctx context.Context, req *rls.RateLimitRequest) (*rls.RateLimitResponse, error) {
	s := r.server
	name, ok, err := s.organizationOf(req)
	if err != nil {
		return nil, err
	}
	if !ok {
		return unlimited(req), nil
	}
	return present(ctx, s, func() (*rls.RateLimitResponse, error) {
		o, err := s.own(ctx, name)
		if err != nil {
			return nil, err
		}
		return s.draw(ctx, o, req)
	})
}

// organizationOf says whose budgets a request draws on: the organization that the domain stands
// for, or that has its name, or that its descriptors name. false: nobody's.
func (s *Server) organizationOf(req *rls.RateLimitRequest) (name string, ok bool, err error) {
	if name, ok = s.envoy.Domains[req.Domain]; ok {
		return name, true, nil
	}
	if s.directory.Load().byName[req.Domain] != nil {
		return req.Domain, true, nil
	}
	for _, d := range req.Descriptors {
		for _, e := range d.Entries {
			switch {
			case e.Key != entryOrganization || e.Value == "":
			case name == "":
				name = e.Value
			case e.Value != name:
				return "", false, &policy.Invalid{Field: "descriptors", Message: fmt.Sprintf("they name two organizations, %q and %q: all describe one call", name, e.Value)}
			}
		}
	}
	return name, name != "", nil
}

// entryOrganization is the key of the entry that names an organization.
const entryOrganization = "organization"

// unlimited lets a request through that nothing limits.
func unlimited(req *rls.RateLimitRequest) *rls.RateLimitResponse {
	answer := &rls.RateLimitResponse{
		OverallCode: rls.RateLimitResponse_OK,
		Statuses:    make([]*rls.RateLimitResponse_DescriptorStatus, len(req.Descriptors)),
	}
	for i := range answer.Statuses {
		answer.Statuses[i] = &rls.RateLimitResponse_DescriptorStatus{Code: rls.RateLimitResponse_OK}
	}
	return answer
}

// What a request of Envoy's may have at most. Its size as a whole is bounded by maxEnvoyMessage.
const (
	maxDescriptors = 64
	maxEntries     = 64   // of a descriptor
	maxEntry       = 4096 // bytes, of a key or a value
	maxDomain      = 256  // bytes
)

// checkRateLimit gives the error of a request of Envoy's that breaks a rule.
func checkRateLimit(m *rls.RateLimitRequest) error {
	switch {
	case m.Domain == "":
		return &policy.Invalid{Field: "domain", Message: "it is empty: set `domain` in Envoy's filter"}
	case len(m.Domain) > maxDomain:
		return &policy.Invalid{Field: "domain", Message: fmt.Sprintf("it is longer than %d bytes", maxDomain)}
	case len(m.Descriptors) == 0:
		return &policy.Invalid{Field: "descriptors", Message: "there are none: at least one is needed"}
	case len(m.Descriptors) > maxDescriptors:
		return &policy.Invalid{Field: "descriptors", Message: fmt.Sprintf("there are %d: at most %d are judged together", len(m.Descriptors), maxDescriptors)}
	}
	for i, d := range m.Descriptors {
		if len(d.Entries) > maxEntries {
			return &policy.Invalid{Field: fmt.Sprintf("descriptors[%d].entries", i), Message: fmt.Sprintf("there are %d: at most %d", len(d.Entries), maxEntries)}
		}
		for _, e := range d.Entries {
			if len(e.Key) > maxEntry || len(e.Value) > maxEntry {
				return &policy.Invalid{Field: fmt.Sprintf("descriptors[%d].entries", i), Message: fmt.Sprintf("a key or a value is longer than %d bytes", maxEntry)}
			}
		}
	}
	return nil
}
