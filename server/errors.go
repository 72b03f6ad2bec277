package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/watermaster-project/watermaster/server/access"
	"github.com/watermaster-project/watermaster/server/policy"
	"github.com/watermaster-project/watermaster/store"
)

// A storeError says that the log could not be used. Asking again may help.
type storeError struct{ err error }

func (e *storeError) Error() string { return "the store cannot be used: " + e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// A leaseError says that a lease is unknown, or forgotten.
type leaseError struct{ id string }

func (e *leaseError) Error() string { return fmt.Sprintf("unknown lease %q", e.id) }

var (
	// errFault says that the engine could not apply the command.
	errFault = errors.New("the command met a fault and was left out")
	// errDraining says that this process is about to end.
	errDraining = errors.New("the server is shutting down")
	// errRetired says that the configuration no longer has the organization, or has it under
	// another name.
	errRetired = errors.New("the organization is no longer served under this name")
	// errRestoring says that processes may still put back what they know.
	errRestoring = errors.New("what the store has lost is being put back")
	// errConfiguring says that the log does not have the names of this configuration yet.
	errConfiguring = errors.New("the configuration is being replaced: ask again in a moment")
	// errNotYet says that counters cannot be drawn on for the moment.
	errNotYet = errors.New("nothing is counted until the processes that share the store have told what they know, and all have a build that counts")
	// errRepeated says that a request has to be asked again under another name of its lease.
	errRepeated = errors.New("the request was decided under this lease before")
	// errNoPeer says that it is not known who calls: the gateway's call has ended.
	errNoPeer = errors.New("the caller is not known")
	// errSlow says that a stream's reader does not read.
	errSlow = errors.New("the stream is not read")
	// errProjects says that the organization has as many projects as it may have.
	errProjects = errors.New("the organization has too many projects")
)

const (
	unknownLease = "unknown lease: never given out, or ended too long ago; there is nothing to settle, so do not ask again"
	errorDomain  = "watermaster"
	retryDelay   = time.Second // what UNAVAILABLE asks for
)

// statusOf maps errors to what callers see. Everything that is not known here is INTERNAL,
// and its text stays inside.
func statusOf(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok {
		return s.Err()
	}
	var (
		unknown  *access.Unauthenticated
		denied   *access.Denied
		notFound *policy.NotFound
		invalid  *policy.Invalid
		broken   *protovalidate.ValidationError
		lease    *leaseError
		unusable *storeError
	)
	switch {
	case errors.As(err, &unknown):
		return status.Error(codes.Unauthenticated, unknown.Error())
	case errors.Is(err, errNoPeer):
		return status.Error(codes.Unauthenticated, err.Error())
	case errors.As(err, &denied):
		return withDetail(codes.PermissionDenied, denied.Error(), &errdetails.ErrorInfo{
			Reason: "DENIED", Domain: errorDomain, Metadata: map[string]string{"kind": denied.What},
		})
	case errors.As(err, &notFound):
		metadata := map[string]string{"kind": notFound.Kind, "name": notFound.Name}
		if notFound.Nearest != "" {
			metadata["nearest"] = notFound.Nearest
		}
		return withDetail(codes.NotFound, notFound.Error(), &errdetails.ErrorInfo{
			Reason: "UNKNOWN_NAME", Domain: errorDomain, Metadata: metadata,
		})
	case errors.As(err, &lease):
		return withDetail(codes.NotFound, unknownLease, &errdetails.ErrorInfo{
			Reason: "UNKNOWN_LEASE", Domain: errorDomain, Metadata: map[string]string{"kind": "lease", "name": lease.id},
		})
	case errors.As(err, &invalid):
		return withDetail(codes.InvalidArgument, invalid.Error(), &errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: invalid.Field, Description: invalid.Message}},
		})
	case errors.As(err, &broken):
		return withDetail(codes.InvalidArgument, broken.Error(), violations(broken))
	case errors.Is(err, store.ErrClosed):
		return withDetail(codes.Unavailable, errDraining.Error(), &errdetails.RetryInfo{RetryDelay: durationpb.New(retryDelay)})
	case errors.As(err, &unusable):
		return withDetail(codes.Unavailable, "the store cannot be used", &errdetails.RetryInfo{RetryDelay: durationpb.New(retryDelay)})
	case errors.Is(err, errDraining), errors.Is(err, errRetired), errors.Is(err, errRestoring), errors.Is(err, errNotYet), errors.Is(err, errRepeated), errors.Is(err, errConfiguring):
		return withDetail(codes.Unavailable, err.Error(), &errdetails.RetryInfo{RetryDelay: durationpb.New(retryDelay)})
	case errors.Is(err, errSlow), errors.Is(err, errProjects):
		return status.Error(codes.ResourceExhausted, err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	return status.Error(codes.Internal, "internal error")
}

func withDetail(c codes.Code, message string, detail protoadapt.MessageV1) error {
	s, err := status.New(c, message).WithDetails(detail)
	if err != nil {
		return status.Error(c, message)
	}
	return s.Err()
}

// violations lists the fields that break their rules.
func violations(e *protovalidate.ValidationError) *errdetails.BadRequest {
	b := &errdetails.BadRequest{}
	for _, v := range e.Violations {
		b.FieldViolations = append(b.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field:       protovalidate.FieldPathString(v.Proto.GetField()),
			Description: v.Proto.GetMessage(),
			Reason:      v.Proto.GetRuleId(),
		})
	}
	return b
}
