package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// TestServeStore: with --store a restart forgets no lease, and nothing that is written has
// the password, wherever that comes from.
func TestServeStore(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "s3cret")
	file := write(t, "password", "s3cret\n")
	var lease string
	for _, row := range []struct {
		what, variable string
		args           []string
	}{
		{"in the URL", "", []string{"--store", "redis://:s3cret@" + server.Address()}},
		{"in a file", "", []string{"--store", server.URL(), "--store-password-file", file}},
		{"in the environment", "s3cret", []string{"--store", server.URL(), "--store-user", "default"}},
	} {
		t.Setenv(storePassword, row.variable)
		r := start(t, append([]string{"--config", quickstart, "--pprof", "127.0.0.1:0", "--log-level", "debug"}, row.args...)...)
		if !strings.Contains(r.line, `"store":"redis"`) || !strings.Contains(r.line, server.Address()) {
			t.Errorf("%s: it said %s", row.what, r.line)
		}
		a, err := r.client(nil).Acquire(t.Context(), request("a", 1200))
		if err != nil || a.GetGranted() == nil {
			t.Fatalf("%s: got %v, %v, want a grant", row.what, a, err)
		}
		if lease == "" {
			lease = a.GetGranted().GetLeaseId()
		}
		if got := a.GetGranted().GetLeaseId(); got != lease {
			t.Errorf("%s: asked again after a restart: got lease %q, want %q", row.what, got, lease)
		}
		config, _ := r.fetch("/debug/config")
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		for what, text := range map[string]string{"the log": r.log.String(), "/debug/config": config} {
			if strings.Contains(text, "s3cret") {
				t.Errorf("%s: %s has the password", row.what, what)
			}
		}
	}
}

// TestProfilesHideThePassword: Go's own page of the command line would show it.
func TestProfilesHideThePassword(t *testing.T) {
	var b bytes.Buffer
	hidePassword(&b, []string{"watermaster", "serve", "--store=rediss://u:s3cret@h", "--store", "redis://u:s3cret@h"})
	want := "watermaster\x00serve\x00--store=rediss://u:***@h\x00--store\x00redis://u:***@h"
	if got := b.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	old := os.Args
	defer func() { os.Args = old }()
	os.Args = []string{"watermaster", "redis://u:s3cret@h"}
	r := start(t, "--config", quickstart, "--pprof", "127.0.0.1:0")
	var line struct{ Pprof string }
	if err := json.Unmarshal([]byte(r.line), &line); err != nil {
		t.Fatal(err)
	}
	private := &running{t: t, http: line.Pprof}
	if body, status := private.fetch("/debug/pprof/cmdline"); status != 200 || !strings.Contains(body, "u:***@h") {
		t.Errorf("got %d, %q", status, body)
	}
}

// TestServeWaitsForTheStore: a start while Redis is away waits, alive and not ready, and
// serves when it comes.
func TestServeWaitsForTheStore(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	log := &log{more: make(chan struct{}, 1)}
	root := newRoot()
	root.SetArgs([]string{
		"serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-format", "json", "--config", quickstart,
		"--store", server.URL(), "--store-wait", "1m",
	})
	root.SetErr(log)
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { ended <- root.ExecuteContext(ctx) }()
	var line struct {
		Grpc string
		HTTP []string
	}
	if err := json.Unmarshal([]byte(log.wait(t, "waits for it")), &line); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "connection refused") {
		t.Errorf("it said %s, want why", log)
	}
	r := &running{t: t, grpc: line.Grpc, http: line.HTTP[0], log: log}
	if body, code := r.fetch("/healthz"); code != 200 {
		t.Errorf("/healthz: got %d, %s", code, body)
	}
	if body, code := r.fetch("/readyz"); code != 503 || !strings.Contains(body, "the store is away") {
		t.Errorf("/readyz: got %d, %s", code, body)
	}
	conn, err := grpc.NewClient(r.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, service := range []string{"", pb.LimiterService_ServiceDesc.ServiceName} {
		h, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || h.Status != healthpb.HealthCheckResponse_NOT_SERVING {
			t.Errorf("health of %q: got %v, %v", service, h, err)
		}
	}
	_, err = pb.NewLimiterServiceClient(conn).Acquire(t.Context(), request("a", 1))
	if s := status.Convert(err); s.Code() != codes.Unavailable || len(s.Details()) != 1 || s.Details()[0].(*errdetails.RetryInfo) == nil {
		t.Errorf("got %v, want UNAVAILABLE with RetryInfo", err)
	}
	server.Restart()
	serving := log.wait(t, `"serving"`)
	if err := json.Unmarshal([]byte(serving), &struct{ HTTP *string }{&r.http}); err != nil {
		t.Fatal(err)
	}
	if body, code := r.fetch("/readyz"); code != 200 {
		t.Errorf("/readyz: got %d, %s", code, body)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestServeGivesUp: a start does not wait longer than it is told, nor for what waiting does
// not cure; and one that is told to end while it waits ends well.
func TestServeGivesUp(t *testing.T) {
	stopped := redistest.Start(t)
	stopped.Kill()
	guarded := redistest.Start(t, "--requirepass", "s3cret")
	replica := redistest.Start(t, "--replicaof", "127.0.0.1", fmt.Sprint(redistest.Start(t).Port))
	for _, row := range []struct {
		args []string
		want []string
	}{
		{[]string{stopped.URL(), "--store-wait", "300ms"}, []string{stopped.URL(), "connection refused", "tried for 300ms", "check --store"}},
		{[]string{stopped.URL(), "--store-wait", "0s"}, []string{"connection refused"}},
		{[]string{"redis://u:wr0ng@" + guarded.Address(), "--store-wait", "1h"}, []string{"redis://u:***@", "check user and password"}},
		{[]string{replica.URL(), "--store-wait", "300ms"}, []string{"this server is a replica"}},
	} {
		_, err := execute(t, append([]string{"serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--config", quickstart, "--store"}, row.args...)...)
		for _, want := range row.want {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "wr0ng") {
				t.Errorf("%v: got %v, want %q", row.args, err, want)
			}
		}
	}
	log := &log{more: make(chan struct{}, 1)}
	root := newRoot()
	root.SetArgs([]string{"serve", "--grpc", "127.0.0.1:0", "--http", "", "--config", quickstart, "--store", stopped.URL()})
	root.SetErr(log)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	log.wait(t, "waits for it")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
