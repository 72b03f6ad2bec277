package server

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/memory"
)

// wide has so many limits that one message is larger than a stream's window of 64 KiB.
func wide() string {
	var b strings.Builder
	b.WriteString("cold_start: trust\norganizations:\n  acme:\n    projects: {search: {}}\n" +
		"    routes: {one: {targets: [{account: a, model: m0}]}}\n    accounts:\n      a:\n        provider: openai\n        pools:\n")
	for i := range 60 {
		fmt.Fprintf(&b, "          p%d: {models: [m%d], limits: {requests: 1M/min, tokens: 1G/min, concurrency: 1000}}\n", i, i)
	}
	return b.String()
}

// TestSlowReaders: streams that are not read, because their windows are full or because nobody
// reads the connection, end after ten seconds, and nothing of them is left. Whoever reads is
// told every change in time meanwhile.
func TestSlowReaders(t *testing.T) {
	for _, r := range []struct {
		name   string
		reads  bool   // the connection; no window is ever given back
		window uint32 // of each stream, and of the connection
	}{{"windows are full", true, 65_535}, {"nobody reads the connection", false, 1 << 30}} {
		t.Run(r.name, func(t *testing.T) {
			inWorld(t, wide(), memory.Options{}, func(w *world) { w.slowReaders(r.reads, r.window) })
		})
	}
}

func (w *world) slowReaders(reads bool, window uint32) {
	const slow, good, changes = 10, 2, 25
	t := w.t
	time.Sleep(time.Hour) // the trends are long
	h, err := w.GetHeadroom(t.Context(), &pb.GetHeadroomRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if n := proto.Size(h); n < 64<<10 {
		t.Fatalf("a message of %d bytes fits into a window", n)
	}
	type told struct {
		held int64
		at   time.Time
	}
	counts := make([]chan told, good)
	for i := range counts {
		counts[i] = make(chan told, changes+1)
		stream, err := w.WatchHeadroom(t.Context(), &pb.WatchHeadroomRequest{}, grpc.MaxCallRecvMsgSize(64<<20))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(counts[i])
			for {
				m, err := stream.Recv()
				if err != nil {
					return
				}
				for _, l := range m.Headroom.Limits {
					if l.Scope == "pool/a/p0" && l.Name == "concurrency" {
						counts[i] <- told{l.Held, time.Now()}
					}
				}
			}
		}()
	}
	time.Sleep(1500 * time.Millisecond) // changes lie between two looks
	synctest.Wait()
	before := runtime.NumGoroutine()

	conn, err := w.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := newWire(conn, watchMethod)
	_ = c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
	_ = c.framer.WriteWindowUpdate(0, window-65_535+1)
	for range slow {
		c.call(&pb.WatchHeadroomRequest{})
	}
	if err := c.flush(); err != nil {
		t.Fatal(err)
	}
	if reads {
		go c.read()
	}
	synctest.Wait()
	if n := runtime.NumGoroutine() - before; n < 2*slow {
		t.Errorf("%d goroutines more serve %d slow readers", n, slow)
	}
	var leases []string
	var made []time.Time
	for i := range changes {
		time.Sleep(time.Second)
		made = append(made, time.Now())
		leases = append(leases, w.grant(ask(name("r", i))).LeaseId)
	}
	time.Sleep(time.Second)
	synctest.Wait()
	// What a connection has of goroutines is not of its streams; those who read stay.
	if n := runtime.NumGoroutine() - before; n > 5 {
		t.Errorf("%d goroutines more after %v: the slow readers were not dropped", n, changes*time.Second)
	}
	for _, lease := range leases {
		w.release(lease)
	}
	w.server.Drain()
	for i, c := range counts {
		want := int64(0)
		for m := range c {
			if m.held != want && want <= changes {
				t.Errorf("reader %d was told of %d held, want %d", i, m.held, want)
			}
			if want > 0 && want <= changes && m.at.Sub(made[want-1]) > time.Second {
				t.Errorf("reader %d was told of change %d after %v", i, want, m.at.Sub(made[want-1]))
			}
			want++
		}
		if want <= changes {
			t.Errorf("reader %d was told %d times, want %d", i, want, changes+1)
		}
	}
}
