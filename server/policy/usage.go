package policy

import (
	"encoding/json"
	"math"
)

// Usage is what a call has used so far, in one form for all providers. Counts are in tokens.
type Usage struct {
	Input       int64 // the whole prompt, cached and written tokens included
	CachedInput int64 // of it, read from a cache
	CacheWrite  int64 // of it, written to a cache
	Output      int64 // all that was produced, reasoning included
	Units       map[string]int64

	// What is known. A count that isn't known is settled as it was estimated.
	HasInput, HasOutput bool
}

// known says whether there is anything to settle with.
func (u *Usage) known() bool { return u.HasInput || u.HasOutput || len(u.Units) > 0 }

// use gives the counts within their bounds.
func (u *Usage) use() use {
	out := use{input: bounded(u.Input), output: bounded(u.Output), settled: true}
	out.cached = min(bounded(u.CachedInput), out.input)
	out.written = min(bounded(u.CacheWrite), out.input-out.cached)
	return out
}

func bounded(n int64) int64 { return min(max(n, 0), maxTokens) }

// usageDepth bounds how deep the usage may lie in what was passed.
const usageDepth = 4

// envelopes are where providers put the usage in an answer or an event of a stream.
var envelopes = []string{
	"usage",                           // everybody; Bedrock Converse's metadata event too
	"usageMetadata", "usage_metadata", // Gemini
	"x_groq",                           // Groq, streamed
	"amazon-bedrock-invocationMetrics", // Bedrock InvokeModel, the last chunk
	"response",                         // OpenAI Responses, the terminal event
	"message",                          // Anthropic, message_start
	"metadata",                         // Bedrock Converse
	"delta",                            // Cohere, message-end
	"meta",                             // Cohere v1
}

// NormalizeUsage reads a provider's usage object as it was sent (providers.md §2), or the
// answer or the event of a stream that holds one. Numbers may be float64, json.Number or
// integers; what isn't a finite number of at least 0 is left out. ok is false when no count
// was found.
func NormalizeUsage(sent map[string]any) (u Usage, ok bool) {
	return normalize(sent, usageDepth)
}

func normalize(m map[string]any, depth int) (u Usage, ok bool) {
	for _, read := range [...]func(map[string]any) Usage{readOpenAI, readTokenPair, readGemini, readBedrock, readCohere} {
		if u = read(m); u.known() {
			return u, true
		}
	}
	if depth > 0 {
		for _, name := range envelopes {
			if inner, is := m[name].(map[string]any); is {
				if u, ok = normalize(inner, depth-1); ok {
					return u, true
				}
			}
		}
	}
	return Usage{}, false
}

// readOpenAI reads Chat Completions and all that look like it: Mistral, Groq, OpenRouter,
// DeepSeek. The input includes the cache.
func readOpenAI(m map[string]any) (u Usage) {
	u.Input, u.HasInput = count(m, "prompt_tokens")
	u.Output, u.HasOutput = count(m, "completion_tokens")
	if total, ok := count(m, "total_tokens"); ok && u.HasInput && !u.HasOutput {
		u.Output, u.HasOutput = max(0, total-u.Input), true // embeddings
	}
	hit, hasHit := count(m, "prompt_cache_hit_tokens") // DeepSeek
	miss, hasMiss := count(m, "prompt_cache_miss_tokens")
	if hasHit && hasMiss && !u.HasInput {
		u.Input, u.HasInput = hit+miss, true
	}
	details := within(m, "prompt_tokens_details")
	cached, _ := count(details, "cached_tokens")
	u.CachedInput = max(cached, hit)
	u.CacheWrite, _ = count(details, "cache_write_tokens")
	return u
}

