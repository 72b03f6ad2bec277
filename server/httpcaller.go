package server

import (
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/watermaster-project/watermaster/server/access"
)

// What is seen over HTTP besides the calls, as methods of the services that a credential has
// to be for.
var pages = map[string]string{
	"metrics": "/watermaster.v1.MonitorService/Metrics",
	"debug":   "/watermaster.v1.AdminService/Debug",
}

// AuthorizeHTTP says whether a request may see "metrics" or "debug". With credentials in the
// configuration both take one that is for every organization: they tell of all. The error is
// a status.
func (s *Server) AuthorizeHTTP(r *http.Request, what string) error {
	list := s.directory.Load().access
	if list == nil {
		return nil
	}
	md := metadata.MD{}
	for _, name := range []string{"authorization", "x-api-key"} {
		for _, v := range r.Header.Values(name) {
			md.Append(name, strings.TrimSpace(v))
		}
	}
	var names []string
	if r.TLS != nil {
		names = access.NamesOf(r.TLS)
	}
	c, err := list.Authorize(pages[what], md, names)
	if err == nil && c != nil && !c.AnyOrganization() {
		err = status.Errorf(codes.PermissionDenied, `/%s tells of all organizations: it takes a credential for organization "*"`, what)
	}
	err = statusOf(err)
	s.refused(err)
	return err
}
