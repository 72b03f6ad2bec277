package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// refusal is what one provider sends, and what it is to be taken for.
type refusal struct {
	name    string
	status  int
	headers string
	body    string
	class   FailureClass
	metric  string // "": not told
	wait    time.Duration
}

const ms = time.Millisecond

var refusals = []refusal{
	// OpenAI
	{"openai, tokens", 429, "", `{"error":{"message":"Rate limit reached for gpt-4o-mini in project proj_x organization org-x on tokens per min (TPM): Limit 50000, Used 47949, Requested 3006. Please try again in 1.146s. Visit https://platform.example/account/rate-limits to learn more.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`,
		FailureThrottled, "tokens", 1146 * ms},
	{"openai, requests of a day, which roll", 429, "", `{"error":{"message":"Rate limit reached for gpt-4o on requests per day (RPD): Limit 10000, Used 10000, Requested 1. Please try again in 8.64s.","type":"requests","code":"rate_limit_exceeded"}}`,
		FailureThrottled, "requests", 8640 * ms},
	{"openai, requests of a small day", 429, "", `{"error":{"message":"Rate limit reached on requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s.","type":"requests","code":"rate_limit_exceeded"}}`,
		FailureThrottled, "requests", 432 * time.Second},
	{"openai, milliseconds", 429, "", `{"error":{"message":"Rate limit reached on tokens per min (TPM): Limit 200000, Used 195869, Requested 4412. Please try again in 84ms.","type":"tokens","code":"rate_limit_exceeded"}}`,
		FailureThrottled, "tokens", 84 * ms},
	{"the header before the body", 429, "retry-after: 3", `{"error":{"message":"Please try again in 84ms.","type":"tokens","code":"rate_limit_exceeded"}}`,
		FailureThrottled, "tokens", 3 * time.Second},
	{"openai, too large", 429, "", `{"error":{"message":"Request too large for gpt-4 in organization org-x on tokens per min (TPM): Limit 10000, Requested 12000. The input or output tokens must be reduced in order to run successfully.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`,
		FailureTooLarge, "tokens", 0},
	{"openai, quota", 429, "", `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`,
		FailureBilling, "", 0},
	{"openai, balance", 429, "", `{"error":{"message":"x","code":"credit_balance_exhausted"}}`, FailureBilling, "", 0},
	{"openai, spend", 429, "", `{"error":{"message":"x","code":"project_spend_limit_exceeded"}}`, FailureBilling, "", 0},
	{"openai, growing too fast", 429, "retry-after: 20", `{"error":{"message":"Your traffic grows too fast","type":"requests","code":"slow_down"}}`,
		FailureThrottled, "requests", 20 * time.Second},
	{"openai, overloaded", 503, "", `{"error":{"message":"The server is overloaded","type":"server_error","code":"server_is_overloaded"}}`, FailureOverloaded, "", 0},
	{"openai, in a stream", 200, "", `data: {"type":"response.failed","response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"Rate limit reached on tokens per min (TPM). Please try again in 2s."}}}`,
		FailureThrottled, "tokens", 2 * time.Second},
	{"openai, failed in a stream", 200, "", `{"type":"response.failed","response":{"error":{"code":"server_error","message":"oops"}}}`, FailureTransient, "", 0},
	{"openai, context", 400, "", `{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}`, FailureTooLarge, "", 0},
	{"openai, a wrong key", 401, "", `{"error":{"message":"Incorrect API key","type":"invalid_request_error","code":"invalid_api_key"}}`, FailureInvalid, "", 0},
	{"openai, a fault", 500, "", `{"error":{"message":"The server had an error","type":"server_error"}}`, FailureTransient, "", 0},
	// Azure
	{"azure, tokens", 429, "retry-after-ms: 6500\nretry-after: 7", `{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2026-06-01 have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 7 seconds. Please go here to request an increase."}}`,
		FailureThrottled, "tokens", 6500 * ms},
	{"azure, calls", 429, "", `{"error":{"code":"429","message":"Requests have exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after 60 seconds."}}`,
		FailureThrottled, "requests", time.Minute},
	{"azure, a day", 429, "", `{"error":{"code":"429","message":"Requests have exceeded token rate limit of your current tier. Please retry after 86400 seconds."}}`,
		FailureQuotaExhausted, "tokens", 24 * time.Hour},
	{"azure, capacity", 429, "", `{"error":{"code":"429","message":"System is experiencing high demand. Please try again later."}}`, FailureOverloaded, "", 0},
	// Anthropic
	{"anthropic, input", 429, "retry-after: 12", `{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 40,000 input tokens per minute."},"request_id":"req_x"}`,
		FailureThrottled, "input_tokens", 12 * time.Second},
	{"anthropic, output", 429, "retry-after: 12", `{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed the rate limit of 8,000 output tokens per minute."}}`,
		FailureThrottled, "output_tokens", 12 * time.Second},
	{"anthropic, requests", 429, "", `{"type":"error","error":{"type":"rate_limit_error","message":"Number of requests has exceeded your per-minute rate limit"}}`, FailureThrottled, "requests", 0},
	{"anthropic, spend", 429, "", `{"type":"error","error":{"type":"rate_limit_error","message":"enforced_spend_limit_reached"}}`, FailureBilling, "", 0},
	{"anthropic, balance", 400, "", `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}}`, FailureBilling, "", 0},
	{"anthropic, overloaded", 529, "", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, FailureOverloaded, "", 0},
	{"anthropic, in a stream", 200, "", "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n", FailureOverloaded, "", 0},
	{"anthropic, too long", 400, "", `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}`, FailureTooLarge, "", 0},
	{"anthropic, too many bytes", 413, "", `{"type":"error","error":{"type":"request_too_large","message":"x"}}`, FailureTooLarge, "", 0},
	{"anthropic, a fault in a stream", 200, "", `{"type":"error","error":{"type":"api_error","message":"x"}}`, FailureTransient, "", 0},
	// Gemini, Vertex
	{"gemini, requests of a minute", 429, "", `{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details. Please retry in 25.08s.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"generativelanguage.googleapis.com/generate_content_free_tier_requests","quotaId":"GenerateRequestsPerMinutePerProjectPerModel-FreeTier","quotaDimensions":{"location":"global","model":"gemini-3"},"quotaValue":"5"}]},{"@type":"type.googleapis.com/google.rpc.Help","links":[{"description":"Learn more","url":"https://x"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"25s"}]}}`,
		FailureThrottled, "requests", 25 * time.Second},
	{"gemini, input", 429, "", `[{"error":{"code":429,"message":"You exceeded your current quota.","status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaMetric":"x/generate_content_paid_tier_input_token_count","quotaId":"GenerateContentPaidTierInputTokensPerModelPerMinute"}]},{"retryDelay":"25.082340589s"}]}}]`,
		FailureThrottled, "input_tokens", 25_082_340_589},
	{"gemini, a day", 429, "", `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"x","details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},{"retryDelay":"37s"}]}}`,
		FailureQuotaExhausted, "requests", 37 * time.Second},
	{"gemini, two at once", 429, "", `{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerMinute"},{"quotaId":"InputTokensPerMinute"}]}]}}`,
		FailureThrottled, "", 0},
	{"vertex, the pool is busy", 429, "", `{"error":{"code":429,"message":"Resource exhausted, please try again later.","status":"RESOURCE_EXHAUSTED"}}`, FailureOverloaded, "", 0},
	{"gemini, too long", 400, "", `{"error":{"code":400,"message":"The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}`, FailureTooLarge, "", 0},
	{"gemini, unavailable", 503, "", `{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}`, FailureOverloaded, "", 0},
	// Bedrock
	{"bedrock, tokens", 429, "x-amzn-errortype: ThrottlingException:http://internal.example/", `{"message":"Too many tokens, please wait before trying again."}`, FailureThrottled, "tokens", 0},
	{"bedrock, a day", 429, "", `{"__type":"com.amazon#ThrottlingException","Message":"Too many tokens per day, please wait before trying again."}`, FailureQuotaExhausted, "tokens", 0},
	{"bedrock, requests", 429, "x-amzn-errortype: ThrottlingException", `{"message":"Too many requests, please wait before trying again."}`, FailureThrottled, "", 0},
	{"bedrock, by name alone", 400, "", `{"__type":"ThrottlingException","message":"Rate exceeded"}`, FailureThrottled, "", 0},
	{"bedrock, capacity", 503, "", `{"message":"Bedrock is unable to process your request."}`, FailureOverloaded, "", 0},
	{"bedrock, in a stream", 200, "x-amzn-errortype: InternalServerException", `{"message":"x"}`, FailureTransient, "", 0},
	{"bedrock, too long", 400, "x-amzn-errortype: ValidationException", `{"message":"Input is too long for requested model."}`, FailureTooLarge, "", 0},
	// the others
	{"groq, tokens", 429, "retry-after: 3", `{"error":{"message":"Rate limit reached for model x in organization org on tokens per minute (TPM): Limit 8000, Used 7297, Requested 974. Please try again in 2.0325s.","type":"tokens","code":"rate_limit_exceeded"}}`,
		FailureThrottled, "tokens", 3 * time.Second},
	{"groq, too large", 413, "", `{"error":{"message":"Request too large for model x on tokens per minute (TPM): Limit 6000, Requested 9000, please reduce your message size and try again.","type":"tokens","code":"rate_limit_exceeded"}}`, FailureTooLarge, "tokens", 0},
	{"mistral", 429, "Retry-After: 4", `{"object":"error","message":"Requests rate limit exceeded","type":"rate_limit_error","param":null,"code":"1300"}`, FailureThrottled, "", 4 * time.Second},
	{"deepseek", 429, "", `{"error":{"message":"You have exceeded the concurrency limit","type":"rate_limit_reached_error"}}`, FailureThrottled, "concurrency", 0},
	{"deepseek, no money", 402, "", `{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}`, FailureBilling, "", 0},
	{"cohere", 429, "", `{"message":"You are past the per minute request limit, please wait and try again later."}`, FailureThrottled, "", 0},
	{"cohere, a month", 429, "", `{"message":"You are using a Trial key, which is limited to 1000 API calls / month. monthly limit reached"}`, FailureQuotaExhausted, "", 0},
	{"together, above the rate", 429, "", `{"error":{"message":"x","type":"dynamic_request_limited"}}`, FailureThrottled, "", 0},
	{"together, below it", 503, "", `{"error":{"message":"x","type":"service_unavailable"}}`, FailureOverloaded, "", 0},
	{"openrouter, what is behind it", 429, "", `{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"{\"error\":{\"message\":\"on tokens per min (TPM). Please try again in 5s\"}}","provider_name":"x"}}}`,
		FailureThrottled, "tokens", 5 * time.Second},
	{"a gateway's text", 429, "", "too many requests, retry after 9s", FailureThrottled, "", 9 * time.Second},
	{"a gateway's page", 502, "", "<html><body>Bad gateway data:{}</body></html>", FailureTransient, "", 0},
	{"a text for an error", 400, "", `{"error":"model not loaded"}`, FailureInvalid, "", 0},
	{"FastAPI", 422, "", `{"detail":[{"loc":["body"],"msg":"field required","type":"value_error"}]}`, FailureInvalid, "", 0},
	{"no body", 429, "", "", FailureThrottled, "", 0},
	{"timeout", 408, "", "", FailureTransient, "", 0},
	{"conflict", 409, "", "", FailureTransient, "", 0},
	{"teapot", 418, "", "", FailureInvalid, "", 0},
	{"cut off", 429, "", `{"error":{"type":"tokens","message":"Rate limit reached. Please try again in 4s. And then the body was cu`, FailureThrottled, "tokens", 4 * time.Second},
	{"not its shape", 429, "", `{"error":[[["x"]],{"message":7}]}`, FailureThrottled, "", 0},
	{"too deep", 429, "", strings.Repeat(`{"error":`, 200), FailureThrottled, "", 0},
	{"absurd", 429, "retry-after: 99999999999", `{"error":{"message":"try again in -5s, or try again in 1e9, retry in forever"}}`, FailureThrottled, "", time.Second},
	// no failures
	{"success", 200, "retry-after: 5", "", FailureNone, "", 0},
	{"success with a body", 200, "", `{"type":"message","content":[]}`, FailureNone, "", 0},
	{"nothing", 0, "", "", FailureNone, "", 0},
}

