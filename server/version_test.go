package server

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/memory"
)

// appendRaw puts an entry of another process into the log of acme.
func appendRaw(t *testing.T, log store.Log, payload []byte) {
	t.Helper()
	ctx := context.Background()
	s, tail, err := log.Load(ctx, "acme")
	if err != nil {
		t.Fatal(err)
	}
	at := s.Position
	if n := len(tail); n > 0 {
		at = tail[n-1].Position
	}
	claim, _ := log.Now("acme")
	if _, err := log.Append(ctx, "acme", at, store.Batch{Incarnation: 99, Number: 1, Claim: claim, Payload: payload}, nil); err != nil {
		t.Fatal(err)
	}
}

// TestLaterVersion: what a later version wrote is never skipped: a server that finds it does
// not begin, and one that reads it while it serves stops serving the organization.
func TestLaterVersion(t *testing.T) {
	entry := append([]byte{9}, limiter.AppendCommand(nil, &limiter.Tick{})...)
	t.Run("entry at the beginning", func(t *testing.T) {
		log := memory.Open(memory.Options{Keep: true})
		if err := log.Create(t.Context(), "acme", store.Snapshot{}); err != nil {
			t.Fatal(err)
		}
		appendRaw(t, log, entry)
		if _, err := New(t.Context(), Options{Config: parse(t, small), Log: log}); err == nil || !strings.Contains(err.Error(), "later") {
			t.Errorf("got %v, want a word on a later version", err)
		}
	})
	t.Run("unknown command", func(t *testing.T) {
		log := memory.Open(memory.Options{Keep: true})
		if err := log.Create(t.Context(), "acme", store.Snapshot{}); err != nil {
			t.Fatal(err)
		}
		appendRaw(t, log, []byte{1, 250, 1, 2, 3})
		if _, err := New(t.Context(), Options{Config: parse(t, small), Log: log}); !errors.Is(err, limiter.ErrCodec) {
			t.Errorf("got %v, want ErrCodec", err)
		}
	})
	t.Run("snapshot", func(t *testing.T) {
		log := memory.Open(memory.Options{})
		if err := log.Create(t.Context(), "acme", store.Snapshot{State: []byte{200, 1, 2}}); err != nil {
			t.Fatal(err)
		}
		if _, err := New(t.Context(), Options{Config: parse(t, small), Log: log}); !errors.Is(err, limiter.ErrVersion) {
			t.Errorf("got %v, want ErrVersion", err)
		}
	})
	t.Run("while it serves", func(t *testing.T) {
		inWorld(t, small, memory.Options{Keep: true}, func(w *world) {
			w.grant(ask("a"))
			appendRaw(w.t, w.log, entry)
			_, err := w.Acquire(w.t.Context(), ask("b"))
			wantCode(w.t, err, codes.Internal)
			w.wantHealth(healthpb.HealthCheckResponse_NOT_SERVING)
		})
	})
}
