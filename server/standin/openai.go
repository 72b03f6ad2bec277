package standin

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// openAI words things as OpenAI does.
type openAI struct{}

func (openAI) id() string { return "X-Request-Id" }

func (openAI) key(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") || r.Header.Get("Api-Key") != ""
}

// span writes a duration as OpenAI's headers and messages do: 84ms, 1.146s, 7m12s.
func span(d time.Duration) string {
	return max(0, (d + time.Millisecond - 1).Truncate(time.Millisecond)).String()
}

// header tells of requests and of tokens: of each the limit with the least left.
func (openAI) header(h http.Header, limits []provider.Standing, _ time.Time) {
	h.Set("Openai-Organization", "org-standin")
	h.Set("Openai-Version", "2020-10-01")
	h.Set("Openai-Processing-Ms", "1")
	for _, what := range []struct {
		name string
		of   []provider.Metric
	}{
		{"requests", []provider.Metric{provider.Requests}},
		{"tokens", []provider.Metric{provider.Tokens, provider.InputTokens}},
	} {
		for _, m := range what.of {
			s := least(limits, m)
			if s == nil {
				continue
			}
			h.Set("X-Ratelimit-Limit-"+what.name, strconv.FormatInt(s.Quota, 10))
			h.Set("X-Ratelimit-Remaining-"+what.name, strconv.FormatInt(s.Remaining(), 10))
			h.Set("X-Ratelimit-Reset-"+what.name, span(s.ResetAfter))
			break
		}
	}
}

// least gives the limit of a metric of which the least is left; nil: there is none.
func least(limits []provider.Standing, m provider.Metric) (s *provider.Standing) {
	for i := range limits {
		if l := &limits[i]; l.Metric == m && (s == nil || float64(l.Remaining())/float64(l.Quota) < float64(s.Remaining())/float64(s.Quota)) {
			s = l
		}
	}
	return s
}

func (openAI) body(f *failure, _ string) any {
	return map[string]any{"error": map[string]any{"message": f.message, "type": f.kind, "param": null(f.param), "code": null(f.code)}}
}

// throttled refuses as OpenAI does; what never fits, with no time to wait.
func (openAI) throttled(a *ask, v *provider.Verdict, at *provider.Standing, requested int64, h http.Header) *failure {
	kind := "tokens"
	switch at.Metric {
	case provider.Requests:
		kind = "requests"
	case provider.Concurrency:
		kind = "concurrency" // "requests" would be taken for those of a window
	}
	f := &failure{status: http.StatusTooManyRequests, kind: kind, code: "rate_limit_exceeded"}
	per := fmt.Sprintf("%s per %s (%s)", kind, windowName(at.Window), abbreviation(kind, at.Window))
	const where = "in organization org-standin on"
	switch v.Kind {
	case provider.TooLarge:
		f.message = fmt.Sprintf("Request too large for %s %s %s: Limit %d, Requested %d. The input or output tokens must be reduced in order to run successfully.",
			a.Model, where, per, at.Quota, requested)
	case provider.Concurrent:
		f.message = fmt.Sprintf("Rate limit reached for %s %s concurrent requests: Limit %d, Used %d, Requested 1. Please try again later.",
			a.Model, where, at.Quota, at.Used)
	default:
		f.message = fmt.Sprintf("Rate limit reached for %s %s %s: Limit %d, Used %d, Requested %d. Please try again in %s.",
			a.Model, where, per, at.Quota, at.Used, requested, span(v.RetryAfter))
		h.Set("Retry-After-Ms", strconv.FormatInt((v.RetryAfter+time.Millisecond-1).Milliseconds(), 10))
		h.Set("Retry-After", strconv.FormatInt(seconds(v.RetryAfter), 10))
	}
	return f
}

// seconds rounds up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

func windowName(d time.Duration) string {
	switch d {
	case time.Second:
		return "sec"
	case time.Minute:
		return "min"
	case time.Hour:
		return "hour"
	case 24 * time.Hour:
		return "day"
	}
	return d.String()
}

// abbreviation is RPM, TPD and the like.
func abbreviation(kind string, d time.Duration) string {
	return strings.ToUpper(kind[:1]) + "P" + strings.ToUpper(windowName(d)[:1])
}

// chat is OpenAI's chat completions.
type chat struct{}

