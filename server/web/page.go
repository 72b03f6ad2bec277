package web

import (
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// index lists what there is.
func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	b.WriteString("Watermaster shares out the rate limits of LLM providers.\n\n")
	for _, r := range s.routes {
		fmt.Fprintf(&b, "%-4s %-18s %s\n", r.method, r.path, r.what)
	}
	s.write(w, "text/plain; charset=utf-8", []byte(b.String()))
}

// healthz says that the process lives: that this is answered is the answer.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	s.write(w, "text/plain; charset=utf-8", []byte("ok\n"))
}

// readyz says whether to send calls here.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if s.options.Ready != nil {
		if err := s.options.Ready(); err != nil {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, "not ready: %v\n", err)
			return
		}
	}
	s.write(w, "text/plain; charset=utf-8", []byte("ok\n"))
}

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	s.write(w, "application/json", pb.OpenAPI)
}

func (s *Server) config(w http.ResponseWriter, _ *http.Request) {
	b, err := s.options.Config()
	if err != nil {
		s.logger.Error("the configuration cannot be shown", "error", err)
		s.fail(w, status.Error(codes.Internal, "the configuration cannot be shown: the log says why"))
		return
	}
	s.write(w, "text/yaml; charset=utf-8", b)
}

func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	b, err := s.options.Logs(r.Context())
	if err != nil {
		s.logger.Error("the logs cannot be shown", "error", err)
		s.fail(w, status.Error(codes.Internal, "the logs cannot be shown: the log says why"))
		return
	}
	s.write(w, "application/json", append(b, '\n'))
}

// guarded serves what only some may see.
func (s *Server) guarded(what string, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.options.Authorize != nil {
			if err := s.options.Authorize(r, what); err != nil {
				if _, ok := status.FromError(err); !ok {
					err = status.Errorf(codes.PermissionDenied, "%s is not for you: use a key that may see it", what)
				}
				s.fail(w, err)
				return
			}
		}
		serve(w, r)
	}
}

// write answers with a page. That it does not arrive is nobody's concern.
func (s *Server) write(w http.ResponseWriter, contentType string, b []byte) {
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(b)
}
