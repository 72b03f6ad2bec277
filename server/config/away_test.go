package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/watermaster-project/watermaster/limiter"
)

func TestAway(t *testing.T) {
	for _, row := range []struct {
		account string
		want    Away
		text    string
	}{
		{"margin: 10%", Away{}, "margin"},
		{"when_away: margin", Away{}, "margin"},
		{"when_away: closed", Away{Policy: AwayClosed}, "closed"},
		{"when_away: open", Away{Policy: AwayOpen}, "open"},
		{"when_away: {share: 0.8}", Away{AwayShare, 800_000}, "share 80%"},
		{"when_away: {share: 100%}", Away{AwayShare, 1_000_000}, "share 100%"},
	} {
		a := mustParse(t, inAccount(row.account)).Organizations[0].Accounts[0].Away
		if a != row.want || a.String() != row.text {
			t.Errorf("%s: got %+v %q, want %+v %q", row.account, a, a, row.want, row.text)
		}
	}
	for _, row := range []struct{ file, want string }{
		{inAccount("when_away: marign"), `f:4:22: when_away must be one of margin, closed, open, not "marign" (did you mean "margin"?)`},
		{inAccount("when_away: [open]"), "f:4:22: when_away must be text, not a list"},
		{inAccount("when_away: {}"), "f:4:22: when_away: share is missing: how much of what is free to hand out, such as {share: 80%}"},
		{inAccount("when_away: {shre: 1}"), `unknown key "shre" in when_away (did you mean "share"?)`},
		{inAccount("when_away: {share: 0%}"), "f:4:30: share must be from 0.0001% to 100%, not 0%"},
		{inAccount("when_away: {share: 80}"), `f:4:30: share: "80" is more than the whole (did you mean "80%"?)`},
		{inOrganization("max_replicas: 0"), "f:4:19: max_replicas must be from 1 to 64, not 0"},
		{inOrganization("after_loss: exakt"), `f:4:17: after_loss must be one of quick, exact, not "exakt" (did you mean "exact"?)`},
		{atTop("max_replicas: 65"), "f:2:15: max_replicas must be from 1 to 64, not 65"},
	} {
		_, err := Parse("f", []byte(row.file), written)
		if all := (Errors{}); !errors.As(err, &all) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("got %v, want %s", err, row.want)
		}
	}
}

func TestMaxReplicas(t *testing.T) {
	for _, row := range []struct {
		file string
		want int
	}{
		{atTop(""), 8}, {atTop("max_replicas: 3"), 3}, {inOrganization("max_replicas: 64"), 64},
		{"max_replicas: 3\n" + inOrganization("max_replicas: 1"), 1},
	} {
		if got := mustParse(t, row.file).Organizations[0].MaxReplicas; got != row.want {
			t.Errorf("%s: got %d, want %d", row.file, got, row.want)
		}
	}
}

func TestAfterLoss(t *testing.T) {
	for _, row := range []struct {
		line string
		want limiter.LossPolicy
	}{{"", limiter.QuickRollCall}, {"after_loss: quick", limiter.QuickRollCall}, {"after_loss: exact", limiter.ExactRollCall}} {
		c := mustParse(t, inOrganization(row.line))
		if got := c.Configure(&c.Organizations[0]).AfterLoss; got != row.want {
			t.Errorf("%s: got %v, want %v", row.line, got, row.want)
		}
	}
}

// No replica knows of the others: so whatever a limit is, the parts of all are within the
// margin, or within the share of what was free.
func TestPoolPart(t *testing.T) {
	const dozen = 12
	for _, shape := range []string{"sliding_window", "token_bucket", "calendar", "stock"} {
		for _, away := range []Away{{}, {Policy: AwayClosed}, {AwayShare, 800_000}, {AwayShare, 1_000_000}} {
			for _, replicas := range []int{1, 2, 3, 7, 8, 64} {
				for _, margin := range []uint32{0, 1, 33_333, 100_000, 999_999} {
					for _, quota := range []int64{1, 7, 79, 80, 81, 1000, 999_983, maxQuota - 1} {
						o := Organization{MaxReplicas: replicas}
						l := limiter.LimitSpec{Quota: quota, Margin: margin, Window: dozen * 5e9, Jitter: 1e9, Burst: quota/3 + 1}
						for i, name := range shapeNames {
							if name == shape {
								l.Shape = limiter.Shape(i)
							}
						}
						free := Free(&l)
						room := Amount{l.Quota - free.Quota, l.Burst - free.Burst}
						if away.Policy == AwayShare {
							free.Quota, free.Burst = free.Quota/2, free.Burst/2 // the rest is held
							room = free
						}
						p := o.PoolPart(&Account{Away: away}, &l, free)
						n := int64(replicas)
						if p.Quota < 0 || p.Quota*n > room.Quota || p.Burst*n > room.Burst {
							t.Fatalf("%s, %v, %d replicas, margin %d of %d: got a part of %+v, want all within %+v",
								shape, away, n, margin, quota, p, room)
						}
						if away.Policy == AwayClosed && p != (Amount{}) {
							t.Fatalf("closed: got %+v", p)
						}
						// Not needlessly little: less than one for each is lost in dividing.
						if away == (Away{}) && l.Shape != limiter.TokenBucket && p.Quota != room.Quota/n {
							t.Fatalf("%d replicas, margin %d of %d: got %+v of %+v", n, margin, quota, p, room)
						}
					}
				}
			}
		}
	}
	o := Organization{MaxReplicas: 8}
	if p := o.PoolPart(&Account{Away: Away{Policy: AwayOpen}}, &limiter.LimitSpec{Quota: 5}, Amount{}); p != Unlimited {
		t.Errorf("open: got %+v", p)
	}
}

