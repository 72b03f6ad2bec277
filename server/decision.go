package server

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// logDecision tells of one decision, with the labels of its request, at level debug.
func (s *Server) logDecision(ctx context.Context, o *organization, req *pb.AcquireRequest, answer *pb.AcquireResponse, err error) {
	attrs := []slog.Attr{
		slog.String("organization", o.name),
		slog.String("project", req.Project),
		slog.String("priority_class", req.PriorityClass),
		slog.String("request_id", req.RequestId),
		slog.Uint64("attempt", uint64(req.Attempt)),
	}
	switch {
	case err != nil:
		attrs = append(attrs, slog.String("decision", "error"), slog.String("error", err.Error()))
	case answer.GetGranted() != nil:
		g := answer.GetGranted()
		attrs = append(attrs, slog.String("decision", "granted"), slog.String("account", g.Target.GetAccount()),
			slog.String("model", g.Target.GetModel()), slog.Duration("waited", g.Waited.AsDuration()))
	case answer.GetWait() != nil:
		attrs = append(attrs, slog.String("decision", "wait"))
	case answer.GetRejected() != nil:
		attrs = append(attrs, slog.String("decision", "rejected"), slog.String("reason", answer.GetRejected().Reason.String()))
	}
	if len(req.Labels) > 0 {
		var labels []any
		for _, k := range slices.Sorted(maps.Keys(req.Labels)) {
			labels = append(labels, slog.String(k, req.Labels[k]))
		}
		attrs = append(attrs, slog.Group("labels", labels...))
	}
	if c := callerOf(ctx); c != nil {
		attrs = append(attrs, slog.String("credential", c.Name()))
	}
	s.logger.LogAttrs(ctx, slog.LevelDebug, "acquire", attrs...)
}

// logRateLimit tells of one decision for Envoy, at level debug.
func (s *Server) logRateLimit(ctx context.Context, req *rls.RateLimitRequest, answer *rls.RateLimitResponse, err error) {
	attrs := []slog.Attr{slog.String("domain", req.Domain), slog.Uint64("hits", uint64(req.HitsAddend))}
	var text strings.Builder
	for i, d := range req.Descriptors {
		text.Reset()
		for k, e := range d.GetEntries() {
			if k > 0 {
				text.WriteByte(' ')
			}
			fmt.Fprintf(&text, "%s=%s", e.GetKey(), e.GetValue())
		}
		told := []any{slog.String("entries", text.String())}
		if i < len(answer.GetStatuses()) {
			status := answer.Statuses[i]
			told = append(told, slog.String("code", status.Code.String()), slog.Uint64("remaining", uint64(status.LimitRemaining)),
				slog.Duration("reset", status.DurationUntilReset.AsDuration()))
		}
		attrs = append(attrs, slog.Group(fmt.Sprintf("descriptor_%d", i), told...))
	}
	if err != nil {
		attrs = append(attrs, slog.String("decision", "error"), slog.String("error", err.Error()))
	} else {
		attrs = append(attrs, slog.String("decision", answer.OverallCode.String()))
	}
	if c := callerOf(ctx); c != nil {
		attrs = append(attrs, slog.String("credential", c.Name()))
	}
	s.logger.LogAttrs(ctx, slog.LevelDebug, "rate limit", attrs...)
}
