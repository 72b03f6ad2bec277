package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
	"github.com/watermaster-project/watermaster/store/redis"
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
		client := r.client(nil)
		if lease != "" {
			if _, err := client.Release(t.Context(), &pb.ReleaseRequest{LeaseId: lease}); err != nil {
				t.Errorf("%s: the lease from before the restart: %v", row.what, err)
			}
		}
		a, err := client.Acquire(t.Context(), request(row.what, 1200))
		if err != nil || a.GetGranted() == nil {
			t.Fatalf("%s: got %v, %v, want a grant", row.what, a, err)
		}
		lease = a.GetGranted().GetLeaseId()
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

// TestServeWarnsOfTheStore: a Redis that would forget what it is told is warned of.
func TestServeWarnsOfTheStore(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb")
	r := start(t, "--config", quickstart, "--store", server.URL())
	if line := r.log.wait(t, "not as it should be"); !strings.Contains(line, "maxmemory-policy") || !strings.Contains(line, "noeviction") {
		t.Errorf("it said %s", line)
	}
}

// TestServeGivesUp: a start does not wait longer than it is told, nor for what waiting does
// not cure; and one that is told to end while it waits ends well.
func TestServeGivesUp(t *testing.T) {
	stopped := redistest.Start(t)
	stopped.Kill()
	guarded := redistest.Start(t, "--requirepass", "s3cret")
	powerless := redistest.Start(t, strings.Fields("--user short on >x ~wm:* &wm:* +@connection +info +get +exists +hmget +hget +xrange +multi +exec +subscribe +time")...)
	owner := ""
	for _, node := range redistest.StartCluster(t, 2) { // that of the marker lets a log that is for one server begin
		if l, err := redis.Open(t.Context(), node.URL(), redis.Options{}); err == nil {
			owner = node.URL()
			_ = l.Close()
		}
	}
	replica := redistest.Start(t, "--replicaof", "127.0.0.1", fmt.Sprint(redistest.Start(t).Port))
	for _, row := range []struct {
		args []string
		want []string
	}{
		{[]string{stopped.URL(), "--store-wait", "300ms"}, []string{stopped.URL(), "connection refused", "tried for 300ms", "check --store"}},
		{[]string{stopped.URL(), "--store-wait", "0s"}, []string{"connection refused"}},
		{[]string{"redis://u:wr0ng@" + guarded.Address(), "--store-wait", "1h"}, []string{"redis://u:***@", "check user and password"}},
		{[]string{"redis://short:x@" + powerless.Address(), "--store-wait", "1h"}, []string{"permissions", "xadd", "ACL SETUSER short"}},
		{[]string{owner, "--store-wait", "1h"}, []string{"redis+cluster://"}},
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

// TestTopTellsOfReplicas: top and /debug/replicas show who serves an organization by one
// Redis, and how large its log is; nothing of that where one process serves it alone.
func TestTopTellsOfReplicas(t *testing.T) {
	server := redistest.Start(t)
	one := start(t, "--config", quickstart, "--store", server.URL())
	two := start(t, "--config", quickstart, "--store", server.URL())
	if !strings.Contains(two.line, `"other_replicas":1`) {
		t.Errorf("the second said %s", two.line)
	}
	if a, err := two.client(nil).Acquire(t.Context(), request("a", 1200)); err != nil || a.GetGranted() == nil {
		t.Fatalf("got %v, %v, want a grant", a, err)
	}
	out, err := execute(t, "top", "--plain", "--address", one.grpc)
	if err != nil || strings.Count(out, "KNOWS RULES") != 1 || strings.Count(out, "answers here") != 1 || !strings.Contains(out, "log at ") || !strings.Contains(out, "entries of ") {
		t.Errorf("got %v:\n%s", err, out)
	}
	body, status := one.fetch("/debug/replicas")
	var logs map[string]struct {
		Replicas []struct {
			Incarnation string
			Self        bool
		}
		Position, End, Entries string
	}
	if err := json.Unmarshal([]byte(body), &logs); err != nil || status != 200 {
		t.Fatalf("%d, %v: %s", status, err, body)
	}
	l := logs["acme"]
	if len(l.Replicas) != 2 || l.Replicas[0].Self == l.Replicas[1].Self || l.Replicas[0].Incarnation == l.Replicas[1].Incarnation ||
		l.Position == "" || l.Position != l.End || l.Entries == "0" {
		t.Errorf("got %s", body)
	}
	alone := start(t, "--config", quickstart)
	if out, err := execute(t, "top", "--plain", "--address", alone.grpc); err != nil || strings.Contains(out, "RULES") {
		t.Errorf("got %v:\n%s", err, out)
	}
	if body, status := alone.fetch("/debug/replicas"); status != 200 || strings.TrimSpace(body) != "{}" {
		t.Errorf("got %d, %s", status, body)
	}
}

// TestCheckStore: what a Redis has otherwise than it has to be is told with what to do, and
// what does not work fails the command.
func TestCheckStore(t *testing.T) {
	good := redistest.Start(t, "--requirepass", "s3cret")
	evicts := redistest.Start(t, "--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb")
	cluster := redistest.StartCluster(t, 2)
	t.Setenv(storePassword, "s3cret")
	for _, row := range []struct {
		args []string
		err  error
		want []string
	}{
		{[]string{"--store", good.URL()}, nil, []string{"ok    version", "maxmemory-policy", "noeviction", "ok    password"}},
		{[]string{"--store", evicts.URL()}, errReported, []string{"fail", "maxmemory-policy", "allkeys-lru", "-> CONFIG SET maxmemory-policy"}},
		{[]string{"--store", "redis://u:wr0ng@" + good.Address()}, errReported, []string{"redis://u:***@", "fail  reachable  WRONGPASS"}},
		{[]string{quickstart, "--store", good.URL()}, nil, []string{"ORGANIZATION  KEYS         SLOT", "acme          wm:{acme}:*  -", "none: it was idle"}},
		{[]string{quickstart, "--store", "redis+cluster://" + cluster[0].Address()}, nil, []string{"cluster_state is ok, 2 masters", "acme", "127.0.0.1:"}},
		{[]string{"--store", cluster[0].URL()}, errReported, []string{"fail", "redis+cluster://"}},
	} {
		out, err := execute(t, append([]string{"check"}, row.args...)...)
		if (err == nil) != (row.err == nil) || row.err != nil && !errors.Is(err, row.err) {
			t.Errorf("%v: got %v, want %v:\n%s", row.args, err, row.err, out)
		}
		for _, want := range row.want {
			if !strings.Contains(out, want) || strings.Contains(out, "wr0ng") || strings.Contains(out, "s3cret") {
				t.Errorf("%v: got\n%swant %q", row.args, out, want)
			}
		}
	}
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{}, "FILE"},
		{[]string{quickstart, "--json"}, "--store"},
		{[]string{quickstart, "--store", good.URL(), "--state", "x"}, "state store"},
		{[]string{"nowhere.yaml", "--store", good.URL()}, "nowhere.yaml"},
		{[]string{"--store", "http://x"}, "redis+cluster://"},
	} {
		if _, err := execute(t, append([]string{"check"}, row.args...)...); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v: got %v, want %q", row.args, err, row.want)
		}
	}

	r := start(t, "--config", quickstart, "--store", good.URL())
	out, err := execute(t, "check", quickstart, "--store", good.URL(), "--json")
	var told examination
	if err := json.Unmarshal([]byte(out), &told); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err != nil || told.Store != good.URL() || len(told.Findings) < 5 || len(told.Organizations) != 1 ||
		!strings.HasPrefix(told.Organizations[0].State, "known until 2") || told.Organizations[0].Slot != nil {
		t.Errorf("got %v, %+v", err, told)
	}
	if a, err := r.client(nil).Acquire(t.Context(), request("a", 1)); err != nil || a.GetGranted() == nil {
		t.Errorf("after it was examined: got %v, %v", a, err)
	}
}