// Limits of one's own are divided as those of the account that gives the most.
func TestOwnPart(t *testing.T) {
	account := func(margin uint32, away AwayPolicy, share uint32) Account {
		return Account{Margin: margin, Away: Away{away, share}}
	}
	bucket := limiter.LimitSpec{Shape: limiter.TokenBucket, Quota: 6000, Burst: 100, Window: 60e9, Jitter: 1e9}
	for _, row := range []struct {
		name     string
		accounts []Account
		limit    limiter.LimitSpec
		free     Amount
		want     Amount
	}{
		{"the largest margin", []Account{account(50_000, AwayMargin, 0), account(100_000, AwayMargin, 0)},
			limiter.LimitSpec{Quota: 1000}, Amount{}, Amount{Quota: 13}},
		{"rounded up", []Account{account(100_000, AwayMargin, 0)}, limiter.LimitSpec{Quota: 5, Shape: limiter.Stock}, Amount{}, Amount{Quota: 1}},
		{"no margin", []Account{account(0, AwayMargin, 0)}, limiter.LimitSpec{Quota: 5}, Amount{}, Amount{}},
		{"closed", []Account{account(100_000, AwayClosed, 0)}, limiter.LimitSpec{Quota: 5000}, Amount{}, Amount{}},
		{"a share is of what is free", []Account{account(0, AwayShare, 500_000)}, limiter.LimitSpec{Quota: 5000}, Amount{Quota: 160}, Amount{Quota: 10}},
		{"nothing is free", []Account{account(0, AwayShare, 500_000)}, limiter.LimitSpec{Quota: 5000}, Amount{Quota: -3}, Amount{}},
		{"one is open", []Account{account(100_000, AwayMargin, 0), account(0, AwayOpen, 0)}, limiter.LimitSpec{Quota: 5}, Amount{}, Unlimited},
		{"a bucket holds one at least", []Account{account(100_000, AwayMargin, 0)}, bucket, Amount{}, Amount{75, 2}},
	} {
		o := Organization{MaxReplicas: 8, Accounts: row.accounts}
		if got := o.OwnPart(&row.limit, row.free); got != row.want {
			t.Errorf("%s: got %+v, want %+v", row.name, got, row.want)
		}
	}
}

// check says what a part is too small for.
func TestDivision(t *testing.T) {
	c := mustParse(t, `
models: {big: {aliases: ["m*"], context: 400k, max_output: 100k}}
max_replicas: 4
organizations:
  o:
    accounts:
      a: {when_away: {share: 80%}, pools: {p: {models: [m-1, big], limits: {tokens: 1M/min, output_tokens: 1M/min, requests: 100/min}}}}
      b: {when_away: open, pools: {p: {models: [big], limits: {tokens: 1M/min}}}}
      c: {when_away: closed, pools: {p: {models: [big], limits: {tokens: {quota: 1M, window: min, burst: 100k}}}}}
      d: {pools: {p: {models: [other, m-2], limits: {tokens: {quota: 10M, window: min, burst: 8M}}}}}
    projects: {x: {limits: {concurrency: 5}}}
`)
	var b strings.Builder
	if err := c.describeAway(&b); err != nil {
		t.Fatal(err)
	}
	want := `
ORGANIZATION  SCOPE      LIMIT              WHEN AWAY    REPLICAS  EACH AT MOST           NOTE
o             project x  concurrency        as accounts  any       all
o             pool a/p   requests/min       share 80%    4         18
o             pool a/p   output_tokens/min  share 80%    4         180,000
o             pool a/p   tokens/min         share 80%    4         180,000                calls above 180,000 wait, and those of m-1 may take 400,000
o             pool b/p   tokens/min         open         any       all
o             pool c/p   tokens/min         closed       4         nothing
o             pool d/p   tokens/min         margin       4         250,000, burst 200,000  calls above 195,834 wait, and those of m-2 may take 400,000
`
	if got := "\n" + b.String(); words(got) != words(want) {
		t.Errorf("got%s\nwant%s", got, want)
	}
}
