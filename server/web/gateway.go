package web

import (
	"context"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	gateway "github.com/watermaster-project/watermaster/server/web/internal/watermaster/v1"
)

// exchangeKey finds the exchange of a context.
type exchangeKey struct{}

// An exchange is a request that goes through the gateway.
type exchange struct {
	ticket string // see clients
	answer *writer
	broken error // why the body cannot be read
}

func exchangeOf(ctx context.Context) *exchange {
	e, _ := ctx.Value(exchangeKey{}).(*exchange)
	return e
}

// newGateway makes the handler that turns requests into calls.
func (s *Server) newGateway() (*runtime.ServeMux, error) {
	none := func(string) (string, bool) { return "", false }
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, jsonCodec),
		runtime.WithIncomingHeaderMatcher(func(name string) (string, bool) {
			return apiKey, name == http.CanonicalHeaderKey(apiKey) // Authorization always goes
		}),
		runtime.WithOutgoingHeaderMatcher(none),
		runtime.WithOutgoingTrailerMatcher(none),
		runtime.WithMetadata(func(ctx context.Context, _ *http.Request) metadata.MD {
			return metadata.Pairs(ticketKey, exchangeOf(ctx).ticket)
		}),
		runtime.WithErrorHandler(s.failCall),
		runtime.WithStreamErrorHandler(s.failStream),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithDisableChunkedEncoding(), // net/http does it
	)
	ctx := context.Background()
	if err := gateway.RegisterLimiterServiceHandler(ctx, mux, s.conn); err != nil {
		return nil, err
	}
	return mux, gateway.RegisterMonitorServiceHandler(ctx, mux, s.conn)
}

// failCall answers with the error of a call, or of a request that did not become one.
func (s *Server) failCall(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	if e := exchangeOf(ctx); e != nil && e.broken != nil {
		err = e.broken
	}
	s.fail(w, err)
}

// failStream tells the end of a stream. Before the first message it is an answer like that of
// any other call; after it, the gateway writes it as the last line.
func (s *Server) failStream(ctx context.Context, err error) *status.Status {
	if e := exchangeOf(ctx); e != nil && !e.answer.began {
		s.fail(e.answer, err)
		e.answer.failed = true
	}
	return status.Convert(err)
}
