package sdktest

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3/option"

	watermaster "github.com/watermaster-project/watermaster/clients/go"
)

// A refusal is the SDK's own error of a rate limit, says why, and is not repeated.
func TestRefused(t *testing.T) {
	w := newWorker(t, service.Address, "", watermaster.Options{Account: "narrow"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent, over := make(chan struct{}, 8), make(chan struct{})
	w.wire.onSent(func() { sent <- struct{}{} })
	go func() { // holds the only place
		defer close(over)
		_, _ = w.openai.Chat.Completions.New(ctx, chat("narrow-m"), option.WithHeader("x-standin-delay", "1m"))
	}()
	<-sent
	begun := time.Now()
	_, err := w.openai.Chat.Completions.New(t.Context(), chat("narrow-m"), option.WithHeader("x-watermaster-max-wait", "100ms"))
	status, resp := statusOf(t, err)
	if reason := resp.Header.Get("X-Watermaster-Reason"); status != 429 || reason != "WAIT_TOO_LONG" {
		t.Errorf("got %d, %q: %v", status, reason, err)
	}
	if !strings.Contains(wordsOf(err), "watermaster: ") || !strings.Contains(wordsOf(err), "rate_limit_exceeded") ||
		!strings.Contains(resp.Header.Get("X-Watermaster-Binding"), "pool/narrow/all concurrency 1 ") {
		t.Errorf("got %s, %v", wordsOf(err), resp.Header)
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || seconds < 0 {
		t.Errorf("retry-after: %q", resp.Header.Get("Retry-After"))
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if n := len(w.wire.sent()); n != 1 {
		t.Errorf("%d calls reached the provider", n)
	}
	// Who has waited goes when the place is free.
	next := make(chan error, 1)
	go func() {
		_, err := w.openai.Chat.Completions.New(watermaster.WithCall(context.Background(), watermaster.Call{MaxWait: 20 * time.Second}), chat("narrow-m"))
		next <- err
	}()
	cancel()
	if err := <-next; err != nil {
		t.Error(err)
	}
	<-over
	w.idle(t, "narrow")
}

func TestTooLarge(t *testing.T) {
	w := newWorker(t, service.Address, "", watermaster.Options{Account: "small"})
	_, err := w.openai.Chat.Completions.New(t.Context(), chat("small-m", strings.Repeat("many words ", 400)))
	status, resp := statusOf(t, err)
	if status != 429 || resp.Header.Get("X-Watermaster-Reason") != "TOO_LARGE" || resp.Header.Get("Retry-After") != "" || len(w.wire.sent()) != 0 {
		t.Errorf("got %d, %v: %v", status, resp.Header, err)
	}
}

// Names that are not configured, and requests that are wrong, are told as such.
func TestWrong(t *testing.T) {
	w := newWorker(t, service.Address, "", watermaster.Options{})
	for _, row := range []struct {
		name, model, header, value string
		want                       int
		says                       string
	}{
		{"a model", "gpt-none", "x-other", "1", 404, "gpt-none"},
		{"a route", "m", "x-watermaster-route", "none", 404, "none"},
		{"a class", "m", "x-watermaster-priority-class", "none", 404, "none"},
		{"a wait", "m", "x-watermaster-max-wait", "soon", 400, "X-Watermaster-Max-Wait"},
		{"a quality", "m", "x-watermaster-min-quality", "2", 400, "X-Watermaster-Min-Quality"},
		{"an id", "m", "x-watermaster-request-id", strings.Repeat("x", 200), 400, "request_id"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := w.openai.Chat.Completions.New(t.Context(), chat(row.model), option.WithHeader(row.header, row.value))
			status, resp := statusOf(t, err)
			if status != row.want || !strings.Contains(wordsOf(err), row.says) || resp.Header.Get("X-Should-Retry") != "false" {
				t.Errorf("got %d: %s", status, wordsOf(err))
			}
			_, err = w.claude.Messages.New(t.Context(), message(), anthropicoption.WithJSONSet("model", row.model), anthropicoption.WithHeader(row.header, row.value))
			status, _ = statusOf(t, err)
			if status != row.want || !strings.Contains(wordsOf(err), row.says) {
				t.Errorf("got %d: %s", status, wordsOf(err))
			}
		})
	}
	if n := len(w.wire.sent()); n != 0 {
		t.Errorf("%d calls reached the provider", n)
	}
}
