package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/watermaster-project/watermaster/server/cmd/watermaster/top"
)

const healthcheckHelp = `Asks a server's grpc.health.v1 whether it serves, prints one word, and exits with 0 if that is SERVING,
else with 1 and the reason on standard error:

  SERVING           it decides calls
  NOT_SERVING       it is ending, or has lost its log
  SERVICE_UNKNOWN   it has no --service of that name
  UNREACHABLE       nothing there answered in time, or not as a health service does

For Docker's HEALTHCHECK and exec probes, where the image has no shell.`

const healthcheckExamples = `  watermaster healthcheck
  watermaster healthcheck --address 10.0.0.7:8081 --service watermaster.v1.LimiterService --timeout 500ms
  HEALTHCHECK CMD ["/watermaster", "healthcheck"]`

func newHealthcheck() *cobra.Command {
	var (
		dial    dialFlags
		service string
		timeout time.Duration
	)
	c := &cobra.Command{
		Use:     "healthcheck",
		Short:   "Asks a running server whether it serves",
		Long:    healthcheckHelp + "\n\n" + dialHelp,
		Example: healthcheckExamples,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return fmt.Errorf("--timeout %s: it is above 0", timeout)
			}
			ctx, stop := context.WithTimeout(c.Context(), timeout)
			defer stop()
			return healthcheck(ctx, &dial, service, timeout, c.OutOrStdout())
		},
	}
	c.Flags().SortFlags = false
	c.Flags().StringVar(&service, "service", "", "a gRPC service's full `NAME` (default the server as a whole)")
	c.Flags().DurationVar(&timeout, "timeout", 2*time.Second, "how long it has for the answer")
	dial.register(c.Flags())
	return c
}

// healthcheck prints how the server is. It is an error if that is not SERVING.
func healthcheck(ctx context.Context, dial *dialFlags, service string, timeout time.Duration, w io.Writer) (err error) {
	conn, err := dial.dial()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	answer, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: service})
	word, reason := "UNREACHABLE", ""
	switch status.Code(err) {
	case codes.OK:
		word = answer.GetStatus().String()
		reason = "it is ending, or has lost its log; the server's own log tells"
	case codes.NotFound:
		word = healthpb.HealthCheckResponse_SERVICE_UNKNOWN.String()
		reason = fmt.Sprintf("it has no service %q", service)
	case codes.DeadlineExceeded:
		reason = fmt.Sprintf("no answer within %s", timeout)
	default:
		reason = top.Reason(err)
	}
	if _, err := fmt.Fprintln(w, word); err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	if word == healthpb.HealthCheckResponse_SERVING.String() {
		return nil
	}
	return fmt.Errorf("healthcheck: %s is %s: %s", dial.address, word, reason)
}
