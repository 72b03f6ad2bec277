package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/server/spelling"
)

// A route is what is served at a path.
type route struct {
	method, path string
	what         string // it does, for people
	serve        http.HandlerFunc
	head         bool // HEAD is served too
}

// addRoutes makes the table of all that is served.
func (s *Server) addRoutes() {
	s.routes = []route{
		{http.MethodGet, "/", "this list", s.index, true},
		{http.MethodPost, "/v1/acquire", "asks for one call to a provider", s.post(&pb.AcquireRequest{}), false},
		{http.MethodPost, "/v1/renew", "keeps leases in force", s.post(&pb.RenewRequest{}), false},
		{http.MethodPost, "/v1/release", "ends a lease, and tells what was used", s.post(&pb.ReleaseRequest{}), false},
		{http.MethodPost, "/v1/report", "tells of a running call, or of a provider", s.post(&pb.ReportRequest{}), false},
		{http.MethodGet, "/v1/headroom", "the state of the limits", s.get(&pb.GetHeadroomRequest{}), false},
		{http.MethodGet, "/v1/headroom/watch", "the same as a stream, one JSON object a line", s.get(&pb.WatchHeadroomRequest{}), false},
		{http.MethodPost, "/json", "Envoy's rate-limit service as JSON, as envoyproxy/ratelimit has it", s.rateLimit, false},
		{http.MethodGet, "/openapi.json", "what these take and answer", s.openAPI, true},
		{http.MethodGet, "/healthz", "whether the process lives", s.healthz, true},
		{http.MethodGet, "/readyz", "whether it should be sent calls", s.readyz, true},
	}
	if s.options.Metrics != nil {
		s.routes = append(s.routes, route{
			http.MethodGet, "/metrics", "metrics for Prometheus", s.guarded("metrics", s.options.Metrics.ServeHTTP), true,
		})
	}
	if s.options.Config != nil {
		s.routes = append(s.routes, route{
			http.MethodGet, "/debug/config", "the configuration in force, without secrets", s.guarded("debug", s.config), true,
		})
	}
	if s.options.Logs != nil {
		s.routes = append(s.routes, route{
			http.MethodGet, "/debug/replicas", "the logs that replicas share, and who they are", s.guarded("debug", s.logs), true,
		})
	}
	s.byPath = map[string][]*route{}
	for i := range s.routes {
		r := &s.routes[i]
		s.byPath[r.path] = append(s.byPath[r.path], r)
	}
}

// ServeHTTP serves what the table has, and refuses everything else.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := newWriter(w)
	answer.Header().Set("X-Content-Type-Options", "nosniff")
	answer.Header().Set("Cache-Control", "no-store")
	at := s.byPath[r.URL.Path]
	if len(at) == 0 {
		s.fail(answer, s.noPath(r.URL.Path))
		return
	}
	var allowed []string
	for _, to := range at {
		if r.Method == to.method || to.head && r.Method == http.MethodHead {
			to.serve(answer, r)
			return
		}
		allowed = append(allowed, to.method)
		if to.head {
			allowed = append(allowed, http.MethodHead)
		}
	}
	answer.Header().Set("Allow", strings.Join(allowed, ", "))
	s.fail(answer, &refusal{http: http.StatusMethodNotAllowed, code: codes.Unimplemented,
		message: fmt.Sprintf("%s takes %s, not %s", r.URL.Path, strings.Join(allowed, " or "), short(r.Method))})
}

// noPath says that nothing is there, and what may have been meant.
func (s *Server) noPath(path string) error {
	var paths []string
	for _, r := range s.routes {
		paths = append(paths, r.path)
	}
	info := &errdetails.ErrorInfo{Reason: "UNKNOWN_PATH", Domain: "watermaster", Metadata: map[string]string{"name": short(path)}}
	message := fmt.Sprintf("there is nothing at %q", short(path))
	nearest := strings.TrimRight(path, "/")
	if !slices.Contains(paths, nearest) {
		nearest = spelling.Nearest(path, paths[1:]) // "/" is like every short one
	}
	if nearest != "" {
		info.Metadata["nearest"] = nearest
		message += fmt.Sprintf(": did you mean %s?", nearest)
	} else {
		message += ": / lists what there is"
	}
	return &refusal{http: http.StatusNotFound, code: codes.NotFound, message: message, detail: info}
}

// short cuts what a client sent to what fits in a message.
func short(s string) string {
	const most = 200 // bytes
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
