package policy

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// lines makes a header of lines "name: value".
func lines(text string) []Header {
	var list []Header
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		name, value, _ := strings.Cut(line, ":")
		list = append(list, Header{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return list
}

var noon = time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)

func TestReadHeaders(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name  string
		style HeaderStyle
		text  string
		want  []Reading
	}{
		{"openai", HeadersOpenAI, `
			x-ratelimit-limit-requests: 10000
			x-ratelimit-limit-tokens: 150000
			x-ratelimit-remaining-requests: 9999
			x-ratelimit-remaining-tokens: 149984
			x-ratelimit-reset-requests: 8.64s
			x-ratelimit-reset-tokens: 6ms
			x-ratelimit-limit-project-tokens: 5000
			x-request-id: req_1`,
			[]Reading{
				{Metric: limiter.Requests, Limit: 10_000, Remaining: 9999, Reset: 8640 * time.Millisecond},
				{Metric: limiter.Tokens, Limit: 150_000, Remaining: 149_984, Reset: 6 * time.Millisecond},
				{Metric: limiter.Tokens, Kind: "project", Limit: 5000, Remaining: -1, Reset: -1},
			}},
		{"azure", HeadersOpenAI, `
			X-RateLimit-Limit-Tokens: 1000
			X-RateLimit-Remaining-Tokens: 0
			X-RateLimit-Reset-Tokens: 300`,
			[]Reading{{Metric: limiter.Tokens, Limit: 1000, Remaining: 0, Reset: 300 * s}}},
		{"anthropic", HeadersAnthropic, `
			anthropic-ratelimit-requests-limit: 4000
			anthropic-ratelimit-requests-remaining: 3999
			anthropic-ratelimit-requests-reset: 2026-11-05T12:00:01Z
			anthropic-ratelimit-input-tokens-limit: 2000000
			anthropic-ratelimit-input-tokens-remaining: 1999000
			anthropic-ratelimit-input-tokens-reset: 2026-11-05T12:00:30Z
			anthropic-ratelimit-output-tokens-remaining: 0
			anthropic-ratelimit-tokens-reset: 2026-11-05T11:59:00Z
			anthropic-priority-input-tokens-limit: 10
			anthropic-fast-output-tokens-limit: 11
			anthropic-organization-id: x
			anthropic-ratelimit-unified-status: allowed
			x-ratelimit-limit-requests: 1`,
			[]Reading{
				{Metric: limiter.Requests, Limit: 4000, Remaining: 3999, Reset: s},
				{Metric: limiter.InputTokens, Limit: 2_000_000, Remaining: 1_999_000, Reset: 30 * s},
				{Metric: limiter.OutputTokens, Limit: -1, Remaining: 0, Reset: -1},
				{Metric: limiter.Tokens, Limit: -1, Remaining: -1, Reset: 0},
				{Metric: limiter.InputTokens, Kind: "priority", Limit: 10, Remaining: -1, Reset: -1},
				{Metric: limiter.OutputTokens, Kind: "fast", Limit: 11, Remaining: -1, Reset: -1},
			}},
		{"groq", HeadersGroq, `
			x-ratelimit-limit-requests: 14400
			x-ratelimit-reset-requests: 2m59.56s
			x-ratelimit-limit-tokens: 18000
			x-ratelimit-reset-tokens: 7.66s`,
			[]Reading{
				{Metric: limiter.Requests, Limit: 14_400, Remaining: -1, Reset: 179_560 * time.Millisecond, Per: 24 * time.Hour},
				{Metric: limiter.Tokens, Limit: 18_000, Remaining: -1, Reset: 7660 * time.Millisecond, Per: time.Minute},
			}},
		{"together", HeadersAny, `
			x-ratelimit-limit: 10
			x-ratelimit-remaining: 9
			x-ratelimit-reset: 1
			x-tokenlimit-limit: 3000
			x-tokenlimit-remaining: 2000`,
			[]Reading{
				{Metric: limiter.Requests, Limit: 10, Remaining: 9, Reset: s},
				{Metric: limiter.Tokens, Limit: 3000, Remaining: 2000, Reset: -1, Per: s},
			}},
		{"fireworks", HeadersAny, `
			X-Ratelimit-Limit-Tokens-Prompt: 60000
			X-Ratelimit-Limit-Tokens-Cache-Adjusted-Prompt: 15000
			X-Ratelimit-Remaining-Tokens-Generated: 600
			x-ratelimit-over-limit: yes`,
			[]Reading{
				{Metric: limiter.InputTokens, Limit: 60_000, Remaining: -1, Reset: -1, Per: s},
				{Metric: limiter.InputTokens, Kind: "cache-adjusted", Limit: 15_000, Remaining: -1, Reset: -1, Per: s},
				{Metric: limiter.OutputTokens, Limit: -1, Remaining: 600, Reset: -1, Per: s},
			}},
		{"openrouter", HeadersAny, fmt.Sprintf(`
			X-RateLimit-Limit: 20
			X-RateLimit-Remaining: 0
			X-RateLimit-Reset: %d`, noon.Add(9*s).UnixMilli()),
			[]Reading{{Metric: limiter.Requests, Limit: 20, Remaining: 0, Reset: 9 * s}}},
		{"seconds since 1970", HeadersAny, fmt.Sprintf("x-ratelimit-reset: %d", noon.Add(9*s).Unix()),
			[]Reading{{Metric: limiter.Requests, Limit: -1, Remaining: -1, Reset: 9 * s}}},
		{"the first of two", HeadersAny, "x-ratelimit-limit: 20\nX-RATELIMIT-LIMIT: 30",
			[]Reading{{Metric: limiter.Requests, Limit: 20, Remaining: -1, Reset: -1}}},
		{"the date of the answer", HeadersAny, "date: Thu, 05 Nov 2026 11:59:00 GMT\nx-ratelimit-reset-tokens: 2026-11-05T12:00:00Z",
			[]Reading{{Metric: limiter.Tokens, Limit: -1, Remaining: -1, Reset: time.Minute}}},
		{"rubbish", HeadersAny, `
			x-ratelimit-limit-requests: many
			x-ratelimit-remaining-requests: -1
			x-ratelimit-reset-requests: soon
			x-ratelimit-limit-tokens: 1e300
			x-ratelimit-limit-bananas: 3
			x-ratelimit-reset: 9999999999999999
			anthropic-ratelimit-limit: 3
			anthropic-ratelimit: 3
			anthropic-: 3
			: 3`, nil},
		{"none", HeadersNone, "x-ratelimit-limit: 20", nil},
		{"another provider's", HeadersOpenAI, "anthropic-ratelimit-requests-limit: 4000", nil},
	} {
		got := ReadHeaders(c.style, lines(c.text), noon)
		if len(got) == 0 && len(c.want) == 0 {
			continue
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
	// Without any clock a date says nothing.
	if got := ReadHeaders(HeadersAny, lines("x-ratelimit-reset: 2026-11-05T12:00:00Z"), time.Time{}); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestRetryAfter(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		text string
		want time.Duration
	}{
		{"retry-after: 7", 7 * s},
		{"Retry-After: 0.25", 250 * time.Millisecond},
		{"retry-after-ms: 1500\nretry-after: 7", 1500 * time.Millisecond},
		{"retry-after: 7\nretry-after-ms: soon", 7 * s},
		{"retry-after: 7\nretry-after-ms: 0", 7 * s},
		{"retry-after-ms: 1e300\nretry-after: 7", 7 * s},
		{"retry-after-ms: nan\nretry-after: 7", 7 * s},
		{"retry-after: Thu, 05 Nov 2026 12:00:20 GMT", 20 * s},
		{"retry-after: Thu, 05 Nov 2026 12:00:20 GMT\nDate: Thu, 05 Nov 2026 12:00:05 GMT", 15 * s},
		{"retry-after: Thu, 05 Nov 2026 11:59:59 GMT", 0},
		{"retry-after: 0", 0},
		{"retry-after: -7", 0},
		{"retry-after: 99999999999", 0},
		{"retry-after: soon", 0},
		{"retry-after: ", 0},
		{"x: y", 0},
	} {
		got, ok := retryAfter(lines(c.text), noon)
		if got != c.want || ok != (c.want > 0) {
			t.Errorf("%q: got %v %v, want %v", c.text, got, ok, c.want)
		}
	}
}

func TestHeadersFrom(t *testing.T) {
	got := HeadersFrom(map[string][]string{"B": {"2", "1"}, "A": {"3"}, "C": nil})
	if want := []Header{{"A", "3"}, {"B", "1"}, {"B", "2"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
