package main

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// acquire takes 100,000 tokens of a live server's 180,000.
func (l *live) acquire(t *testing.T) {
	t.Helper()
	f := dialFlags{address: l.address}
	conn, err := f.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	a, err := pb.NewLimiterServiceClient(conn).Acquire(t.Context(), &pb.AcquireRequest{
		RequestId: "r", Project: "search", Destination: &pb.AcquireRequest_Route{Route: "smart"},
		InputTokens: 60_000, MaxOutputTokens: proto.Int64(40_000),
	})
	if err != nil || a.GetGranted() == nil {
		t.Fatalf("acquire: %v, %v", a, err)
	}
}

// TestTopPlain: where output is no terminal there is one table, and no end is waited for.
func TestTopPlain(t *testing.T) {
	l := startLive(t, "127.0.0.1:0")
	l.acquire(t)
	out, err := execute(t, "top", "--address", l.address, "--consumers", "1")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != 6 || !strings.HasPrefix(lines[0], "acme ") || !strings.HasPrefix(lines[1], "SCOPE ") {
		t.Fatalf("got %d lines:\n%s", len(lines), out)
	}
	for i, want := range map[int]string{ // what is used gets less meanwhile
		2: "pool/openai-main/gpt-5 tokens/min 180k/200k ", 3: "search ",
		4: "pool/openai-main/gpt-5 requests/min 270/300 ", 5: "search ",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); !strings.HasPrefix(got, want) {
			t.Errorf("line %d: %s\nwant %s", i, got, want)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("escapes in plain text: %q", out)
	}
}

func TestTopCount(t *testing.T) {
	l := startLive(t, "127.0.0.1:0")
	t.Setenv("WATERMASTER_ADDRESS", l.address)
	out, err := execute(t, "top", "--plain", "--count", "3", "--interval", "100ms")
	if n := strings.Count(out, "SCOPE"); err != nil || n != 3 {
		t.Errorf("%d tables, %v, want 3:\n%s", n, err, out)
	}
	out, err = execute(t, "top", "--json", "--count", "2", "--interval", "100ms", "--pool", "gpt-5", "--project", "search")
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if err != nil || len(lines) != 2 {
		t.Fatalf("%d lines, %v, want 2:\n%s", len(lines), err, out)
	}
	for _, line := range lines {
		var h pb.Headroom
		if err := protojson.Unmarshal([]byte(line), &h); err != nil || h.Organization != "acme" || len(h.Limits) != 2 {
			t.Errorf("%v, of %s with %d limits: %s", err, h.Organization, len(h.Limits), line)
		}
	}
}

func TestTopRefuses(t *testing.T) {
	l := startLive(t, "127.0.0.1:0")
	for _, tt := range []struct{ args, want string }{
		{"--organization acne", `unknown organization "acne"; the nearest is "acme" (NotFound)`},
		{"--account openai-man", `the nearest is "openai-main"`},
		{"--address " + closedPort(t), ": dial tcp 127.0.0.1:"},
		{"--sort size", "used, name, waiting"},
		{"--interval 10ms", "100ms to 1h"},
		{"--interval 2h", "100ms to 1h"},
		{"--count -1", "--count -1"},
		{"--consumers 11", "0 to 10"},
		{"--key-file nowhere", "--key-file"},
		{"more", "unknown command"},
	} {
		_, err := execute(t, append([]string{"top", "--address", l.address}, strings.Fields(tt.args)...)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.args, err, tt.want)
		}
	}
}

func TestVersionJSON(t *testing.T) {
	out, err := execute(t, "version", "--json")
	var b build
	if err := json.Unmarshal([]byte(out), &b); err != nil {
		t.Fatal(err)
	}
	if err != nil || b.Version != version() || b.Go != runtime.Version() || b.Platform != runtime.GOOS+"/"+runtime.GOARCH {
		t.Errorf("got %s, %v", out, err)
	}
}
