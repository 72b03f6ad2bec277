package server

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/access"
)

// callerKey is where a call's context has its credential. None is there where the
// configuration has no credentials, or the method is for everybody.
type callerKey struct{}

// callerOf gives the credential of a call; nil: it may do all.
func callerOf(ctx context.Context) *access.Credential {
	c, _ := ctx.Value(callerKey{}).(*access.Credential)
	return c
}

// admit lets a call through to a method, with its credential in the context. Errors are
// those of access.List.Authorize.
func (s *Server) admit(ctx context.Context, method string) (context.Context, error) {
	list := s.directory.Load().access
	if list == nil {
		return ctx, nil
	}
	md, _ := metadata.FromIncomingContext(ctx)
	names, err := s.namesOf(ctx)
	var c *access.Credential
	if err == nil {
		c, err = list.Authorize(method, md, names)
	}
	if err != nil {
		return ctx, err
	}
	if c == nil {
		return ctx, nil
	}
	return context.WithValue(ctx, callerKey{}, c), nil
}

// refused counts a call that was not let through.
func (s *Server) refused(err error) {
	switch status.Code(err) {
	case codes.Unauthenticated:
		s.unauthenticated.Add(1)
	case codes.PermissionDenied:
		s.denied.Add(1)
	}
}

// namesOf gives the names in the caller's verified client certificate.
func (s *Server) namesOf(ctx context.Context) ([]string, error) {
	p, ok := s.peer(ctx)
	if !ok {
		return nil, errNoPeer
	}
	if t, ok := p.AuthInfo.(credentials.TLSInfo); ok {
		return access.NamesOf(&t.State), nil
	}
	return nil, nil
}

// own finds the organization of a call: by its name, "" being the credential's, or else the
// only one.
func (s *Server) own(ctx context.Context, name string) (*organization, error) {
	c := callerOf(ctx)
	if c == nil {
		return s.find(name)
	}
	if o := s.directory.Load().byName[name]; o != nil {
		name = o.name // which may have been another
	}
	name, err := c.Organization(name)
	if err != nil {
		return nil, err
	}
	return s.find(name)
}

// ownLease finds the organization of a lease. One that is not the caller's is as unknown as
// one that never was: ids are not secrets, and nobody shall learn from trying.
func (s *Server) ownLease(ctx context.Context, id string) (*organization, lease, error) {
	o, l, err := s.findLease(id)
	if err != nil {
		return nil, lease{}, err
	}
	c := callerOf(ctx)
	if c == nil {
		return o, l, nil
	}
	if _, err := c.Organization(o.name); err != nil {
		return nil, lease{}, &leaseError{id}
	}
	if !c.AnyProject() {
		project, ok := o.holder(l.id)
		if !ok { // another process may have granted it just now
			o.catchUp()
			project, ok = o.holder(l.id)
		}
		if _, err := c.Project(project); !ok || err != nil {
			return nil, lease{}, &leaseError{id}
		}
	}
	return o, l, nil
}

// holder gives the project that a lease is of, as far as is known here.
func (o *organization) holder(id limiter.LeaseID) (project string, ok bool) {
	o.replica.Lock()
	defer o.replica.Unlock()
	project, _, _, ok = o.engine().Holder(id)
	return project, ok
}
