package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// FailureClass says why a call failed.
type FailureClass uint8

const (
	FailureNone           FailureClass = iota
	FailureThrottled                   // a rate limit of ours; waiting cures it
	FailureOverloaded                  // the provider lacks capacity; our limits have nothing to do with it
	FailureQuotaExhausted              // a quota of a day or longer, or one that stays closed beyond quotaWait
	FailureTooLarge                    // the call exceeds a limit or the context by itself
	FailureBilling                     // money: a spend limit, an empty balance
	FailureInvalid                     // the call is wrong, or not allowed
	FailureTransient                   // a fault that may pass
)

var failureNames = []string{
	"none", "throttled", "overloaded", "quota_exhausted", "too_large", "billing", "invalid", "transient",
}

func (c FailureClass) String() string { return nameOf(failureNames, int(c)) }

// quotaWait is how long a provider may ask to wait for it to be a throttle. Beyond, the
// quota counts as exhausted: the call had better go elsewhere.
const quotaWait = 10 * time.Minute

// A failure is what an observation says went wrong.
type failure struct {
	class   FailureClass
	metric  limiter.Metric // what was exceeded …
	metered bool           // … if that is told
	wait    time.Duration  // how long the provider asks to wait, from when it answered; 0: not told
}

// judge finds why a call failed; class None if nothing says that it did.
func judge(o *Observation) (f failure) {
	if o.HTTPStatus < 400 && len(o.Body) == 0 {
		return f
	}
	b := readBody(o.Body)
	b.setKind(find(o.Headers, "x-amzn-errortype"))
	f.class = classify(o.HTTPStatus, &b)
	if f.class == FailureNone {
		return f
	}
	f.metric, f.metered = exceeded(&b)
	f.wait, _ = retryAfter(o.Headers, o.sent())
	if f.wait == 0 {
		f.wait = askedToWait(&b)
	}
	if f.class != FailureThrottled {
		return f
	}
	switch {
	case f.wait > quotaWait,
		slices.ContainsFunc(b.quotas, func(q string) bool { return strings.Contains(q, "PerDay") }),
		f.wait == 0 && b.says("per day", "(rpd)", "(tpd)", "daily", "per month", "monthly"):
		// A day's quota that rolls lets the next call through within seconds, and then
		// says so; Google's asks for seconds and doesn't mean it.
		f.class = FailureQuotaExhausted
	}
	return f
}

// classify looks at what the body says first, for a status is often shared by failures that
// need different answers: a 429 may be money, size, overload or a rate.
func classify(status int, b *errorBody) FailureClass {
	switch {
	case isBilling(status, b):
		return FailureBilling
	case isTooLarge(status, b):
		return FailureTooLarge
	case isOverload(status, b):
		return FailureOverloaded
	case status == 429, b.is("rate_limit_exceeded", "rate_limit_error", "rate_limited", "slow_down", "too_many_requests",
		"throttlingexception", "toomanyrequestsexception", "servicequotaexceededexception", "resource_exhausted", "tokens", "requests"):
		return FailureThrottled
	case status == 408, status == 409, status == 425, status >= 500:
		return FailureTransient
	case status >= 400:
		return FailureInvalid
	case b.is("invalid_request_error", "authentication_error", "permission_error", "not_found_error",
		"invalid_argument", "permission_denied", "not_found", "unauthenticated", "validationexception", "accessdeniedexception"):
		return FailureInvalid
	case b.is("error", "api_error", "server_error", "timeout_error", "internal_error", "internal", "deadline_exceeded",
		"response.failed", "internalserverexception", "modelstreamerrorexception", "modeltimeoutexception"):
		return FailureTransient // in a stream, after 200
	}
	return FailureNone
}

func isBilling(status int, b *errorBody) bool {
	return status == 402 ||
		b.is("insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached", "billing_not_active",
			"billing_error", "insufficient_balance", "payment_required", "enforced_spend_limit_reached") ||
		strings.HasSuffix(b.code, "spend_limit_exceeded") || strings.HasSuffix(b.kind, "spend_limit_exceeded") ||
		b.says("enforced_spend_limit_reached", "exceeded your current quota, please check your plan and billing", "credit balance is too low",
			"insufficient balance", "insufficient credits", "billing hard limit") && len(b.quotas) == 0 && b.retry == ""
}