func (chat) read(body map[string]any) (a ask, f *failure) {
	if a.Model, f = model(body); f != nil {
		return a, f
	}
	list, ok := body["messages"].([]any)
	if !ok || len(list) == 0 {
		return a, badField("messages", "Invalid 'messages': empty array. Expected an array with minimum length 1.")
	}
	if a.Choices, f = number(body, "n"); f != nil {
		return a, f
	}
	a.Choices = max(1, a.Choices)
	if a.Choices > 128 {
		return a, badField("n", "Invalid 'n': integer above maximum value. Expected a value <= 128.")
	}
	if a.MaxOutput, f = number(body, "max_completion_tokens", "max_tokens"); f != nil {
		return a, f
	}
	a.MaxOutput *= a.Choices
	a.Input, a.Seed = prompt(list, body["tools"])
	a.Stream, _ = body["stream"].(bool)
	if options, ok := body["stream_options"].(map[string]any); ok {
		a.Usage, _ = options["include_usage"].(bool)
	}
	last, _ := list[len(list)-1].(map[string]any)
	a.Tool = tool(body, last["role"] == "tool")
	return a, nil
}

func (chat) usage(c *call, output int64) map[string]any {
	return map[string]any{
		"prompt_tokens": c.Input, "completion_tokens": output, "total_tokens": c.Input + output,
		"prompt_tokens_details":     map[string]any{"cached_tokens": c.cached, "audio_tokens": 0},
		"completion_tokens_details": map[string]any{"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
	}
}

func (c *call) name(prefix string) string { return fmt.Sprintf("%s%012d", prefix, c.number) }

// arguments are those of a call of a tool.
func (c *call) arguments() string { return `{"text":"` + strings.Join(c.text, "") + `"}` }

// finish is why the reply ends.
func (c *call) cutShort() bool { return c.MaxOutput > 0 && c.output >= c.MaxOutput/c.Choices }

func (chat) finish(c *call) string {
	switch {
	case c.Tool != "":
		return "tool_calls"
	case c.cutShort():
		return "length"
	}
	return "stop"
}

func (k chat) plain(c *call) any {
	var choices []any
	for i := range c.Choices {
		message := map[string]any{"role": "assistant", "content": strings.Join(c.text, ""), "refusal": nil, "annotations": []any{}}
		if c.Tool != "" {
			message["content"] = nil
			message["tool_calls"] = []any{map[string]any{"id": c.name("call_"), "type": "function",
				"function": map[string]any{"name": c.Tool, "arguments": c.arguments()}}}
		}
		choices = append(choices, map[string]any{"index": i, "message": message, "logprobs": nil, "finish_reason": k.finish(c)})
	}
	return map[string]any{
		"id": c.name("chatcmpl-"), "object": "chat.completion", "created": c.now.Unix(), "model": c.Model,
		"choices": choices, "usage": k.usage(c, c.output*c.Choices), "service_tier": "default", "system_fingerprint": "fp_standin",
	}
}

func (k chat) stream(c *call, out *stream) {
	chunk := func(choices []any, usage any) {
		m := map[string]any{"id": c.name("chatcmpl-"), "object": "chat.completion.chunk", "created": c.now.Unix(), "model": c.Model,
			"service_tier": "default", "system_fingerprint": "fp_standin", "choices": choices}
		if c.Usage {
			m["usage"] = usage
		}
		out.event("", m)
	}
	each := func(delta map[string]any, finish any) {
		for i := range c.Choices {
			chunk([]any{map[string]any{"index": i, "delta": delta, "logprobs": nil, "finish_reason": finish}}, nil)
		}
	}
	first := map[string]any{"role": "assistant", "content": "", "refusal": nil}
	pieces := c.text
	if c.Tool != "" {
		first = map[string]any{"role": "assistant", "content": nil, "tool_calls": []any{map[string]any{
			"index": 0, "id": c.name("call_"), "type": "function", "function": map[string]any{"name": c.Tool, "arguments": ""}}}}
		pieces = fragments(c.arguments(), len(c.text))
	}
	each(first, nil)
	for _, piece := range pieces {
		if !out.token() {
			return
		}
		if c.Tool != "" {
			each(map[string]any{"tool_calls": []any{map[string]any{"index": 0, "function": map[string]any{"arguments": piece}}}}, nil)
		} else {
			each(map[string]any{"content": piece}, nil)
		}
	}
	out.done()
	each(map[string]any{}, k.finish(c))
	if c.Usage {
		chunk([]any{}, k.usage(c, c.output*c.Choices))
	}
	out.raw("data: [DONE]\n\n")
}

// fragments cuts a text into so many parts.
func fragments(text string, n int) (list []string) {
	for ; n > 0; n-- {
		size := len(text) / n
		list, text = append(list, text[:size]), text[size:]
	}
	return list
}
