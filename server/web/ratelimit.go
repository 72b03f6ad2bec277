package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
)

// maxRateLimitBody is the largest body at /json, in bytes: as by gRPC.
const maxRateLimitBody = 256 << 10

// rateLimit serves Envoy's rate-limit service as envoyproxy/ratelimit has it at this path: 200
// for what may go and 429 for what may not, both with the answer as JSON; 400 for a body that
// is no request. Like there, no Content-Type is asked for: curl -d sends another.
func (s *Server) rateLimit(w http.ResponseWriter, r *http.Request) {
	defer s.calls.Add(-1)
	if s.calls.Add(1) > maxCalls {
		s.fail(w, errTooMany)
		return
	}
	header, err := s.checkHeader(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	body, err := readBody(w, r, maxRateLimitBody)
	if err == nil && strings.TrimSpace(body) == "" {
		err = invalid("", "the body is empty: send a JSON object of envoy.service.ratelimit.v3.RateLimitRequest")
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	req := &rls.RateLimitRequest{}
	if err := jsonCodec.UnmarshalOptions.Unmarshal([]byte(body), req); err != nil {
		s.fail(w, unreadable(err, req))
		return
	}
	ticket, leave := s.clients.enter(r)
	defer leave()
	md := metadata.Pairs(ticketKey, ticket)
	for name, values := range header {
		md.Set(strings.ToLower(name), values...)
	}
	answer, err := rls.NewRateLimitServiceClient(s.conn).ShouldRateLimit(metadata.NewOutgoingContext(r.Context(), md), req)
	if err != nil {
		s.fail(w, err)
		return
	}
	text, err := protojson.Marshal(answer)
	var line bytes.Buffer
	if err == nil {
		err = json.Compact(&line, text) // protojson puts in spaces at its whim
	}
	if err != nil {
		s.logger.Error("an answer cannot be told", "error", err)
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch answer.OverallCode {
	case rls.RateLimitResponse_OK:
	case rls.RateLimitResponse_OVER_LIMIT:
		w.WriteHeader(http.StatusTooManyRequests)
	default: // which the service does not answer
		w.WriteHeader(http.StatusInternalServerError)
	}
	_, _ = w.Write(line.Bytes())
}
