package envoy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// configure writes the example's configuration with other texts in it, and gives the flag.
func configure(t *testing.T, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile("config.yaml")
	must(t, err)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(text), replace[i]) {
			t.Fatalf("config.yaml has no %q", replace[i])
		}
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	must(t, os.WriteFile(file, []byte(strings.NewReplacer(replace...).Replace(string(text))), 0o600))
	return "--config=" + file
}

// still makes limits of tokens stand still while a test looks: they count by the hour.
func still(t *testing.T) string {
	return configure(t, "120k/min", "{quota: 120k, window: 1h, shape: sliding_window}", "60k/min", "{quota: 60k, window: 1h, shape: sliding_window}",
		"600/min", "{quota: 600, window: 1h, shape: sliding_window}")
}

const (
	openAIPool = "gpt-5"
	claudePool = "sonnet"
)

// TestTokens: at the end of a call its tokens are what the reply says, plain and streamed, in both
// providers' forms; and its slot is free.
func TestTokens(t *testing.T) {
	heavy(t)
	s := startService(t, still(t))
	g := startGateway(t, "tokens.yaml", s.grpc, startProvider(t), startProvider(t))
	const (
		chat     = `{"model":"gpt-5","messages":[{"role":"user","content":"hello"}]%s}` // reserves 4096 and some
		messages = `{"model":"claude-sonnet-5","max_tokens":1000,"messages":[{"role":"user","content":"hello there"}]%s}`
	)
	for _, row := range []struct {
		name, path, body string
		headers          []string
		pool             string
		want             map[string]int64 // in use, more than before
	}{
		// OpenAI says of no refund: what was reserved stays, and more is charged.
		{"more than reserved", chatPath, fmt.Sprintf(chat, ""), []string{"x-standin-output", "5000"}, openAIPool, map[string]int64{"tokens": 5002, "requests": 1}},
		{"more than reserved, streamed", chatPath, fmt.Sprintf(chat, `,"stream":true,"stream_options":{"include_usage":true}`), []string{"x-standin-output", "5000"}, openAIPool, map[string]int64{"tokens": 5002, "requests": 1}},
		{"less than reserved", chatPath, chatBody, []string{"x-standin-output", "5"}, openAIPool, map[string]int64{"tokens": int64(20 + len(chatBody)/4), "requests": 1}},
		{"stream without usage", chatPath, fmt.Sprintf(chat, `,"stream":true`), []string{"x-standin-output", "5000"}, openAIPool, map[string]int64{"tokens": int64(4096 + len(fmt.Sprintf(chat, `,"stream":true`))/4), "requests": 1}},
		// Anthropic counts what is used.
		{"Anthropic's", messagesPath, fmt.Sprintf(messages, ""), []string{"x-standin-output", "70"}, claudePool, map[string]int64{"input_tokens": 3, "output_tokens": 70, "requests": 1}},
		{"Anthropic's, streamed", messagesPath, fmt.Sprintf(messages, `,"stream":true`), []string{"x-standin-output", "71"}, claudePool, map[string]int64{"input_tokens": 3, "output_tokens": 71, "requests": 1}},
		{"Anthropic's stream that breaks", messagesPath, fmt.Sprintf(messages, `,"stream":true`), []string{"x-standin-output", "71", "x-standin-cut", "3"}, claudePool, map[string]int64{"input_tokens": 3, "output_tokens": 1000, "requests": 1}},
	} {
		before := map[string]int64{}
		for metric := range row.want {
			before[metric] = s.used(t, row.pool, metric)
		}
		a, text, _ := g.post(t.Context(), row.path, row.body, row.headers...)
		if a == nil || a.StatusCode != 200 {
			t.Fatalf("%s: got %v %s, want 200", row.name, a, text)
		}
		eventually(t, row.name+": the call has ended", func() bool { return s.used(t, row.pool, "concurrency") == 0 })
		for metric, want := range row.want {
			if got := s.used(t, row.pool, metric) - before[metric]; got != want {
				t.Errorf("%s: %d %s are charged, want %d (the reply: %.200q)", row.name, got, metric, want, text)
			}
		}
	}
}

