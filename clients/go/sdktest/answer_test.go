package sdktest

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	watermaster "github.com/watermaster-project/watermaster/clients/go"
)

// Every kind of answer reaches the caller as if nothing were in between.
func TestAnswers(t *testing.T) {
	w := newWorker(t, service.Address, "", watermaster.Options{Account: "main"})
	claude := newWorker(t, service.Address, "", watermaster.Options{Account: "claude"})
	ctx := t.Context()
	for _, split := range []string{"0", "1"} {
		inPieces, claudeInPieces := option.WithHeader("x-standin-split", split), anthropicoption.WithHeader("x-standin-split", split)
		t.Run("in pieces of "+split, func(t *testing.T) {
			t.Run("chat", func(t *testing.T) {
				var raw *http.Response
				out, err := w.openai.Chat.Completions.New(ctx, chat("m"), option.WithResponseInto(&raw))
				if err != nil || out.Choices[0].Message.Content == "" || out.Usage.CompletionTokens != 12 {
					t.Fatalf("got %v, %v", out, err)
				}
				h := raw.Header
				if h.Get("X-Watermaster-Account") != "main" || h.Get("X-Watermaster-Model") != "m" || h.Get("X-Watermaster-Request-Id") == "" ||
					h.Get("X-Watermaster-Waited") == "" || h.Get("X-Watermaster-Pressure") != "NORMAL" {
					t.Errorf("headers: %v", h)
				}
			})
			t.Run("chat, streamed", func(t *testing.T) {
				text, chunks := readChat(t, w, chat("m"), inPieces)
				if text == "" {
					t.Error("no text")
				}
				for _, c := range chunks {
					if len(c.Choices) == 0 || c.Usage.TotalTokens != 0 {
						t.Errorf("a chunk that nobody asked for: %s", c.RawJSON())
					}
				}
			})
			t.Run("chat, streamed, with its usage asked for", func(t *testing.T) {
				params := chat("m")
				params.StreamOptions.IncludeUsage = openai.Bool(true)
				_, chunks := readChat(t, w, params, inPieces)
				if last := chunks[len(chunks)-1]; last.Usage.CompletionTokens != 12 {
					t.Errorf("the usage was hidden from who asked for it: %s", last.RawJSON())
				}
			})
			t.Run("chat with a tool, streamed", func(t *testing.T) {
				params := chat("m")
				params.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
					Name: "look", Parameters: openai.FunctionParameters{"type": "object", "properties": map[string]any{"text": map[string]string{"type": "string"}}},
				})}
				params.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: openai.String("required")}
				stream := w.openai.Chat.Completions.NewStreaming(ctx, params, inPieces)
				defer stream.Close()
				var all openai.ChatCompletionAccumulator
				for stream.Next() {
					all.AddChunk(stream.Current())
				}
				if stream.Err() != nil || len(all.Choices) != 1 || len(all.Choices[0].Message.ToolCalls) != 1 || all.Choices[0].Message.ToolCalls[0].Function.Name != "look" {
					t.Errorf("got %v, %v", all.Choices, stream.Err())
				}
			})
			t.Run("responses", func(t *testing.T) {
				params := responses.ResponseNewParams{
					Model: "m", MaxOutputTokens: openai.Int(50), Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("How wide are the rivers?")},
				}
				out, err := w.openai.Responses.New(ctx, params)
				if err != nil || out.OutputText() == "" {
					t.Fatalf("got %v, %v", out, err)
				}
				params.PreviousResponseID = openai.String(out.ID)
				stream := w.openai.Responses.NewStreaming(ctx, params, inPieces)
				defer stream.Close()
				completed := false
				for stream.Next() {
					completed = completed || stream.Current().Type == "response.completed"
				}
				if stream.Err() != nil || !completed {
					t.Errorf("completed %v, %v", completed, stream.Err())
				}
			})
			t.Run("messages", func(t *testing.T) {
				out, err := claude.claude.Messages.New(ctx, message())
				if err != nil || out.Content[0].Text == "" || out.Usage.OutputTokens != 12 {
					t.Fatalf("got %v, %v", out, err)
				}
				stream := claude.claude.Messages.NewStreaming(ctx, message(), claudeInPieces)
				defer stream.Close()
				var all anthropic.Message
				for stream.Next() {
					if err := all.Accumulate(stream.Current()); err != nil {
						t.Fatal(err)
					}
				}
				if stream.Err() != nil || all.Content[0].Text != out.Content[0].Text || all.Usage.OutputTokens != 12 {
					t.Errorf("got %v, %v, want %v", all, stream.Err(), out)
				}
			})
			t.Run("messages with a tool", func(t *testing.T) {
				params := message()
				params.Tools = []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{Name: "look"}}}
				params.ToolChoice = anthropic.ToolChoiceUnionParam{OfAny: &anthropic.ToolChoiceAnyParam{}}
				out, err := claude.claude.Messages.New(ctx, params)
				if err != nil || out.StopReason != anthropic.StopReasonToolUse {
					t.Errorf("got %v, %v", out, err)
				}
			})
		})
	}
	t.Run("what is not limited", func(t *testing.T) {
		if _, err := w.openai.Models.List(ctx); err != nil {
			t.Error(err)
		}
	})
	w.idle(t, "main")
	claude.idle(t, "claude")
}

