package server

import (
	"context"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// draw decides on a request of Envoy's by the budgets of an organization, as it does for workers.
func (s *Server) draw(context.Context, *organization, *rls.RateLimitRequest) (*rls.RateLimitResponse, error) {
	return nil, status.Error(codes.Unimplemented, "the budgets of organizations cannot be drawn on yet")
}
