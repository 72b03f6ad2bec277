package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// checkRelease says whether a command keeps what the engine relies on.
func checkRelease(t *testing.T, cmd *limiter.Release, a Advice) {
	t.Helper()
	for i, c := range cmd.Actual {
		if c.Amount < 0 || c.Amount > maxAmount || c.Flags == 0 || c.Flags&^scopes != 0 || i > 0 && c.Metric < cmd.Actual[i-1].Metric {
			t.Errorf("got %v", cmd.Actual)
		}
	}
	for _, g := range cmd.Gates {
		if g.For <= 0 || g.For > maxGate || g.Pool == "" {
			t.Errorf("got %+v", g)
		}
	}
	if a.After < 0 || a.After > maxSpan {
		t.Errorf("got %+v", a)
	}
}

// FuzzBody: no body makes it panic, or ask for what is absurd.
func FuzzBody(f *testing.F) {
	for _, c := range refusals {
		f.Add(c.status, c.headers, []byte(c.body))
	}
	p := compile(f, acme())
	f.Fuzz(func(t *testing.T, status int, headers string, body []byte) {
		var cmd limiter.Release
		in := Settlement{Target: p.TargetID(0), Observation: Observation{HTTPStatus: status, Headers: lines(headers), Body: body, Now: noon}}
		checkRelease(t, &cmd, p.Release(&in, &cmd))
	})
}

// FuzzHeaders: no header makes it panic, and what is read lies within bounds.
func FuzzHeaders(f *testing.F) {
	for _, name := range []string{"x-ratelimit-reset-tokens", "anthropic-ratelimit-input-tokens-reset", "x-tokenlimit-limit",
		"retry-after", "retry-after-ms", "date", "anthropic-priority--limit", "x-ratelimit-"} {
		for _, value := range []string{"1s", "7m12s", "6ms", "300", "2026-11-05T12:00:09Z", "Thu, 05 Nov 2026 12:00:20 GMT", "1762344000000", "-1", "1e309"} {
			f.Add(name, value)
		}
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		header := []Header{{name, value}}
		for _, r := range ReadHeaders(HeadersAny, header, noon) {
			if r.Limit < -1 || r.Remaining < -1 || r.Reset < -1 || r.Reset > maxSpan {
				t.Errorf("got %+v", r)
			}
		}
		if d, ok := retryAfter(header, noon); d < 0 || d > maxSpan || ok != (d > 0) {
			t.Errorf("got %v %v", d, ok)
		}
	})
}

// FuzzUsage: no usage makes it panic, or count less than nothing.
func FuzzUsage(f *testing.F) {
	f.Add([]byte(`{"prompt_tokens":100,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":64}}`))
	f.Add([]byte(`{"input_tokens":10,"output_tokens":20,"cache_creation_input_tokens":30,"cache_read_input_tokens":40}`))
	f.Add([]byte(`{"usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":20,"totalTokenCount":155}}`))
	f.Add([]byte(`{"usage":{"billed_units":{"input_tokens":34},"tokens":{"output_tokens":48}}}`))
	f.Add([]byte(`{"metadata":{"usage":{"inputTokens":1e18,"outputTokens":-1}}}`))
	p := compile(f, acme())
	f.Fuzz(func(t *testing.T, body []byte) {
		var sent map[string]any
		if json.Unmarshal(body, &sent) != nil {
			return
		}
		for i := range p.Targets() {
			var cmd limiter.Release
			checkRelease(t, &cmd, p.Release(&Settlement{Target: p.TargetID(i), ProviderUsage: sent}, &cmd))
		}
	})
}

// FuzzAcquire: no request makes it panic, and every command keeps what the engine relies on.
func FuzzAcquire(f *testing.F) {
	f.Add("r", "smart", "", "search", "standard", "k", "claude,azure-weu", int64(1000), int64(10), int64(500), int64(1), true)
	f.Add("r", "", "gpt-5-2026-x", "x", "", "", "", int64(1)<<40, int64(0), int64(-1), int64(1)<<62, false)
	p := compile(f, acme())
	f.Fuzz(func(t *testing.T, id, route, model, project, class, affinity, accounts string, input, cached, output, wait int64, set bool) {
		r := &Request{RequestID: id, Route: route, Model: model, Project: project, Class: class, AffinityKey: affinity,
			InputTokens: input, CachedInputTokens: cached, MaxOutputTokens: Optional[int64]{output, set},
			MaxWait: Optional[time.Duration]{time.Duration(wait), set}, Divert: set, Units: map[string]int64{"images": cached}}
		if accounts != "" {
			r.Constraints.Accounts = strings.Split(accounts, ",")
		}
		var cmd limiter.Acquire
		if p.Acquire(r, &cmd) != nil {
			return
		}
		if len(cmd.Targets) > maxTargets || cmd.MaxWait < 0 || cmd.TTL < minTTL {
			t.Errorf("got %+v", cmd)
		}
		for i, tg := range cmd.Targets {
			if i > 0 && tg.Rank < cmd.Targets[i-1].Rank {
				t.Errorf("got ranks that fall: %s", ranked(&cmd))
			}
			for j, c := range tg.Charges {
				if c.Amount < 0 || c.Amount > maxAmount || c.Flags&scopes == 0 || j > 0 && c.Metric < tg.Charges[j-1].Metric {
					t.Errorf("got %v", tg.Charges)
				}
			}
		}
	})
}
