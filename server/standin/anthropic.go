package standin

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// anthropic words things as Anthropic does.
type anthropic struct{}

func (anthropic) id() string { return "Request-Id" }

func (anthropic) key(r *http.Request) bool {
	return r.Header.Get("X-Api-Key") != "" || strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ")
}

// header tells of each metric when it is whole again; what is left of tokens, in thousands, but
// never more than the limit.
func (anthropic) header(h http.Header, limits []provider.Standing, now time.Time) {
	h.Set("Anthropic-Organization-Id", "00000000-0000-0000-0000-000000000000")
	for _, what := range []struct {
		name string
		of   provider.Metric
	}{
		{"requests", provider.Requests}, {"tokens", provider.Tokens},
		{"input-tokens", provider.InputTokens}, {"output-tokens", provider.OutputTokens},
	} {
		s := least(limits, what.of)
		if s == nil {
			continue
		}
		left := s.Remaining()
		if what.of != provider.Requests {
			left = min((left+500)/1000*1000, s.Quota)
		}
		name := "Anthropic-Ratelimit-" + what.name
		h.Set(name+"-Limit", strconv.FormatInt(s.Quota, 10))
		h.Set(name+"-Remaining", strconv.FormatInt(left, 10))
		h.Set(name+"-Reset", now.Add(s.ResetAfter+time.Second-1).UTC().Truncate(time.Second).Format(time.RFC3339))
	}
}

func (anthropic) body(f *failure, id string) any {
	kind := f.kind
	switch kind {
	case "server_error", "service_unavailable_error":
		kind = "api_error"
	case "insufficient_quota", "requests", "tokens", "concurrency":
		kind = "rate_limit_error"
	}
	return map[string]any{"type": "error", "error": map[string]any{"type": kind, "message": f.message}, "request_id": id}
}

func (anthropic) throttled(_ *ask, v *provider.Verdict, at *provider.Standing, requested int64, h http.Header) *failure {
	f := &failure{status: http.StatusTooManyRequests, kind: "rate_limit_error"}
	what := strings.ReplaceAll(at.Metric.String(), "_", " ")
	if v.Kind == provider.Concurrent {
		f.message = fmt.Sprintf("Number of concurrent connections has exceeded your rate limit of %d. Please try again later.", at.Quota)
		return f
	}
	f.message = fmt.Sprintf("This request would exceed the rate limit for your organization of %d %s per %s: %d are used and it asks for %d.",
		at.Quota, what, windowWord(at.Window), at.Used, requested)
	if v.Kind == provider.RateLimited {
		h.Set("Retry-After", strconv.FormatInt(seconds(v.RetryAfter), 10))
		h.Set("X-Should-Retry", "true")
	} else {
		h.Set("X-Should-Retry", "false")
	}
	return f
}

func windowWord(d time.Duration) string {
	switch d {
	case time.Second:
		return "second"
	case time.Minute:
		return "minute"
	}
	return windowName(d)
}

// messages is Anthropic's Messages.
type messages struct{}

func (messages) read(body map[string]any) (a ask, f *failure) {
	if a.Model, f = model(body); f != nil {
		return a, f
	}
	list, ok := body["messages"].([]any)
	if !ok || len(list) == 0 {
		return a, badField("messages", "messages: at least one message is required")
	}
	a.Choices = 1
	if a.MaxOutput, f = number(body, "max_tokens"); f != nil {
		return a, f
	}
	if a.MaxOutput == 0 {
		return a, badField("max_tokens", "max_tokens: Field required")
	}
	a.Input, a.Seed = prompt(list, body["system"], body["tools"])
	a.Stream, _ = body["stream"].(bool)
	answered := false
	if last, ok := list[len(list)-1].(map[string]any); ok {
		if blocks, ok := last["content"].([]any); ok && len(blocks) > 0 {
			block, _ := blocks[0].(map[string]any)
			answered = block["type"] == "tool_result"
		}
	}
	a.Tool = tool(body, answered)
	return a, nil
}

func (messages) usage(c *call, output int64) map[string]any {
	return map[string]any{
		"input_tokens": c.Input - c.cached, "cache_creation_input_tokens": 0, "cache_read_input_tokens": c.cached,
		"cache_creation": map[string]any{"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
		"output_tokens":  output, "service_tier": "standard",
	}
}

func (messages) reason(c *call) string {
	switch {
	case c.Tool != "":
		return "tool_use"
	case c.cutShort():
		return "max_tokens"
	}
	return "end_turn"
}

func (k messages) message(c *call, content []any, reason any, output int64) map[string]any {
	return map[string]any{
		"id": c.name("msg_"), "type": "message", "role": "assistant", "model": c.Model, "content": content,
		"stop_reason": reason, "stop_sequence": nil, "usage": k.usage(c, output),
	}
}

func (k messages) plain(c *call) any {
	block := map[string]any{"type": "text", "text": strings.Join(c.text, "")}
	if c.Tool != "" {
		block = map[string]any{"type": "tool_use", "id": c.name("toolu_"), "name": c.Tool, "input": map[string]any{"text": strings.Join(c.text, "")}}
	}
	return k.message(c, []any{block}, k.reason(c), c.output)
}

func (k messages) stream(c *call, out *stream) {
	send := func(kind string, fields map[string]any) {
		fields["type"] = kind
		out.event(kind, fields)
	}
	send("message_start", map[string]any{"message": k.message(c, []any{}, nil, 1)})
	block, delta, field, pieces := map[string]any{"type": "text", "text": ""}, "text_delta", "text", c.text
	if c.Tool != "" {
		block = map[string]any{"type": "tool_use", "id": c.name("toolu_"), "name": c.Tool, "input": map[string]any{}}
		delta, field, pieces = "input_json_delta", "partial_json", fragments(c.arguments(), len(c.text))
	}
	send("content_block_start", map[string]any{"index": 0, "content_block": block})
	send("ping", map[string]any{})
	for _, piece := range pieces {
		if !out.token() {
			return
		}
		send("content_block_delta", map[string]any{"index": 0, "delta": map[string]any{"type": delta, field: piece}})
	}
	out.done()
	send("content_block_stop", map[string]any{"index": 0})
	send("message_delta", map[string]any{
		"delta": map[string]any{"stop_reason": k.reason(c), "stop_sequence": nil}, "usage": k.usage(c, c.output),
	})
	send("message_stop", map[string]any{})
}
