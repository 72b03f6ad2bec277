package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/config"
)

func targetNames(cmd *limiter.Acquire) string {
	var names []string
	for _, tg := range cmd.Targets {
		names = append(names, tg.Pool)
	}
	return strings.Join(names, " ")
}

func sortedWords(text string) string {
	words := strings.Fields(text)
	slices.Sort(words)
	return strings.Join(words, " ")
}

// ranked spells targets with rank and, if there is one, when_above.
func ranked(cmd *limiter.Acquire) string {
	var names []string
	for _, tg := range cmd.Targets {
		s := fmt.Sprintf("%d:%s", tg.Rank, tg.Pool)
		if tg.Above > 0 {
			s += fmt.Sprintf(">%d", tg.Above)
		}
		names = append(names, s)
	}
	return strings.Join(names, " ")
}

func TestSelection(t *testing.T) {
	p := compile(t, acme())
	const all = "0:openai-main/gpt-5 0:azure-weu/gpt-5 2:claude/sonnet 4:openai-main/gpt-5-mini>800"
	for _, c := range []struct {
		name   string
		change func(*Request)
		want   string
	}{
		{"by quality", func(*Request) {}, all},
		{"accounts", func(r *Request) { r.Constraints.Accounts = []string{"claude", "azure-weu"} }, "0:azure-weu/gpt-5 2:claude/sonnet"},
		{"exclude_accounts", func(r *Request) { r.Constraints.ExcludeAccounts = []string{"openai-main"} }, "0:azure-weu/gpt-5 2:claude/sonnet"},
		{"both", func(r *Request) {
			r.Constraints.Accounts, r.Constraints.ExcludeAccounts = []string{"claude"}, []string{"claude"}
		}, ""},
		{"providers", func(r *Request) { r.Constraints.Providers = []string{"anthropic", "gemini"} }, "0:claude/sonnet"},
		{"one capability", func(r *Request) { r.Constraints.Capabilities = []string{"tools"} }, "0:openai-main/gpt-5 0:azure-weu/gpt-5 2:claude/sonnet"},
		{"all capabilities", func(r *Request) { r.Constraints.Capabilities = []string{"vision", "tools"} }, "0:claude/sonnet"},
		{"the request's quality", func(r *Request) { r.Constraints.MinQuality = Some(951) }, "0:openai-main/gpt-5 0:azure-weu/gpt-5"},
		{"any quality", func(r *Request) { r.Constraints.MinQuality = Some(0) }, all},
		{"unknown names", func(r *Request) { r.Constraints.Capabilities = []string{"telepathy"} }, ""},
		{"diverted", func(r *Request) { r.Divert = true },
			"0:openai-main/gpt-5-mini 2:openai-main/gpt-5 2:azure-weu/gpt-5 4:claude/sonnet"},
		{"diverted, but not below the quality", func(r *Request) { r.Divert, r.Constraints.MinQuality = true, Some(900) },
			"0:openai-main/gpt-5 0:azure-weu/gpt-5 2:claude/sonnet"},
		{"nothing to divert to", func(r *Request) { r.Route, r.Divert = "cheap", true }, "0:openai-main/gpt-5-mini"},
		{"a model", func(r *Request) { r.Route, r.Model = "", "gpt-5" }, "0:azure-weu/gpt-5 0:openai-main/gpt-5 0:openai-main/gpt-5-mini"},
		{"an alias", func(r *Request) { r.Route, r.Model = "", "gpt-latest" }, "0:azure-weu/gpt-5 0:openai-main/gpt-5 0:openai-main/gpt-5-mini"},
		{"the longest pattern", func(r *Request) { r.Route, r.Model = "", "gpt-5-2026-05-05" },
			"0:azure-weu/gpt-5 0:openai-main/gpt-5 0:openai-main/gpt-5-mini"},
		{"a shorter pattern", func(r *Request) { r.Route, r.Model = "", "gpt-5-2025" }, "0:openai-main/gpt-5-mini"},
		{"a model's own name before the pattern", func(r *Request) { r.Route, r.Model = "", "gpt-5-2026-01-01" }, "0:openai-main/gpt-5-mini"},
	} {
		r := request()
		r.Route, r.Model = "smart", ""
		c.change(r)
		if got := ranked(acquire(t, p, r)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// fleet is a configuration of equal accounts that offer one model.
func fleet(n int) *config.Config {
	cfg := acme()
	org := &cfg.Organizations[0]
	org.Routes, org.Accounts = nil, nil
	for i := range n {
		org.Accounts = append(org.Accounts, config.Account{
			Name: fmt.Sprintf("a%02d", i), Provider: "openai",
			Pools: []config.Pool{{Name: "p", Models: models("gpt-5"), Limits: limits(limiter.Tokens)}},
		})
	}
	return cfg
}

func TestAffinity(t *testing.T) {
	const accounts, keys = 8, 4000
	p := compile(t, fleet(accounts))
	fewer := fleet(accounts)
	fewer.Organizations[0].Accounts = fewer.Organizations[0].Accounts[1:]
	without := compile(t, fewer)

	had := map[string]int{}
	for i := range keys {
		r := request()
		r.AffinityKey = fmt.Sprintf("conversation-%d", i)
		cmd := acquire(t, p, r)
		if len(cmd.Targets) != accounts || cmd.Targets[0].Rank != 0 || cmd.Targets[1].Rank != 1 || cmd.Targets[accounts-1].Rank != 1 {
			t.Fatalf("got %s, want one before the others", ranked(cmd))
		}
		favourite := cmd.Targets[0].Pool
		had[favourite]++
		if again := acquire(t, p, r).Targets[0].Pool; again != favourite {
			t.Fatalf("got %s, then %s", favourite, again)
		}
		// Whoever was not at the account that is taken away stays where it was, also if
		// it is only excluded.
		r2 := *r
		r2.Constraints.ExcludeAccounts = []string{"a00"}
		moved, excluded := acquire(t, without, r).Targets[0].Pool, acquire(t, p, &r2).Targets[0].Pool
		if moved != excluded || favourite != "a00/p" && moved != favourite {
			t.Fatalf("%s moved from %s to %s, or %s", r.AffinityKey, favourite, moved, excluded)
		}
	}
	for pool, n := range had {
		if n < keys/accounts*3/4 || n > keys/accounts*5/4 {
			t.Errorf("%s has %d of %d keys", pool, n, keys)
		}
	}

	// Of different quality: ranks of groups don't meet.
	r := request()
	r.Route, r.Model, r.AffinityKey = "smart", "", "k"
	cmd := acquire(t, compile(t, acme()), r)
	var ranks []uint8
	for _, tg := range cmd.Targets {
		ranks = append(ranks, tg.Rank)
	}
	if want := []uint8{0, 1, 2, 4}; !slices.Equal(ranks, want) {
		t.Errorf("got ranks %v, want %v", ranks, want)
	}
}

func TestAtMostSixteenTargets(t *testing.T) {
	p := compile(t, fleet(40))
	had := map[string]int{}
	for i := range 1000 {
		r := request()
		r.RequestID = fmt.Sprint(i)
		if i%2 == 0 {
			r.AffinityKey = r.RequestID
		}
		cmd := acquire(t, p, r)
		if len(cmd.Targets) != 16 {
			t.Fatalf("got %d targets, want 16", len(cmd.Targets))
		}
		once := map[string]bool{}
		for _, tg := range cmd.Targets {
			if once[tg.Pool] {
				t.Fatalf("%s stands twice in %s", tg.Pool, ranked(cmd))
			}
			once[tg.Pool] = true
			had[tg.Pool]++
		}
	}
	if len(had) != 40 {
		t.Errorf("only %d of 40 accounts are ever offered", len(had))
	}
}

// Two targets in one pool stay two: they are different models.
func TestTwoTargetsInOnePool(t *testing.T) {
	cfg := acme()
	cfg.Organizations[0].Routes = []config.Route{{Name: "smart", Targets: []config.RouteTarget{
		{Account: "openai-main", Model: "gpt-5-mini", Quality: 1000},
		{Account: "openai-main", Model: "gpt-5-2026-01-01", Quality: 1000},
	}}}
	r := request()
	r.Route, r.Model = "smart", ""
	cmd := acquire(t, compile(t, cfg), r)
	if len(cmd.Targets) != 2 || cmd.Targets[0].Model != "gpt-5-mini" || cmd.Targets[1].Model != "gpt-5-2026-01-01" {
		t.Errorf("got %+v", cmd.Targets)
	}
}
