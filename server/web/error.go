package web

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A refusal is an error of a request that gRPC never sees.
type refusal struct {
	http    int // the status; 0: that of the code
	code    codes.Code
	message string
	detail  protoadapt.MessageV1 // nil: none
}

func (r *refusal) Error() string { return r.message }

// GRPCStatus makes it known to package status.
func (r *refusal) GRPCStatus() *status.Status {
	s := status.New(r.code, r.message)
	if r.detail != nil {
		if with, err := s.WithDetails(r.detail); err == nil {
			return with
		}
	}
	return s
}

// invalid says that a request is wrong; field is the field, parameter or header that is, or "".
func invalid(field, format string, args ...any) *refusal {
	r := &refusal{code: codes.InvalidArgument, message: fmt.Sprintf(format, args...)}
	if field != "" {
		r.detail = &errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: r.message}},
		}
	}
	return r
}

var (
	errTooLarge = &refusal{
		http:    http.StatusRequestEntityTooLarge,
		code:    codes.InvalidArgument,
		message: fmt.Sprintf("the body is larger than %d KiB: of provider_usage send the usage only", maxBody>>10),
	}
	errTooLargeHere = &refusal{
		http:    http.StatusRequestEntityTooLarge,
		code:    codes.InvalidArgument,
		message: fmt.Sprintf("the body is larger than %d KiB", maxRateLimitBody>>10),
	}
	errTooMany = &refusal{
		code:    codes.ResourceExhausted,
		message: "too many calls at a time: ask again later, or another replica",
		detail:  &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)},
	}
)

// fail answers with an error.
func (s *Server) fail(w http.ResponseWriter, err error) {
	st := status.Convert(err)
	if st.Code() == codes.OK {
		st = status.New(codes.Internal, "internal error")
	}
	code := runtime.HTTPStatusFromCode(st.Code())
	if r := (*refusal)(nil); errors.As(err, &r) && r.http != 0 {
		code = r.http
	}
	body, err := jsonCodec.Marshal(st.Proto())
	if err != nil { // a detail of a type that is not known here
		s.logger.Error("the details of an error cannot be told", "error", err)
		body, _ = jsonCodec.Marshal(status.New(st.Code(), st.Message()).Proto())
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if d := retryAfter(st); d > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(d.Seconds()))))
	}
	if code == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

// retryAfter gives the delay that an error asks for; 0: none.
func retryAfter(st *status.Status) time.Duration {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.RetryDelay.AsDuration()
		}
	}
	return 0
}
