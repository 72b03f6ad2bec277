package policy

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

func TestAcquireFillsTheCommand(t *testing.T) {
	p := compile(t, acme())
	r := request()
	r.Attempt, r.Arrived, r.Lease = 2, 42, limiter.LeaseID{Incarnation: 3, Count: 4}
	cmd := acquire(t, p, r)
	if cmd.Key != Key("r-1", 2) || cmd.Lease != r.Lease || cmd.Project != "search" || cmd.Arrived != 42 {
		t.Errorf("got %+v", cmd)
	}
	if cmd.Class != "standard" || cmd.MaxWait != 2*time.Minute || cmd.TTL != 10*time.Minute {
		t.Errorf("got class %s, max_wait %v, ttl %v, want the defaults", cmd.Class, cmd.MaxWait, cmd.TTL)
	}
	r.Class = "batch"
	if cmd = acquire(t, p, r); cmd.Class != "batch" || cmd.MaxWait != time.Hour {
		t.Errorf("got class %s, max_wait %v, want the class's", cmd.Class, cmd.MaxWait)
	}
	r.MaxWait, r.TTL = Some(time.Duration(0)), Some(time.Second)
	if cmd = acquire(t, p, r); cmd.MaxWait != 0 || cmd.TTL != time.Second {
		t.Errorf("got max_wait %v, ttl %v, want the request's", cmd.MaxWait, cmd.TTL)
	}
	r.Project = "anybody" // by the template
	if cmd = acquire(t, p, r); cmd.Project != "anybody" {
		t.Errorf("got project %q", cmd.Project)
	}
}

// Two replicas must give one key to one attempt: it never changes.
func TestKey(t *testing.T) {
	for _, c := range []struct {
		id      string
		attempt uint32
		want    string
	}{
		{"r-1", 0, "b931974c25c6ec360a724e14f8dc03c3"},
		{"r-1", 1, "94b21fa856656d330c849be611fc66fd"},
	} {
		k := Key(c.id, c.attempt)
		if got := hex.EncodeToString(k[:]); got != c.want {
			t.Errorf("%s, %d: got %s, want %s", c.id, c.attempt, got, c.want)
		}
	}
	if Key("r-1", 0) == Key("r-1", 1) || Key(strings.Repeat("x", 300), 0) == Key(strings.Repeat("x", 301), 0) {
		t.Error("two attempts have one key")
	}
}

func TestNames(t *testing.T) {
	cfg := acme()
	strict := acme()
	strict.Organizations[0].Template = nil
	for _, c := range []struct {
		name   string
		strict bool
		change func(*Request)
		want   NotFound
	}{
		{"project", true, func(r *Request) { r.Project = "serch" }, NotFound{"project", "serch", "search"}},
		{"route", false, func(r *Request) { r.Route, r.Model = "smrat", "" }, NotFound{"route", "smrat", "smart"}},
		{"model", false, func(r *Request) { r.Model = "gtp-5" }, NotFound{"model", "gtp-5", "gpt-5"}},
		{"a model that nobody here offers", false, func(r *Request) { r.Model = "unused" }, NotFound{"model", "unused", ""}},
		{"class", false, func(r *Request) { r.Class = "bach" }, NotFound{"priority class", "bach", "batch"}},
	} {
		use := cfg
		if c.strict {
			use = strict
		}
		r := request()
		c.change(r)
		var got *NotFound
		if err := compile(t, use).Acquire(r, new(limiter.Acquire)); !errors.As(err, &got) || *got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, err, &c.want)
		}
	}
}

