package server

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

// wire makes a connection whose frames the test writes.
func (w *world) wire(path string) *wire {
	w.t.Helper()
	conn, err := w.dial()
	if err != nil {
		w.t.Fatal(err)
	}
	c := newWire(conn, path)
	go c.read()
	c.send(w.t)
	return c
}

// send flushes in virtual time, and lets all come of it that does.
func (c *wire) send(t *testing.T) {
	t.Helper()
	if err := c.flush(); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// TestLargestMessage: 64 KiB, and not a byte more, though Envoy's may have more.
func TestLargestMessage(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		release := func(size int) error {
			r := &pb.ReleaseRequest{LeaseId: "a", Consumption: &pb.ReleaseRequest_ProviderUsage{ProviderUsage: &structpb.Struct{}}}
			// What is unknown counts too, and can have any length.
			r.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), make([]byte, size-proto.Size(r)-5)))
			if n := proto.Size(r); n != size {
				t.Fatalf("a message of %d bytes, want %d", n, size)
			}
			_, err := w.Release(w.t.Context(), r)
			return err
		}
		wantCode(t, release(64<<10), codes.NotFound) // a lease that is none
		wantCode(t, release(64<<10+1), codes.ResourceExhausted)
		wantCode(t, release(256<<10), codes.ResourceExhausted)
		wantCode(t, release(256<<10+1), codes.ResourceExhausted)
	})
}

// TestLargestRateLimit: Envoy's requests may have 256 KiB.
func TestLargestRateLimit(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		ask := func(size int) error {
			r := &rls.RateLimitRequest{Domain: "d"}
			for range 8 {
				r.Descriptors = append(r.Descriptors, descriptor("k", strings.Repeat("v", 32000)))
			}
			r.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), make([]byte, size-proto.Size(r)-4)))
			if n := proto.Size(r); n != size {
				t.Fatalf("a message of %d bytes, want %d", n, size)
			}
			_, err := rls.NewRateLimitServiceClient(w.conn).ShouldRateLimit(w.t.Context(), r)
			return err
		}
		wantCode(t, ask(256<<10), codes.OK)
		wantCode(t, ask(256<<10+1), codes.ResourceExhausted)
	})
}

// TestLargestHeader: 8 KiB, counted as HTTP/2 does. A client that knows of the bound does
// not send more; one that does is refused.
func TestLargestHeader(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		w.grant(ask("a"))
		ctx := metadata.AppendToOutgoingContext(w.t.Context(), "x-fill", strings.Repeat("x", 8<<10))
		if _, err := w.Acquire(ctx, ask("b", block(0))); err == nil || !strings.Contains(err.Error(), "header list size") {
			t.Errorf("got %v, want a word on the header's size", err)
		}
		c := w.wire(acquireMethod)
		c.header = headerOf(acquireMethod, "x-fill", strings.Repeat("x", 7<<10))
		c.call(ask("c", block(0)))
		c.send(t)
		if c.answers.Load() != 1 || c.resets.Load() != 0 {
			t.Errorf("a header of 7 KiB: %d answers, %d resets", c.answers.Load(), c.resets.Load())
		}
		c.header = headerOf(acquireMethod, "x-fill", strings.Repeat("x", 8<<10))
		c.call(ask("d", block(0)))
		c.send(t)
		if c.answers.Load() != 1 || c.resets.Load() == 0 {
			t.Errorf("a header of more than 8 KiB: %d answers, %d resets; want a reset", c.answers.Load()-1, c.resets.Load())
		}
	})
}

// TestMostStreams: 1,000 calls of a connection at a time.
func TestMostStreams(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		c := w.wire(watchMethod)
		for range 1000 {
			c.call(&pb.WatchHeadroomRequest{})
			c.send(t)
		}
		if n := c.resets.Load(); n != 0 {
			t.Fatalf("%d streams of 1,000 were refused", n)
		}
		c.call(&pb.WatchHeadroomRequest{})
		c.send(t)
		if c.resets.Load() != 1 || http2.ErrCode(c.reset.Load()) != http2.ErrCodeRefusedStream {
			t.Errorf("stream 1,001: %d resets, %v; want REFUSED_STREAM", c.resets.Load(), http2.ErrCode(c.reset.Load()))
		}
	})
}