func (r *refusal) observation() Observation {
	o := Observation{HTTPStatus: r.status, Body: []byte(r.body), Now: noon}
	if r.headers != "" {
		o.Headers = lines(r.headers)
	}
	return o
}

func TestJudge(t *testing.T) {
	for _, c := range refusals {
		o := c.observation()
		f := judge(&o)
		metric := ""
		if f.metered {
			metric = f.metric.String()
		}
		if f.class != c.class || metric != c.metric || f.wait != c.wait {
			t.Errorf("%s:\n got %s %q %v\nwant %s %q %v", c.name, f.class, metric, f.wait, c.class, c.metric, c.wait)
		}
	}
}

// Whatever is refused: what can't be cured is not retried, and nothing else is given up.
func TestAdviceByClass(t *testing.T) {
	p := compile(t, acme())
	for _, c := range refusals {
		in := Settlement{Target: TargetOf("openai-main/gpt-5", "gpt-5"), Observation: c.observation(), Rand: 1 << 63}
		var cmd limiter.Release
		got := p.Release(&in, &cmd)
		switch c.class {
		case FailureThrottled, FailureOverloaded, FailureTransient:
			if want := max(1500*ms, c.wait); !got.Retry || got.After != want {
				t.Errorf("%s: got %+v, want a retry after %v", c.name, got, want)
			}
		default:
			if got.Retry {
				t.Errorf("%s: got %+v, want no retry", c.name, got)
			}
		}
		if got.Class != c.class {
			t.Errorf("%s: got %s, want %s", c.name, got.Class, c.class)
		}
	}
}
