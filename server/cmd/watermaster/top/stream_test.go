package top

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// A script is a server that answers its calls one after the other: with headroom, or an
// error. Its last answer it gives again.
type script struct {
	pb.UnimplementedMonitorServiceServer
	mu      sync.Mutex
	answers []any // *pb.Headroom or error
	calls   []time.Time
}

func (s *script) next() (*pb.Headroom, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, time.Now())
	a := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	if err, ok := a.(error); ok {
		return nil, err
	}
	return a.(*pb.Headroom), nil
}

func (s *script) GetHeadroom(context.Context, *pb.GetHeadroomRequest) (*pb.GetHeadroomResponse, error) {
	h, err := s.next()
	return &pb.GetHeadroomResponse{Headroom: h}, err
}

// WatchHeadroom sends one message and then ends as a server does that drains.
func (s *script) WatchHeadroom(_ *pb.WatchHeadroomRequest, stream grpc.ServerStreamingServer[pb.WatchHeadroomResponse]) error {
	h, err := s.next()
	if err != nil {
		return err
	}
	if err := stream.Send(&pb.WatchHeadroomResponse{Headroom: h}); err != nil {
		return err
	}
	return status.Error(codes.Unavailable, "the server is shutting down")
}

// serve serves the script and gives a client, until the test ends.
func (s *script) serve(t *testing.T) pb.MonitorServiceClient {
	listener := bufconn.Listen(1 << 20)
	g := grpc.NewServer()
	pb.RegisterMonitorServiceServer(g, s)
	served := make(chan struct{})
	go func() { defer close(served); _ = g.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:script", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); g.Stop(); <-served })
	return pb.NewMonitorServiceClient(conn)
}

// gaps are the times between the calls.
func (s *script) gaps() (list []time.Duration) {
	for i := 1; i < len(s.calls); i++ {
		list = append(list, s.calls[i].Sub(s.calls[i-1]).Round(time.Millisecond))
	}
	return list
}

var gone = status.Error(codes.Unavailable, "gone")

func TestWatcherReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fatal := status.Error(codes.PermissionDenied, "not for you")
		s := &script{answers: []any{gone, gone, gone, gone, gone, gone, gone, busy(), gone, status.Error(codes.ResourceExhausted, "slow"), fatal}}
		var told []string
		w := watcher{client: s.serve(t), request: &pb.WatchHeadroomRequest{}, tell: func(m tea.Msg) {
			switch m := m.(type) {
			case heard:
				told = append(told, m.headroom.GetOrganization())
			case lost:
				told = append(told, Reason(m.err))
			case ended:
				told = append(told, "ended: "+Reason(m.err))
			}
		}}
		w.run(t.Context())
		if got, want := strings.Join(told, ", "), strings.Repeat("gone, ", 7)+"acme, the server is shutting down, gone, slow, ended: not for you"; got != want {
			t.Errorf("told %s\nwant %s", got, want)
		}
		const ms = time.Millisecond
		want := []time.Duration{250 * ms, 500 * ms, 1000 * ms, 2000 * ms, 4000 * ms, 4000 * ms, 4000 * ms, 250 * ms, 500 * ms, 1000 * ms}
		got := s.gaps()
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Fatalf("waited %v, want %v", got, want)
			}
		}
	})
}

func TestWatcherEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		s := &script{answers: []any{gone}}
		w := watcher{client: s.serve(t), request: &pb.WatchHeadroomRequest{}, tell: func(m tea.Msg) {
			if e, ok := m.(ended); ok {
				t.Errorf("ended: %v", e.err)
			}
		}}
		began := time.Now()
		w.run(ctx)
		if d := time.Since(began); d != time.Minute {
			t.Errorf("ran for %s, want 1m", d)
		}
	})
}

func TestReason(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{gone, "gone"},
		{errors.New("odd"), "odd"},
		{status.Error(codes.Unavailable, `connection error: desc = "transport: authentication handshake failed: tls: unknown authority"`), "authentication handshake failed: tls: unknown authority"},
		{status.Error(codes.Unavailable, `connection error: desc = broken "quotes`), `connection error: desc = broken "quotes`},
	} {
		if got := Reason(tt.err); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}

func TestPrint(t *testing.T) {
	for _, tt := range []struct {
		name string
		text Text
		h    *pb.Headroom
	}{
		{"print", Text{Count: 1}, busy()},
		{"print_consumers", Text{Count: 1, Consumers: 2, Width: 100, Order: ByWaiting}, busy()},
		{"print_empty", Text{Count: 1}, headroom()},
		{"print_shared", Text{Count: 1}, shared()},
		{"print_wide", Text{Count: 1, Consumers: 1, Order: ByName}, wide()},
	} {
		var b bytes.Buffer
		tt.text.Client = (&script{answers: []any{tt.h}}).serve(t)
		if err := tt.text.Print(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		golden(t, tt.name, b.String())
	}
}

// TestPrintRepeats: tables come at an interval, also over a time without a server.
func TestPrintRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []any{headroom(), busy(), gone, gone, headroom()}}
		var b, trouble bytes.Buffer
		err := Text{Client: s.serve(t), Every: 10 * time.Second, Count: 3, Trouble: &trouble}.Print(t.Context(), &b)
		if n := strings.Count(b.String(), "revision 3"); err != nil || n != 3 || strings.Count(b.String(), "\n\n") != 2 {
			t.Errorf("%d tables, %v\n%s", n, err, b.String())
		}
		if got, want := trouble.String(), "reconnecting: gone\n"; got != want {
			t.Errorf("told of trouble: %q, want %q", got, want)
		}
		if got := s.gaps(); len(got) != 4 || got[0] != 10*time.Second || got[1] != 10*time.Second || got[2] != firstBackoff || got[3] != 2*firstBackoff {
			t.Errorf("asked after %v", got)
		}
	})
}

func TestPrintJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 25*time.Second)
		defer stop()
		var b bytes.Buffer
		err := Text{Client: (&script{answers: []any{busy()}}).serve(t), Every: 10 * time.Second, JSON: true}.Print(ctx, &b)
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if err != nil || len(lines) != 3 {
			t.Fatalf("%d lines in 25 s, %v, want 3", len(lines), err)
		}
		for _, l := range lines {
			var h pb.Headroom
			if err := protojson.Unmarshal([]byte(l), &h); err != nil || !proto.Equal(&h, busy()) {
				t.Errorf("a line is no headroom, or another: %v\n%s", err, l)
			}
			if !strings.Contains(l, `"remaining":"0"`) {
				t.Errorf("what is 0 is left out: %s", l)
			}
		}
	})
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestPrintFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := Text{Client: (&script{answers: []any{gone, busy()}}).serve(t), Count: 2, Every: time.Second}.Print(t.Context(), &bytes.Buffer{})
		if status.Code(err) != codes.Unavailable {
			t.Errorf("got %v, want that the server is not there", err)
		}
		denied := status.Error(codes.PermissionDenied, "no")
		err = Text{Client: (&script{answers: []any{busy(), denied}}).serve(t), Every: time.Second}.Print(t.Context(), &bytes.Buffer{})
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("got %v, want that it is denied", err)
		}
		err = Text{Client: (&script{answers: []any{busy()}}).serve(t), Count: 1}.Print(t.Context(), full{})
		if err == nil || !strings.Contains(err.Error(), "no space") {
			t.Errorf("got %v, want what the writer says", err)
		}
	})
}