// TestPings: a client may ping every 10 s; one that does it more often is sent away.
func TestPings(t *testing.T) {
	for _, every := range []time.Duration{10 * time.Second, 9 * time.Second} {
		inWorld(t, small, memory.Options{}, func(w *world) {
			c := w.wire(acquireMethod)
			for range 20 {
				if c.isClosed() {
					break
				}
				_ = c.framer.WritePing(false, [8]byte{1})
				c.send(t)
				time.Sleep(every)
			}
			away := c.away.Load() != nil && c.away.Load().ErrCode == http2.ErrCodeEnhanceYourCalm
			if want := every < 10*time.Second; away != want || c.isClosed() != want {
				t.Errorf("pings every %v: sent away %v, closed %v; want %v", every, away, c.isClosed(), want)
			}
		})
	}
}

// TestConnectionAge: a connection ends after half an hour, give or take a tenth, so that load
// spreads over what is there; what runs has half a minute to end.
func TestConnectionAge(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		c := w.wire(watchMethod)
		c.call(&pb.WatchHeadroomRequest{})
		c.send(t)
		time.Sleep(26 * time.Minute)
		synctest.Wait()
		if c.away.Load() != nil {
			t.Error("it was sent away within 27 minutes")
		}
		start := time.Now()
		for c.away.Load() == nil && time.Since(start) < time.Hour {
			time.Sleep(time.Second)
		}
		if d := time.Since(start); d > 8*time.Minute {
			t.Errorf("it was sent away after %v, want at most 33 minutes", 26*time.Minute+d)
		}
		time.Sleep(connectionGrace - 2*time.Second)
		if c.isClosed() {
			t.Error("its stream was cut off within the grace")
		}
		time.Sleep(10 * time.Second)
		if !c.isClosed() {
			t.Error("it is still open after the grace")
		}
	})
}

// TestConnectionAgeFailsNothing: calls that block for as long as they may, all the time, over
// connections that age: none fails.
func TestConnectionAgeFailsNothing(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		held := w.grant(ask("held", ttl(24*time.Hour)))
		ctx, stop := context.WithTimeout(w.t.Context(), 2*time.Hour)
		defer stop()
		var all sync.WaitGroup
		calls := make([]int, 20)
		for i := range calls {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				for ctx.Err() == nil {
					// With a context that outlives the loop: what it measures is the server's end.
					a, err := w.Acquire(w.t.Context(), ask(name("r", i), block(maxBlock), maxWait(24*time.Hour)))
					if err != nil || a.GetWait() == nil {
						t.Errorf("call %d of %d: got %v, %v, want wait", calls[i], i, a, err)
						return
					}
					calls[i]++
				}
			})
		}
		all.Wait()
		w.release(held.LeaseId)
		if n := w.dialed.Load(); n < 4 {
			t.Errorf("%d connections in 2 hours, want a new one every half hour", n)
		}
		if calls[0] < 300 {
			t.Errorf("%d calls compare little", calls[0])
		}
	})
}

// TestSilentConnections: a connection that never speaks, or not to the end of what has to
// come first, is closed after 5 s, with TLS and without.
func TestSilentConnections(t *testing.T) {
	hello := "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" // of a ClientHello
	for _, r := range []struct {
		secure bool
		says   string
	}{{false, ""}, {false, http2.ClientPreface[:10]}, {false, http2.ClientPreface}, {true, ""}, {true, hello}} {
		synctest.Test(t, func(t *testing.T) {
			var with []grpc.ServerOption
			if r.secure {
				with = append(with, grpc.Creds(encrypted()))
			}
			w := newWorldOf(t, Options{Config: parse(t, small), Log: memory.Open(memory.Options{})}, with...)
			defer w.close()
			conn, err := w.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte(r.says)); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			for b := make([]byte, 1<<10); err == nil; {
				_, err = conn.Read(b)
			}
			if d := time.Since(start); d != 5*time.Second {
				t.Errorf("who says %q (TLS %v) is cut off after %v, want 5s", r.says, r.secure, d)
			}
		})
	}
}

// TestDeadConnection: a client that no longer answers, as one whose machine is gone, keeps its
// connection for minutes, not hours.
func TestDeadConnection(t *testing.T) {
	inWorld(t, small, memory.Options{}, func(w *world) {
		conn, err := w.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := newWire(conn, acquireMethod).flush(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for b := make([]byte, 1<<10); err == nil; {
			_, err = conn.Read(b)
		}
		if d := time.Since(start); d > 2*time.Minute {
			t.Errorf("it is closed after %v", d)
		}
	})
}