func isTooLarge(status int, b *errorBody) bool {
	return status == 413 ||
		b.is("context_length_exceeded", "request_too_large", "string_above_max_length") ||
		b.says("request too large for") ||
		(status == 400 || status == 422 || status < 400) && b.says("maximum context length", "prompt is too long", "input is too long",
			"exceeds the maximum number of tokens", "exceed context limit", "too many total text bytes")
}

func isOverload(status int, b *errorBody) bool {
	switch {
	case status == 503, status == 529:
		return true
	case b.is("server_is_overloaded", "overloaded_error", "engine_overloaded", "engine_overloaded_error", "unavailable",
		"service_unavailable", "serviceunavailableexception", "modelnotreadyexception"):
		return true
	case b.is("resource_exhausted") && len(b.quotas) == 0 && b.retry == "" && b.says("please try again later"):
		return true // Vertex: the shared pool is busy
	case status == 429 || status >= 500:
		return b.says("high demand", "overloaded", "at capacity", "no capacity")
	}
	return false
}

// exceeded finds the metric whose limit was exceeded, if the body tells exactly one.
func exceeded(b *errorBody) (m limiter.Metric, ok bool) {
	for _, q := range b.quotas {
		q = strings.ReplaceAll(strings.ToLower(q), "_", "")
		var of limiter.Metric
		switch {
		case strings.Contains(q, "inputtoken"):
			of = limiter.InputTokens
		case strings.Contains(q, "token"):
			of = limiter.Tokens
		case strings.Contains(q, "request"):
			of = limiter.Requests
		default:
			continue
		}
		if ok && of != m {
			// The id and the metric of one violation say the same; two that differ are two.
			return 0, false
		}
		m, ok = of, true
	}
	if ok {
		return m, true
	}
	switch b.kind {
	case "tokens":
		return limiter.Tokens, true
	case "requests":
		return limiter.Requests, true
	case "input_tokens":
		return limiter.InputTokens, true
	case "output_tokens":
		return limiter.OutputTokens, true
	}
	for i := range spoken {
		if strings.Contains(b.message, spoken[i].phrase) {
			return spoken[i].metric, true
		}
	}
	return 0, false
}

// spoken are phrases of messages that name a metric; the first that is found counts. "Too
// many requests" isn't among them: it is the text of every 429.
var spoken = []struct {
	phrase string
	metric limiter.Metric
}{
	{"(itpm)", limiter.InputTokens}, {"(otpm)", limiter.OutputTokens},
	{"(tpm)", limiter.Tokens}, {"(tpd)", limiter.Tokens},
	{"(rpm)", limiter.Requests}, {"(rpd)", limiter.Requests},
	{"input tokens per", limiter.InputTokens}, {"input token rate limit", limiter.InputTokens},
	{"output tokens per", limiter.OutputTokens}, {"output token rate limit", limiter.OutputTokens},
	{"token rate limit", limiter.Tokens}, {"call rate limit", limiter.Requests},
	{"tokens per", limiter.Tokens}, {"requests per", limiter.Requests},
	{"number of request tokens", limiter.InputTokens}, {"number of requests", limiter.Requests},
	{"too many tokens", limiter.Tokens},
	{"concurren", limiter.Concurrency},
}

// asks are what stands before the span in a message.
var asks = []string{"try again in ", "retry in ", "retry after ", "try again after "}

// askedToWait reads how long a body asks to wait; 0: it doesn't.
func askedToWait(b *errorBody) time.Duration {
	if d, ok := parseSpan(b.retry); ok && d > 0 {
		return d
	}
	for _, ask := range asks {
		for rest := b.message; ; {
			_, after, found := strings.Cut(rest, ask)
			if !found {
				break
			}
			if d, _, ok := leadingSpan(after); ok && d > 0 {
				return d
			}
			rest = after
		}
	}
	return 0
}
