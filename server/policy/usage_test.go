package policy

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
)

// tokens is a usage of which input and output are known.
func tokens(input, cached, written, output int64) Usage {
	return Usage{Input: input, CachedInput: cached, CacheWrite: written, Output: output, HasInput: true, HasOutput: true}
}

func TestNormalizeUsage(t *testing.T) {
	for _, c := range []struct {
		name, sent string
		want       Usage
	}{
		{"chat completions", `{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,
			"prompt_tokens_details":{"cached_tokens":64,"cache_write_tokens":8},"completion_tokens_details":{"reasoning_tokens":12}}`, tokens(100, 64, 8, 20)},
		{"the last chunk of a stream", `{"id":"x","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":20}}`, tokens(100, 0, 0, 20)},
		{"embeddings", `{"prompt_tokens":8,"total_tokens":8}`, tokens(8, 0, 0, 0)},
		{"responses", `{"input_tokens":100,"output_tokens":20,"total_tokens":120,
			"input_tokens_details":{"cached_tokens":64,"cache_write_tokens":8},"output_tokens_details":{"reasoning_tokens":12}}`, tokens(100, 64, 8, 20)},
		{"the end of a response", `{"type":"response.completed","response":{"id":"r","usage":{"input_tokens":5,"output_tokens":6}}}`, tokens(5, 0, 0, 6)},
		{"anthropic", `{"input_tokens":10,"output_tokens":20,"cache_creation_input_tokens":30,"cache_read_input_tokens":40,
			"cache_creation":{"ephemeral_5m_input_tokens":30,"ephemeral_1h_input_tokens":0},"service_tier":"standard"}`, tokens(80, 40, 30, 20)},
		{"anthropic, writes by age", `{"input_tokens":10,"output_tokens":20,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4}}`,
			tokens(17, 0, 7, 20)},
		{"message_start", `{"type":"message_start","message":{"usage":{"input_tokens":10,"cache_read_input_tokens":40,"output_tokens":1}}}`, tokens(50, 40, 0, 1)},
		{"message_delta", `{"type":"message_delta","usage":{"output_tokens":15}}`, Usage{Output: 15, HasOutput: true}},
		{"gemini, thoughts outside of candidates", `{"promptTokenCount":100,"candidatesTokenCount":20,"thoughtsTokenCount":30,
			"toolUsePromptTokenCount":5,"cachedContentTokenCount":60,"totalTokenCount":155}`, tokens(105, 60, 0, 50)},
		{"gemini, thoughts inside of candidates", `{"usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":50,"thoughtsTokenCount":30,"totalTokenCount":150}}`,
			tokens(100, 0, 0, 50)},
		{"gemini, no total", `{"promptTokenCount":100,"candidatesTokenCount":20,"thoughtsTokenCount":30}`, tokens(100, 0, 0, 50)},
		{"gemini, a total that is less", `{"promptTokenCount":100,"candidatesTokenCount":20,"totalTokenCount":90}`, tokens(100, 0, 0, 20)},
		{"gemini, as its Python library says it", `{"usage_metadata":{"prompt_token_count":9,"candidates_token_count":2,"total_token_count":11}}`, tokens(9, 0, 0, 2)},
		{"converse", `{"inputTokens":10,"outputTokens":20,"totalTokens":100,"cacheReadInputTokens":40,"cacheWriteInputTokens":30,
			"cacheDetails":[{"ttl":"5m","inputTokens":30}]}`, tokens(80, 40, 30, 20)},
		{"converse, streamed", `{"metadata":{"usage":{"inputTokens":10,"outputTokens":20}}}`, tokens(10, 0, 0, 20)},
		{"invoke model", `{"amazon-bedrock-invocationMetrics":{"inputTokenCount":10,"outputTokenCount":20,"invocationLatency":5,
			"cacheReadInputTokenCount":3,"cacheWriteInputTokenCount":4}}`, tokens(17, 3, 4, 20)},
		{"cohere", `{"usage":{"billed_units":{"input_tokens":34,"output_tokens":50},"tokens":{"input_tokens":721,"output_tokens":48},"cached_tokens":16}}`,
			tokens(721, 16, 0, 50)},
		{"cohere, the end of a message", `{"type":"message-end","delta":{"usage":{"tokens":{"input_tokens":7,"output_tokens":8}}}}`, tokens(7, 0, 0, 8)},
		{"cohere, version 1", `{"meta":{"billed_units":{"input_tokens":7,"output_tokens":8}}}`, tokens(7, 0, 0, 8)},
		{"deepseek", `{"prompt_tokens":100,"completion_tokens":20,"prompt_cache_hit_tokens":70,"prompt_cache_miss_tokens":30}`, tokens(100, 70, 0, 20)},
		{"deepseek, the parts alone", `{"completion_tokens":20,"prompt_cache_hit_tokens":70,"prompt_cache_miss_tokens":30}`, tokens(100, 70, 0, 20)},
		{"groq, streamed", `{"choices":[],"x_groq":{"id":"req","usage":{"prompt_tokens":9,"completion_tokens":2}}}`, tokens(9, 0, 0, 2)},
		{"usage is null", `{"choices":[{}],"usage":null}`, Usage{}},
		{"nothing", `{}`, Usage{}},
		{"not numbers", `{"prompt_tokens":"9","completion_tokens":null,"usage":[1]}`, Usage{}},
		{"negative", `{"prompt_tokens":-9,"completion_tokens":2}`, Usage{Output: 2, HasOutput: true}},
		{"absurd", `{"prompt_tokens":1e300,"completion_tokens":1.5}`, tokens(maxTokens, 0, 0, 2)},
		{"too deep", `{"usage":{"usage":{"usage":{"usage":{"usage":{"prompt_tokens":1}}}}}}`, Usage{}},
	} {
		var sent map[string]any
		if err := json.Unmarshal([]byte(c.sent), &sent); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got, ok := NormalizeUsage(sent)
		if !reflect.DeepEqual(got, c.want) || ok != c.want.known() {
			t.Errorf("%s:\n got %+v %v\nwant %+v", c.name, got, ok, c.want)
		}
	}
}

func TestUsageNumbers(t *testing.T) {
	for _, c := range []struct {
		v    any
		want int64
		ok   bool
	}{
		{float64(7), 7, true}, {float32(7), 7, true}, {int(7), 7, true}, {int32(7), 7, true}, {int64(7), 7, true},
		{uint32(7), 7, true}, {uint64(7), 7, true}, {json.Number("7"), 7, true}, {json.Number("x"), 0, false},
		{math.NaN(), 0, false}, {math.Inf(1), 0, false}, {int64(-7), 0, false}, {uint64(math.MaxUint64), maxTokens, true},
		{true, 0, false}, {nil, 0, false},
	} {
		if got, ok := count(map[string]any{"n": c.v}, "n"); got != c.want || ok != c.ok {
			t.Errorf("%T %v: got %d %v, want %d %v", c.v, c.v, got, ok, c.want, c.ok)
		}
	}
}

// Parts of the input never exceed it.
func TestUsageBounds(t *testing.T) {
	for _, c := range []struct {
		in   Usage
		want use
	}{
		{tokens(100, 200, 50, 1), use{input: 100, cached: 100, output: 1, settled: true}},
		{tokens(100, 80, 50, 1), use{input: 100, cached: 80, written: 20, output: 1, settled: true}},
		{tokens(-5, -5, -5, -5), use{settled: true}},
	} {
		if got := c.in.use(); got != c.want {
			t.Errorf("%+v: got %+v, want %+v", c.in, got, c.want)
		}
	}
}
