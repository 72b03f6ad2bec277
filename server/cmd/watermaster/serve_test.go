package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

var quickstart = filepath.Join("..", "..", "..", "examples", "quickstart", "config.yaml")

// TestServe serves the quickstart's configuration, grants at once, and on its end sends
// away who waits.
func TestServe(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, serveFlags{config: quickstart, grpc: "127.0.0.1:0", logLevel: "info", logFormat: "json"}, in)
		in.Close()
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal(<-ended)
	}
	var line struct {
		Msg, Grpc, Store, Cold_start string
		Organizations                []string
	}
	if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Msg != "serving" || line.Store != "memory" ||
		len(line.Organizations) != 1 || line.Organizations[0] != "acme" || !strings.HasPrefix(line.Cold_start, "yes") {
		t.Fatalf("got %s, %v", lines.Text(), err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()

	conn, err := grpc.NewClient(line.Grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := pb.NewLimiterServiceClient(conn)
	ask := func(id string, tokens int64) (*pb.AcquireResponse, error) {
		return client.Acquire(t.Context(), &pb.AcquireRequest{
			RequestId: id, Project: "search", Destination: &pb.AcquireRequest_Route{Route: "smart"},
			InputTokens: tokens, MaxOutputTokens: proto.Int64(800), Block: durationpb.New(20 * time.Second),
		})
	}
	if a, err := ask("a", 1200); err != nil || a.GetGranted() == nil {
		t.Fatalf("got %v, %v, want a grant", a, err)
	}
	if a, err := ask("b", 160_000); err != nil || a.GetGranted() == nil {
		t.Fatalf("got %v, %v, want a grant", a, err)
	}
	waiter := make(chan *pb.AcquireResponse, 1)
	go func() {
		a, err := ask("c", 100_000)
		if err != nil {
			t.Error(err)
		}
		waiter <- a
	}()
	time.Sleep(100 * time.Millisecond) // it is waiting by now, or will find the server draining
	stop()
	if a := <-waiter; a.GetWait() == nil {
		t.Errorf("got %v, want wait", a)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeRefuses(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{[]string{}, "--config"},
		{[]string{"--config", quickstart, "--grpc", "0.0.0.0:0"}, "--insecure"},
		{[]string{"--config", quickstart, "--grpc", ":0"}, "--insecure"},
		{[]string{"--config", quickstart, "--grpc", "nonsense"}, "--grpc"},
		{[]string{"--config", quickstart, "--log-level", "loud"}, "--log-level"},
		{[]string{"--config", quickstart, "--log-format", "xml"}, "--log-format"},
		{[]string{"--config", "nowhere.yaml"}, "nowhere.yaml"},
	}
	for _, tt := range tests {
		_, err := execute(t, append([]string{"serve"}, tt.args...)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.args, err, tt.want)
		}
	}
}

// TestEnvironment: a flag that is not given comes from the environment; one that is, does not.
func TestEnvironment(t *testing.T) {
	t.Setenv("WATERMASTER_CONFIG", quickstart)
	t.Setenv("WATERMASTER_LOG_FORMAT", "xml")
	if _, err := execute(t, "serve"); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Errorf("got %v, want a word on xml", err)
	}
	if _, err := execute(t, "serve", "--log-format", "yml"); err == nil || !strings.Contains(err.Error(), `"yml"`) {
		t.Errorf("got %v, want a word on yml", err)
	}
}