// TestTokensOver: what does not fit is refused with headers that are true of the very call.
func TestTokensOver(t *testing.T) {
	heavy(t)
	// 90 % of the quota, and of these 95 % for who is not interactive; nothing else is near its limit.
	s := startService(t, configure(t, "120k/min", "{quota: 3000, window: 3s, shape: sliding_window}"))
	g := startGateway(t, "tokens.yaml", s.grpc, startProvider(t))
	body := strings.Replace(chatBody, "20", "2000", 1)
	a, _, err := g.post(t.Context(), chatPath, body)
	must(t, err)
	if got := a.Header.Get("X-Ratelimit-Limit"); a.StatusCode != 200 || got != "2565" {
		t.Fatalf("status %d, limit %q, want 200 of 2565", a.StatusCode, got)
	}
	a, _, err = g.post(t.Context(), chatPath, body)
	must(t, err)
	wait, err := time.ParseDuration(a.Header.Get("Retry-After") + "s")
	if a.StatusCode != 429 || err != nil || wait < time.Second || wait > 5*time.Second {
		t.Fatalf("status %d, Retry-After %q, want 429 and some seconds", a.StatusCode, a.Header.Get("Retry-After"))
	}
	rest(wait)
	if a, _, err = g.post(t.Context(), chatPath, body); err != nil || a.StatusCode != 200 {
		t.Errorf("after Retry-After, %v: %v, status %d, want 200", wait, err, a.StatusCode)
	}
	if a, _, err = g.post(t.Context(), chatPath, strings.Replace(body, "gpt-5", "gpt-6", 1)); err != nil || a.StatusCode != 503 {
		t.Errorf("a model that the account does not have: %v, status %d, want 503", err, a.StatusCode)
	}
}

// acquire draws as a worker does.
func (s *service) acquire(t *testing.T, id, account, model string, input, output int64, block time.Duration) (*pb.Granted, error) {
	a, err := s.limiter.Acquire(t.Context(), &pb.AcquireRequest{
		RequestId: id, Project: "workers", Destination: &pb.AcquireRequest_Model{Model: model},
		Constraints: &pb.Constraints{Accounts: []string{account}},
		InputTokens: input, MaxOutputTokens: proto.Int64(output), Block: durationpb.New(block),
	})
	return a.GetGranted(), err
}

// release tells what a worker's call has used.
func (s *service) release(t *testing.T, lease string, input, output int64) error {
	_, err := s.limiter.Release(context.WithoutCancel(t.Context()), &pb.ReleaseRequest{
		LeaseId: lease, Outcome: pb.Outcome_OUTCOME_SUCCEEDED,
		Consumption: &pb.ReleaseRequest_Usage{Usage: &pb.Usage{InputTokens: &input, OutputTokens: &output}},
	})
	return err
}

// TestWorkersLease: a call that a worker's lease has paid for is let through, whether it names the
// lease or the request, and charged once.
func TestWorkersLease(t *testing.T) {
	heavy(t)
	s := startService(t, still(t))
	g := startGateway(t, "tokens.yaml", s.grpc, startProvider(t))
	for i, how := range []string{"x-watermaster-lease-id", "x-request-id"} {
		id := fmt.Sprintf("worker-%d", i)
		before := s.used(t, openAIPool, "requests")
		granted, err := s.acquire(t, id, "openai", "gpt-5", 10, 20, time.Second)
		must(t, err)
		if granted == nil {
			t.Fatal("the worker was not granted its call")
		}
		value := granted.LeaseId
		if how == "x-request-id" {
			value = id
		}
		a, text, err := g.post(t.Context(), chatPath, chatBody, how, value, "x-project", "workers")
		if err != nil || a.StatusCode != 200 {
			t.Fatalf("%s: %v, %v %s", how, err, a, text)
		}
		if err := s.release(t, granted.LeaseId, 2, 20); err != nil {
			t.Errorf("%s: the worker's release: %v", how, err)
		}
		eventually(t, "the call has ended", func() bool { return s.used(t, openAIPool, "concurrency") == 0 })
		if got := s.used(t, openAIPool, "requests") - before; got != 1 {
			t.Errorf("%s: %d requests are charged, want the worker's one", how, got)
		}
	}
}