func readChat(t *testing.T, w *worker, params openai.ChatCompletionNewParams, opts ...option.RequestOption) (text string, chunks []openai.ChatCompletionChunk) {
	t.Helper()
	stream := w.openai.Chat.Completions.NewStreaming(t.Context(), params, opts...)
	defer stream.Close()
	for stream.Next() {
		chunks = append(chunks, stream.Current())
		if c := stream.Current().Choices; len(c) > 0 {
			text += c[0].Delta.Content
		}
	}
	if stream.Err() != nil {
		t.Fatal(stream.Err())
	}
	return text, chunks
}

// statusOf gives the status of an SDK's error, and its answer.
func statusOf(t *testing.T, err error) (int, *http.Response) {
	t.Helper()
	var failed *openai.Error
	var failedToo *anthropic.Error
	switch {
	case errors.As(err, &failed):
		return failed.StatusCode, failed.Response
	case errors.As(err, &failedToo):
		return failedToo.StatusCode, failedToo.Response
	}
	t.Fatalf("got %v, want an answer of the provider", err)
	return 0, nil
}

// wordsOf gives the body of an SDK's error.
func wordsOf(err error) string {
	var failed *openai.Error
	var failedToo *anthropic.Error
	switch {
	case errors.As(err, &failed):
		return failed.RawJSON()
	case errors.As(err, &failedToo):
		return failedToo.RawJSON()
	}
	return err.Error()
}

// Each class of failure is the SDK's own error, and frees the lease.
func TestFailures(t *testing.T) {
	names := map[int]string{
		400: "s400", 401: "s401", 403: "s403", 404: "s404", 408: "s408", 409: "s409", 413: "s413", 422: "s422", 429: "s429", 500: "s500", 503: "s503", 529: "s529",
	}
	for _, status := range statuses {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			name := names[status]
			w := newWorker(t, service.Address, "", watermaster.Options{Account: name, Retries: watermaster.NoRetries})
			asked := option.WithHeader("x-standin-status", name[1:])
			_, err := w.openai.Chat.Completions.New(t.Context(), chat(name+"-m"), option.WithMaxRetries(0), asked)
			got, resp := statusOf(t, err)
			if got != status {
				t.Errorf("got %d, want %d: %v", got, status, err)
			}
			if resp.Header.Get("X-Watermaster-Account") != name || resp.Header.Get("X-Watermaster-Reason") != "" {
				t.Errorf("headers: %v", resp.Header)
			}
			if n := len(w.wire.sent()); n != 1 {
				t.Errorf("sent %d times", n)
			}
			w.idle(t, name)
		})
	}
}

func TestCancelled(t *testing.T) {
	w := newWorker(t, service.Address, "", watermaster.Options{Account: "main"})
	ctx, cancel := context.WithCancel(t.Context())
	w.wire.onSent(cancel)
	_, err := w.openai.Chat.Completions.New(ctx, chat("m"), option.WithHeader("x-standin-delay", "1m"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	w.idle(t, "main")
}

func TestCutAndClosed(t *testing.T) {
	w := newWorker(t, service.Address, "", watermaster.Options{Account: "main"})
	t.Run("cut", func(t *testing.T) {
		stream := w.openai.Chat.Completions.NewStreaming(t.Context(), chat("m"), option.WithHeader("x-standin-cut", "3"))
		n := 0
		for stream.Next() {
			n++
		}
		if stream.Err() == nil || n != 3 {
			t.Errorf("%d chunks, %v", n, stream.Err())
		}
		w.idle(t, "main")
	})
	t.Run("closed half-way", func(t *testing.T) {
		stream := w.openai.Chat.Completions.NewStreaming(t.Context(), chat("m"), option.WithHeader("x-standin-output", "5"))
		if !stream.Next() {
			t.Fatal(stream.Err())
		}
		if err := stream.Close(); err != nil {
			t.Error(err)
		}
		w.idle(t, "main")
	})
	t.Run("a slow answer", func(t *testing.T) {
		if _, err := w.openai.Chat.Completions.New(t.Context(), chat("m"), option.WithHeader("x-standin-delay", "300ms")); err != nil {
			t.Error(err)
		}
		w.idle(t, "main")
	})
}