// TestStoreAway: while Redis is away a replica goes on alone and says so, to balancers as to
// people, and is well again once it is back.
func TestStoreAway(t *testing.T) {
	server := redistest.Start(t)
	r := start(t, "--config", quickstart, "--store", server.URL())
	if a, err := r.client(nil).Acquire(t.Context(), request("a", 10)); err != nil || a.GetGranted() == nil {
		t.Fatalf("got %v, %v, want a grant", a, err)
	}
	ready := func(want int) string {
		t.Helper()
		late := time.After(20 * time.Second)
		for {
			body, status := r.fetch("/readyz")
			if status == want {
				return body
			}
			select {
			case <-late:
				t.Fatalf("/readyz: got %d, %s; want %d", status, body, want)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	ready(200)
	server.Kill()
	if a, err := r.client(nil).Acquire(t.Context(), request("b", 10)); err != nil || a.GetGranted() == nil {
		t.Errorf("got %v, %v, want a grant from the margin", a, err)
	}
	if body := ready(503); !strings.Contains(body, "when_away") {
		t.Errorf("/readyz: got %s", body)
	}
	if out, err := execute(t, "top", "--plain", "--address", r.grpc); err != nil || !strings.Contains(out, "cannot be reached") {
		t.Errorf("got %v:\n%s", err, out)
	}
	if body, _ := r.fetch("/metrics"); !strings.Contains(body, `watermaster_store_away{organization="acme"} 1`) {
		t.Error("watermaster_store_away is not 1")
	}
	server.Restart()
	ready(200)
	if body, _ := r.fetch("/metrics"); !strings.Contains(body, `watermaster_store_away{organization="acme"} 0`) {
		t.Error("watermaster_store_away is not 0")
	}
	if out, err := execute(t, "top", "--plain", "--address", r.grpc); err != nil || strings.Contains(out, "cannot be reached") {
		t.Errorf("got %v:\n%s", err, out)
	}
}