func TestInvalid(t *testing.T) {
	p := compile(t, acme())
	many := make([]string, maxConstraints+1)
	units := map[string]int64{}
	for i := range maxUnits + 1 {
		units[strings.Repeat("u", i+1)] = 1
	}
	for _, c := range []struct {
		want   string
		change func(*Request)
	}{
		{"request_id", func(r *Request) { r.RequestID = "" }},
		{"request_id", func(r *Request) { r.RequestID = strings.Repeat("x", 257) }},
		{"route", func(r *Request) { r.Model = "" }},
		{"model", func(r *Request) { r.Route = "smart" }},
		{"project", func(r *Request) { r.Project = "" }},
		{"project", func(r *Request) { r.Project = "*" }},
		{"project", func(r *Request) { r.Project = "a\nb" }},
		{"project", func(r *Request) { r.Project = "\xff" }},
		{"project", func(r *Request) { r.Project = strings.Repeat("x", 257) }},
		{"affinity_key", func(r *Request) { r.AffinityKey = strings.Repeat("x", 257) }},
		{"max_wait", func(r *Request) { r.MaxWait = Some(-time.Second) }},
		{"max_wait", func(r *Request) { r.MaxWait = Some(25 * time.Hour) }},
		{"lease_ttl", func(r *Request) { r.TTL = Some(time.Millisecond) }},
		{"lease_ttl", func(r *Request) { r.TTL = Some(25 * time.Hour) }},
		{"input_tokens", func(r *Request) { r.InputTokens = -1 }},
		{"input_tokens", func(r *Request) { r.InputTokens = 1<<40 + 1 }},
		{"cached_input_tokens", func(r *Request) { r.CachedInputTokens = -1 }},
		{"max_output_tokens", func(r *Request) { r.MaxOutputTokens = Some[int64](-1) }},
		{"max_output_tokens", func(r *Request) { r.MaxOutputTokens = Some[int64](1 << 41) }},
		{"units", func(r *Request) { r.Units = map[string]int64{"images": -1} }},
		{"units", func(r *Request) { r.Units = units }},
		{"constraints.accounts", func(r *Request) { r.Constraints.Accounts = many }},
		{"constraints.exclude_accounts", func(r *Request) { r.Constraints.ExcludeAccounts = many }},
		{"constraints.providers", func(r *Request) { r.Constraints.Providers = many }},
		{"constraints.capabilities", func(r *Request) { r.Constraints.Capabilities = many }},
		{"constraints.min_quality", func(r *Request) { r.Constraints.MinQuality = Some(1001) }},
	} {
		r := request()
		c.change(r)
		var got *Invalid
		if err := p.Acquire(r, new(limiter.Acquire)); !errors.As(err, &got) || got.Field != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestMaxOutput(t *testing.T) {
	for _, c := range []struct {
		name               string
		context, maxOutput int64
		input              int64
		asked              Optional[int64]
		want               int64
	}{
		{"as asked", 400_000, 128_000, 1000, Some[int64](77), 77},
		{"none", 400_000, 128_000, 1000, Some[int64](0), 0},
		{"as asked, over all choices: more than the context leaves", 1000, 100, 900, Some[int64](800), 800},
		{"the model's", 400_000, 128_000, 1000, Optional[int64]{}, 128_000},
		{"what the context leaves", 400_000, 128_000, 300_000, Optional[int64]{}, 100_000},
		{"never below one", 400_000, 128_000, 400_000, Optional[int64]{}, 1},
		{"unknown model", 0, 0, 1000, Optional[int64]{}, 4096},
		{"unknown model in a small context", 2000, 0, 1000, Optional[int64]{}, 1000},
	} {
		tg := &target{context: c.context, maxOutput: c.maxOutput}
		if got := tg.maxOutputFor(&Request{InputTokens: c.input, MaxOutputTokens: c.asked}); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

func TestTooLarge(t *testing.T) {
	p := compile(t, acme())
	r := request()
	r.Route, r.Model = "smart", ""

	r.InputTokens = 300_000 // more than claude has, less than the others
	if got, want := targetNames(acquire(t, p, r)), "azure-weu/gpt-5 openai-main/gpt-5 openai-main/gpt-5-mini"; sortedWords(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r.InputTokens = 400_001
	var got *TooLarge
	var cmd limiter.Acquire
	if err := p.Acquire(r, &cmd); !errors.As(err, &got) || *got != (TooLarge{400_001, 400_000}) {
		t.Errorf("got %v, want too large for 400000", err)
	}
	r.Constraints.Accounts = []string{"nobody"} // not its size is what rules them out
	if err := p.Acquire(r, &cmd); err != nil || len(cmd.Targets) != 0 {
		t.Errorf("got %v and %d targets, want none of either", err, len(cmd.Targets))
	}
}