// readTokenPair reads what calls its counts input_tokens and output_tokens: OpenAI Responses,
// whose input includes the cache, and Anthropic, whose input doesn't.
func readTokenPair(m map[string]any) (u Usage) {
	u.Input, u.HasInput = count(m, "input_tokens")
	u.Output, u.HasOutput = count(m, "output_tokens")
	if details := within(m, "input_tokens_details"); details != nil {
		u.CachedInput, _ = count(details, "cached_tokens")
		u.CacheWrite, _ = count(details, "cache_write_tokens")
		return u
	}
	read, hasRead := count(m, "cache_read_input_tokens")
	written, hasWritten := count(m, "cache_creation_input_tokens")
	if !hasWritten {
		parts := within(m, "cache_creation")
		short, _ := count(parts, "ephemeral_5m_input_tokens")
		long, _ := count(parts, "ephemeral_1h_input_tokens")
		written = short + long
		hasWritten = written > 0
	}
	if u.HasInput && (hasRead || hasWritten) {
		u.addCache(read, written)
	}
	return u
}

// addCache completes an input that was told without the cache.
func (u *Usage) addCache(read, written int64) {
	u.CachedInput, u.CacheWrite = read, written
	u.Input += read + written
}

// readGemini reads usageMetadata. Whether candidates include thoughts differs between its
// two services; the total has them in any case.
func readGemini(m map[string]any) (u Usage) {
	u.Input, u.HasInput = either(m, "promptTokenCount", "prompt_token_count")
	candidates, hasCandidates := either(m, "candidatesTokenCount", "candidates_token_count")
	thoughts, hasThoughts := either(m, "thoughtsTokenCount", "thoughts_token_count")
	total, hasTotal := either(m, "totalTokenCount", "total_token_count")
	tools, _ := either(m, "toolUsePromptTokenCount", "tool_use_prompt_token_count")
	if u.HasInput {
		u.Input += tools
	}
	switch {
	case hasTotal && u.HasInput:
		u.Output, u.HasOutput = max(total-u.Input, candidates, thoughts), true
	case hasCandidates || hasThoughts:
		u.Output, u.HasOutput = candidates+thoughts, true
	}
	u.CachedInput, _ = either(m, "cachedContentTokenCount", "cached_content_token_count")
	return u
}

// readBedrock reads Converse, whose input is without the cache, and the invocation metrics
// of InvokeModel. Whether the input of those includes it is unknown: it is added, for that
// counts more.
func readBedrock(m map[string]any) (u Usage) {
	u.Input, u.HasInput = either(m, "inputTokens", "inputTokenCount")
	u.Output, u.HasOutput = either(m, "outputTokens", "outputTokenCount")
	if u.HasInput {
		read, _ := either(m, "cacheReadInputTokens", "cacheReadInputTokenCount")
		written, _ := either(m, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
		u.addCache(read, written)
	}
	return u
}

// readCohere reads version 2, where tokens has what the model saw and billed_units what is
// billed; the larger counts.
func readCohere(m map[string]any) (u Usage) {
	tokens, billed := within(m, "tokens"), within(m, "billed_units")
	for _, part := range [...]map[string]any{tokens, billed} {
		if n, ok := count(part, "input_tokens"); ok {
			u.Input, u.HasInput = max(u.Input, n), true
		}
		if n, ok := count(part, "output_tokens"); ok {
			u.Output, u.HasOutput = max(u.Output, n), true
		}
	}
	u.CachedInput, _ = count(m, "cached_tokens")
	return u
}

func within(m map[string]any, key string) map[string]any {
	inner, _ := m[key].(map[string]any)
	return inner
}

func either(m map[string]any, a, b string) (int64, bool) {
	if n, ok := count(m, a); ok {
		return n, true
	}
	return count(m, b)
}

// count reads a number of tokens, at most maxTokens; a part of one is a whole one.
func count(m map[string]any, key string) (int64, bool) {
	var f float64
	switch v := m[key].(type) {
	case float64:
		f = v
	case float32:
		f = float64(v)
	case int:
		f = float64(v)
	case int32:
		f = float64(v)
	case int64:
		f = float64(v)
	case uint32:
		f = float64(v)
	case uint64:
		f = float64(v)
	case json.Number:
		var err error
		if f, err = v.Float64(); err != nil {
			return 0, false
		}
	default:
		return 0, false
	}
	if math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
		return 0, false
	}
	return int64(math.Ceil(min(f, maxTokens))), true
}
