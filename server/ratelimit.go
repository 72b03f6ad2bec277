package server

import (
	"context"
	"fmt"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/watermaster-project/watermaster/server/access"
	"github.com/watermaster-project/watermaster/server/envoy"
	"github.com/watermaster-project/watermaster/server/policy"
)

// EnvoyOptions say how Envoy's rate-limit service answers. The zero value is as
// envoyproxy/ratelimit is without further settings, but for ChargeAlways.
type EnvoyOptions struct {
	// Limits are those of the domains that have any; nil: none has. See Server.ReloadLimits.
	Limits *envoy.Limits
	// Domains are those that stand for an organization of another name.
	Domains map[string]string
	// ChargeAlways charges every descriptor, also of a request that is over a limit, and also
	// what is over. It concerns Limits alone.
	ChargeAlways bool
	envoy.Answering
}

// rateLimit implements Envoy's RateLimitService.
type rateLimit struct {
	rls.UnimplementedRateLimitServiceServer
	server *Server
}

// ShouldRateLimit implements RateLimitService. Whatever stands in the way of a decision is an
// error and no code in the answer, so that Envoy's failure_mode decides.
func (r *rateLimit) ShouldRateLimit(ctx context.Context, req *rls.RateLimitRequest) (*rls.RateLimitResponse, error) {
	s := r.server
	if d := s.directory.Load(); d.domains[req.Domain] == nil {
		name, ok, err := s.organizationOf(d, req)
		if err != nil {
			return nil, err
		}
		if ok {
			return present(ctx, s, func() (*rls.RateLimitResponse, error) {
				o, err := s.own(ctx, name)
				if err != nil {
					return nil, err
				}
				return s.draw(ctx, o, req)
			})
		}
	}
	answer, err := s.hitDomain(ctx, req)
	if s.debug {
		s.logRateLimit(ctx, req, answer, err)
	}
	return answer, err
}

// hitDomain decides by the limits of a domain, again if they were exchanged meanwhile. Of one
// that has none nothing is over.
func (s *Server) hitDomain(ctx context.Context, req *rls.RateLimitRequest) (*rls.RateLimitResponse, error) {
	return present(ctx, s, func() (*rls.RateLimitResponse, error) {
		d := s.directory.Load().domains[req.Domain]
		if d == nil {
			return s.unlimited(req)
		}
		if err := drawsOnDomains(callerOf(ctx), req.Domain); err != nil {
			return nil, err
		}
		return s.hit(ctx, d, req)
	})
}

// drawsOnDomains says whether a credential may draw on the domains of a directory: no
// organization has them, so it takes one that is for all.
func drawsOnDomains(c *access.Credential, domain string) error {
	if c == nil || c.AnyOrganization() {
		return nil
	}
	return status.Errorf(codes.PermissionDenied, `the domain %q has limits of its own, which belong to no organization: it takes a credential for organization "*"`, domain)
}

// organizationOf says whose budgets a request draws on: the organization that the domain stands
// for, or that has its name, or that its descriptors name. false: nobody's.
func (s *Server) organizationOf(d *directory, req *rls.RateLimitRequest) (name string, ok bool, err error) {
	if name, ok = s.envoy.Domains[req.Domain]; ok {
		return name, true, nil
	}
	if d.byName[req.Domain] != nil {
		return req.Domain, true, nil
	}
	for _, d := range req.Descriptors {
		for _, e := range d.GetEntries() {
			switch {
			case e.GetKey() != entryOrganization || e.GetValue() == "":
			case name == "":
				name = e.GetValue()
			case e.GetValue() != name:
				return "", false, &policy.Invalid{Field: "descriptors", Message: fmt.Sprintf("they name two organizations, %q and %q: all describe one call", name, e.GetValue())}
			}
		}
	}
	return name, name != "", nil
}

// entryOrganization is the key of the entry that names an organization.
const entryOrganization = "organization"

// unlimited lets a request through that nothing limits.
func (s *Server) unlimited(req *rls.RateLimitRequest) (*rls.RateLimitResponse, error) {
	var m envoy.Match
	if err := (*envoy.Domain)(nil).Match(req, &m); err != nil {
		return nil, notRequest(err)
	}
	return m.Response(nil, s.envoy.Answering), nil
}

// checkRateLimit gives the error of a request of Envoy's that breaks a rule.
func checkRateLimit(req *rls.RateLimitRequest) error {
	if err := envoy.Check(req); err != nil {
		return notRequest(err)
	}
	return nil
}

// notRequest says what is wrong with a request of Envoy's.
func notRequest(err error) error {
	return &policy.Invalid{Field: "RateLimitRequest", Message: err.Error()}
}
