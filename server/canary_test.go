package server

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/watermaster-project/watermaster/limiter"
	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

// TestCanaryOfPanics: a panic of a handler or of the engine is logged with its stack, and with
// nothing of the request that met it; the caller learns nothing of either.
func TestCanaryOfPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		handlers := false
		w := newWorldOf(t, Options{
			Config: parse(t, guarded()), Log: memory.Open(memory.Options{}),
			Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}, grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if _, ok := req.(*pb.ReleaseRequest); ok && handlers {
				panic("as planned, too")
			}
			return next(ctx, req)
		}))
		ctx := metadata.AppendToOutgoingContext(w.as(workersKey), "x-prompt", "CANARY")
		a, err := w.Acquire(ctx, ask("a"))
		if err != nil || a.GetGranted() == nil {
			t.Fatal(a, err)
		}
		release := &pb.ReleaseRequest{LeaseId: a.GetGranted().LeaseId, Observation: &pb.Observation{
			HttpStatus: 400, Body: "CANARY", Headers: map[string]string{"authorization": "Bearer sk-CANARY", "retry-after": "CANARY"},
		}}
		o, err := w.server.find("acme")
		if err != nil {
			t.Fatal(err)
		}
		for _, handlers = range []bool{true, false} {
			o.replica.Lock()
			o.replica.Probe = func(limiter.Command) { panic("as planned") }
			o.replica.Unlock()
			_, err := w.Release(ctx, release)
			if s := wantCode(t, err, codes.Internal); s.Message() != "internal error" || len(s.Details()) != 0 {
				t.Errorf("the caller is told %q, %v", s.Message(), s.Details())
			}
		}
		w.close()
		if n := strings.Count(log.String(), "stack="); n < 2 {
			t.Errorf("%d stacks in the log, want two:\n%s", n, &log)
		}
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "CANARY") {
				t.Errorf("logged: %s", line)
			}
		}
	})
}
