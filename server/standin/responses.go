package standin

import (
	"fmt"
	"strings"
)

// responses is OpenAI's Responses.
type responses struct{}

func (responses) read(body map[string]any) (a ask, f *failure) {
	if a.Model, f = model(body); f != nil {
		return a, f
	}
	answered := false
	switch input := body["input"].(type) {
	case string:
	case []any:
		if len(input) > 0 {
			last, _ := input[len(input)-1].(map[string]any)
			answered = last["type"] == "function_call_output"
		}
	default:
		return a, badField("input", "Missing required parameter: 'input'.")
	}
	a.Choices = 1
	if a.MaxOutput, f = number(body, "max_output_tokens"); f != nil {
		return a, f
	}
	a.Input, a.Seed = prompt(body["input"], body["instructions"], body["tools"])
	a.Stream, _ = body["stream"].(bool)
	a.Tool = tool(body, answered)
	return a, nil
}

// response is the whole object, as it is in a state.
func (k responses) response(c *call, state string, output []any) map[string]any {
	m := map[string]any{
		"id": c.name("resp_"), "object": "response", "created_at": c.now.Unix(), "status": state, "model": c.Model, "output": output,
		"error": nil, "incomplete_details": nil, "instructions": nil, "metadata": map[string]any{}, "parallel_tool_calls": true,
		"temperature": 1, "top_p": 1, "tool_choice": "auto", "tools": []any{}, "usage": nil, "max_output_tokens": nil,
		"text": map[string]any{"format": map[string]any{"type": "text"}},
	}
	if c.MaxOutput > 0 {
		m["max_output_tokens"] = c.MaxOutput
	}
	if state == "incomplete" {
		m["incomplete_details"] = map[string]any{"reason": "max_output_tokens"}
	}
	if state != "in_progress" {
		m["usage"] = map[string]any{
			"input_tokens": c.Input, "input_tokens_details": map[string]any{"cached_tokens": c.cached},
			"output_tokens": c.output, "output_tokens_details": map[string]any{"reasoning_tokens": 0}, "total_tokens": c.Input + c.output,
		}
	}
	return m
}

func (responses) state(c *call) string {
	if c.cutShort() && c.Tool == "" {
		return "incomplete"
	}
	return "completed"
}

// item is the one thing that the reply has, as it is in a state.
func (responses) item(c *call, state, text string) map[string]any {
	if c.Tool != "" {
		return map[string]any{"id": c.name("fc_"), "type": "function_call", "status": state, "call_id": c.name("call_"), "name": c.Tool, "arguments": text}
	}
	content := []any{}
	if state != "in_progress" {
		content = append(content, part(text))
	}
	return map[string]any{"id": c.name("msg_"), "type": "message", "status": state, "role": "assistant", "content": content}
}

func part(text string) map[string]any {
	return map[string]any{"type": "output_text", "text": text, "annotations": []any{}, "logprobs": []any{}}
}

func (responses) text(c *call) string {
	if c.Tool != "" {
		return c.arguments()
	}
	return strings.Join(c.text, "")
}

func (k responses) plain(c *call) any {
	state := k.state(c)
	return k.response(c, state, []any{k.item(c, state, k.text(c))})
}

func (k responses) stream(c *call, out *stream) {
	n := 0
	send := func(kind string, fields map[string]any) {
		fields["type"], fields["sequence_number"] = kind, n
		n++
		out.event(kind, fields)
	}
	running := k.response(c, "in_progress", []any{})
	send("response.created", map[string]any{"response": running})
	send("response.in_progress", map[string]any{"response": running})
	item := k.item(c, "in_progress", "")
	send("response.output_item.added", map[string]any{"output_index": 0, "item": item})
	at := func(more map[string]any) map[string]any {
		more["item_id"], more["output_index"] = item["id"], 0
		if c.Tool == "" {
			more["content_index"] = 0
		}
		return more
	}
	whole, kind, pieces := k.text(c), "response.output_text", c.text
	if c.Tool != "" {
		kind, pieces = "response.function_call_arguments", fragments(whole, len(c.text))
	} else {
		send("response.content_part.added", at(map[string]any{"part": part("")}))
	}
	for _, piece := range pieces {
		if !out.token() {
			return
		}
		more := map[string]any{"delta": piece}
		if c.Tool == "" {
			more["logprobs"] = []any{}
		}
		send(kind+".delta", at(more))
	}
	out.done()
	if c.Tool != "" {
		send(kind+".done", at(map[string]any{"arguments": whole, "name": c.Tool}))
	} else {
		send(kind+".done", at(map[string]any{"text": whole, "logprobs": []any{}}))
		send("response.content_part.done", at(map[string]any{"part": part(whole)}))
	}
	state := k.state(c)
	done := k.item(c, state, whole)
	send("response.output_item.done", map[string]any{"output_index": 0, "item": done})
	send(fmt.Sprintf("response.%s", state), map[string]any{"response": k.response(c, state, []any{done})})
}
