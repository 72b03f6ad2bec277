package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// spellGates writes gates as pool:metric:span, blocked ones with a '!'.
func spellGates(gates []limiter.Gate) string {
	var words []string
	for _, g := range gates {
		what := "all"
		if !g.All {
			what = g.Metric.String()
		}
		w := fmt.Sprintf("%s:%s:%v", g.Pool, what, g.For)
		if g.Blocked {
			w += "!"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func TestGates(t *testing.T) {
	const (
		gpt5   = "openai-main/gpt-5"
		sonnet = "claude/sonnet"
		tpm    = `{"error":{"type":"tokens","message":"(TPM)"}}`
		input  = `{"error":{"message":"40,000 input tokens per minute"}}`
		perDay = `{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerDay"}]},{"retryDelay":"37s"}]}}`
	)
	for _, c := range []struct {
		name    string
		pool    string
		status  int
		headers string
		body    string
		age     time.Duration
		want    string
	}{
		{"asked to wait", gpt5, 429, "retry-after: 7", "", 0, gpt5 + ":all:7s"},
		{"for one metric", gpt5, 429, "retry-after: 7", tpm, 0, gpt5 + ":tokens:7s"},
		{"some time ago", gpt5, 429, "retry-after: 7", tpm, 5 * time.Second, gpt5 + ":tokens:2s"},
		{"over already", gpt5, 429, "retry-after: 7", tpm, 7 * time.Second, ""},
		{"input, as it is limited", sonnet, 429, "retry-after: 7", input, 0, sonnet + ":input_tokens:7s"},
		{"input, limited as tokens", gpt5, 429, "retry-after: 7", input, 0, gpt5 + ":tokens:7s"},
		{"not limited here", sonnet, 429, "retry-after: 7", tpm, 0, sonnet + ":all:7s"},
		{"not asked to wait", gpt5, 429, "", tpm, 0, ""},
		{"what is used up comes back", gpt5, 429, "x-ratelimit-remaining-tokens: 0\nx-ratelimit-reset-tokens: 4s\n" +
			"x-ratelimit-remaining-requests: 5\nx-ratelimit-reset-requests: 9s", "", time.Second, gpt5 + ":tokens:3s"},
		{"two are used up", gpt5, 429, "x-ratelimit-remaining-tokens: 0\nx-ratelimit-reset-tokens: 4s\n" +
			"x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 9s", "", 0, gpt5 + ":tokens:4s " + gpt5 + ":requests:9s"},
		{"another tier's", sonnet, 429, "anthropic-priority-input-tokens-remaining: 0\nanthropic-priority-input-tokens-reset: 2026-11-05T12:00:09Z", "", 0, ""},
		{"by a date, as old as the answer", sonnet, 429, "anthropic-ratelimit-input-tokens-remaining: 0\nanthropic-ratelimit-input-tokens-reset: 2026-11-05T12:00:09Z",
			"", 2 * time.Second, sonnet + ":input_tokens:9s"}, // 11 s from when it was sent
		{"at most an hour", gpt5, 429, "x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 24h", "", 0, gpt5 + ":requests:1h0m0s"},
		{"a long wait is no throttle", gpt5, 429, "retry-after: 1200", tpm, 0, gpt5 + ":tokens:20m0s!"},
		{"a very long one", gpt5, 429, "retry-after: 86400", tpm, 0, gpt5 + ":tokens:1h0m0s!"},
		{"a day's quota asks for seconds", gpt5, 429, "", perDay, 0, gpt5 + ":requests:1m0s!"},
		{"a day's quota, a while ago", gpt5, 429, "", perDay, 50 * time.Second, gpt5 + ":requests:10s!"},
		{"money closes the account", gpt5, 402, "", "", 0, gpt5 + ":all:1m0s! openai-main/gpt-5-mini:all:1m0s!"},
		{"money, a while ago", gpt5, 402, "", "", time.Minute, ""},
		{"overload closes nothing", gpt5, 529, "retry-after: 7", "", 0, ""},
		{"a fault closes nothing", gpt5, 500, "retry-after: 7", "", 0, ""},
		{"size closes nothing", gpt5, 413, "retry-after: 7", "", 0, ""},
		{"success closes nothing", gpt5, 200, "x-ratelimit-remaining-tokens: 0\nx-ratelimit-reset-tokens: 4s", "", 0, ""},
	} {
		p := compile(t, acme())
		model := "gpt-5"
		if c.pool == sonnet {
			model = "claude-sonnet-5"
		}
		in := Settlement{Lease: limiter.LeaseID{Count: 1}, Target: TargetOf(c.pool, model), Observation: Observation{
			HTTPStatus: c.status, Headers: lines(c.headers), Body: []byte(c.body), Age: c.age, Now: noon,
		}}
		var release limiter.Release
		p.Release(&in, &release)
		if got := spellGates(release.Gates); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		var report limiter.Report
		p.Report(&in, &report)
		if got := spellGates(report.Gates); got != c.want {
			t.Errorf("%s, reported:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}
