package limiter

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var updateFlag = flag.Bool("update", false, "write the golden files anew")

// samples has one command of each kind as it is usual, and some at the extremes.
var samples = []struct {
	name, comment string
	command       Command
}{
	{"configure", "one pool with a window, a bucket, a calendar day and a stock; a project, a template, two classes", &Configure{
		Generation: 7, Hash: 0xC0FFEE,
		Limits: []LimitSpec{{Name: "cost", Metric: Cost, Shape: Calendar, Quota: 500_000_000, Jitter: time.Second, Period: Day,
			Zone: []ZoneOffset{{0, 3600}, {1774746000e9, 7200}}}},
		Pools: []PoolSpec{{Name: "openai/gpt", Was: "openai/old", Models: []string{"gpt", "gpt-2026"}, Outputs: []Moments{{900, 40_000}},
			StartWithin: 700 * time.Millisecond, Limits: []LimitSpec{
				{Name: "rpm", Metric: Requests, Quota: 10_000, Window: time.Minute, Margin: 100_000, Jitter: time.Second},
				{Name: "tpm", Was: "tokens", Metric: Tokens, Shape: TokenBucket, Quota: 2_000_000, Window: time.Minute, Burst: 1_000_000, Jitter: time.Second},
				{Name: "concurrency", Metric: Concurrency, Shape: Stock, Quota: 400}}}},
		Projects:    []ProjectSpec{{Name: "search", Was: "find", Weight: 2, Limits: []LimitSpec{{Name: "tpm", Metric: Tokens, Quota: 1_000_000, Window: time.Minute}}}},
		Template:    &ProjectSpec{Weight: 1, Limits: []LimitSpec{{Name: "images", Metric: Unit("images"), Shape: Stock, Quota: 5}}},
		MaxProjects: 1000, MaxWaiting: 20_000,
		Classes:   []ClassSpec{{Name: "interactive", Weight: 16, Reserve: 50_000}, {Name: "batch", Weight: 1, MaxWaiting: 5000, Paced: true}},
		ColdStart: Pace, Kept: 30 * time.Second}},
	{"configure_empty", "nothing at all", &Configure{}},
	{"acquire", "two targets; input counted on admission and refundable, output when it is produced", &Acquire{
		Key: Key{1, 2, 3, 15: 16}, Lease: LeaseID{0xFEEDFACE, 42}, Project: "search", Class: "interactive",
		Arrived: 1781000000e9, MaxWait: 10 * time.Second, TTL: 30 * time.Second,
		Targets: []Target{
			{Pool: "openai/gpt", Model: "gpt", Charges: []Charge{{Requests, ToPool | ToOwner, 1}, {Tokens, ToPool | ToOwner | Refundable, 3500}}},
			{Pool: "claude/sonnet", Model: "sonnet", Rank: 1, Above: 800, Charges: []Charge{{InputTokens, ToPool, 3000}, {OutputTokens, ToPool | OnCompletion | Pooled, 4096}}}}}},
	{"acquire_extreme", "the least and the most that fits", &Acquire{
		Key: Key{0: 0xFF, 15: 0xFF}, Lease: LeaseID{math.MaxUint64, math.MaxUint64}, Arrived: math.MinInt64, MaxWait: math.MinInt64, TTL: math.MaxInt64,
		Targets: []Target{{Rank: 255, Above: 65535, Charges: []Charge{{65535, 255, maxAmount}}}, {}}}},
	{"renew", "two leases", &Renew{[]LeaseID{{1, 2}, {3, 400}}}},
	{"release", "used less than was estimated; the provider asked for a pause", &Release{
		Lease: LeaseID{1, 2}, Outcome: Used, Actual: []Charge{{Tokens, ToPool | ToOwner, 1234}},
		Gates: []Gate{{Pool: "openai/gpt", Metric: Tokens, For: 2 * time.Second}, {Pool: "claude/sonnet", All: true, For: time.Minute, Blocked: true}}}},
	{"release_unknown", "nobody knows how it ended", &Release{Lease: LeaseID{1, 2}, Outcome: Unknown}},
	{"report", "output so far", &Report{Lease: LeaseID{1, 2}, Actual: []Charge{{OutputTokens, ToPool, 77}}}},
	{"report_gate", "no lease, a gate alone", &Report{Gates: []Gate{{Pool: "p", Metric: Requests, For: -1}}}},
	{"tick", "time passes", &Tick{}},
	{"cancel", "the caller has left for good", &Cancel{Key{9}, LeaseID{1, 2}, Gone}},
	{"join", "a process that knows behaviour 3", &Join{math.MaxUint64, 3}},
	{"restore", "one lease that runs and one that was settled", &Restore{[]LeaseState{
		{Key: Key{1}, Lease: LeaseID{1, 2}, Project: "search", Class: "batch", Pool: "openai/gpt", Model: "gpt", Age: time.Second, Left: time.Minute, TTL: time.Minute,
			Charges: []HeldCharge{{Charge: Charge{Tokens, 3, 5}, Seen: 4}}},
		{Key: Key{2}, Lease: LeaseID{1, 3}, Project: "search", Age: time.Hour, Left: -time.Minute, Settled: true, Unsent: true, Ended: time.Second,
			Charges: []HeldCharge{{Charge: Charge{Tokens, 3, 5}, Refunded: 7, Late: true}}}}}},
	{"loss", "a history that nobody knew, by one who has something to restore", &Loss{0xFACADE, true}},
	{"upgrade", "behaviour 2 from here on", &Upgrade{2}},
	{"leave", "a process that has granted on its own", &Leave{math.MaxUint64, true}},
	{"hit", "draws on one counter, looks at a second in shadow, gives back to a third", &Hit{Counters: []CounterHit{
		{CounterID{1, 15: 2}, 1000, time.Minute, 3, Enforced}, {CounterID{3}, 20, time.Second, 0, Shadow}, {CounterID{4}, 5, 24 * time.Hour, -2, Quota}}}},
	{"hit_extreme", "the least and the most that fits, charged whatever it is", &Hit{Always: true, Counters: []CounterHit{
		{CounterID{}, math.MinInt64, math.MinInt64, math.MinInt64, Enforced}, {CounterID{0: 0xFF, 15: 0xFF}, math.MaxInt64, math.MaxInt64, math.MaxInt64, Quota}}}},
	{"recount", "a counter with two hits that still count, and one with none", &Recount{0xFACADE, true, []CounterState{
		{CounterID{1}, time.Minute, 500, []CounterAge{{time.Second, 2}, {30 * time.Second, 7}}}, {CounterID{2}, time.Second, math.MaxInt64, nil}}}},
	{"give_back", "tokens of a project and of a pool", &GiveBack{"search", "openai/gpt", []Charge{{Tokens, ToPool | ToOwner, 500}}}},
	{"acquire_unpaced", "a caller who cannot wait, with the limits of its project and organization alone", &Acquire{
		Key: Key{7}, Lease: LeaseID{5, 6}, Project: "envoy", Class: "standard", Arrived: 1781000000e9, TTL: 10 * time.Minute, Unpaced: true,
		Targets: []Target{{Charges: []Charge{{Requests, ToOwner, 1}}}}}},
	{"configure_exact", "a roll call that waits for all", &Configure{Generation: 1, AfterLoss: ExactRollCall}},
}

// TestGoldenEncodings holds what is in logs on disk and in Redis today: a change here
// needs a new kind of command, not a new file.
func TestGoldenEncodings(t *testing.T) {
	for _, s := range samples {
		t.Run(s.name, func(t *testing.T) {
			path := filepath.Join("testdata", s.name+".golden")
			b := AppendCommand(nil, s.command)
			if *updateFlag {
				writeGolden(t, path, fmt.Sprintf("%T: %s", s.command, s.comment), b)
			}
			want := readGolden(t, path)
			if !bytes.Equal(b, want) {
				t.Errorf("encoded as\n%x, want\n%x", b, want)
			}
			var d Decoder
			c, rest, err := d.Command(want)
			if err != nil || len(rest) > 0 {
				t.Fatalf("decoded with %d bytes left: %v", len(rest), err)
			}
			if !alike(c, s.command) {
				t.Errorf("decoded as\n%+v, want\n%+v", c, s.command)
			}
		})
	}
}

// TestFormerEncodings reads what earlier builds wrote.
func TestFormerEncodings(t *testing.T) {
	want := &Restore{[]LeaseState{
		{Key: Key{1}, Lease: LeaseID{1, 2}, Project: "search", Class: "batch", Pool: "openai/gpt", Model: "gpt", Age: time.Second, Left: time.Minute, TTL: time.Minute,
			Charges: []HeldCharge{{Charge: Charge{Tokens, 3, 5}}}},
		{Key: Key{2}, Lease: LeaseID{1, 3}, Project: "search", Age: time.Hour, Left: -time.Minute, Settled: true}}}
	var d Decoder
	got, rest, err := d.Command(readGolden(t, "testdata/restore_1.golden"))
	if err != nil || len(rest) > 0 || !alike(got, want) {
		t.Errorf("decoded as\n%+v, want\n%+v, %d bytes left: %v", got, want, len(rest), err)
	}
}

// TestFormerSnapshots loads what earlier builds wrote, and goes on from it as they did.
func TestFormerSnapshots(t *testing.T) {
	text, err := os.ReadFile("testdata/snapshot_1.golden")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var want uint64
		var digits string
		if _, err := fmt.Sscanf(line, "%x %s", &want, &digits); err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		e, err := Load(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load(e.Snapshot(nil))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			for _, e := range []*Engine{e, again} {
				e.Apply(&Tick{}, e.Now().Add(time.Duration(i)*10*time.Second), nil)
				if err := consistent(e); err != nil {
					t.Error(err)
				}
			}
		}
		if e.Digest() != want || again.Digest() != want {
			t.Errorf("decides otherwise: digest %x, saved anew %x, want %x", e.Digest(), again.Digest(), want)
		}
	}
}

func writeGolden(t *testing.T, path, comment string, b []byte) {
	text := "# " + comment + "\n"
	for ; len(b) > 32; b = b[32:] {
		text += hex.EncodeToString(b[:32]) + "\n"
	}
	text += hex.EncodeToString(b) + "\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readGolden(t *testing.T, path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	digits := ""
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			digits += strings.TrimSpace(line)
		}
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return b
}

// alike compares commands; an empty list is as good as none.
func alike(a, b Command) bool { return plain(a) == plain(b) }

// plain prints a command with what its pointers lead to.
func plain(c Command) string {
	if f, ok := c.(*Configure); ok && f.Template != nil {
		g := *f
		g.Template = nil
		return fmt.Sprintf("%+v template %+v", g, *f.Template)
	}
	return fmt.Sprintf("%+v", c)
}

// TestCommandsFollowEachOther decodes all samples from one buffer with one decoder.
func TestCommandsFollowEachOther(t *testing.T) {
	var b []byte
	for range 2 {
		for _, s := range samples {
			b = AppendCommand(b, s.command)
		}
	}
	var d Decoder
	for i := range 2 * len(samples) {
		c, rest, err := d.Command(b)
		if err != nil {
			t.Fatal(err)
		}
		if want := samples[i%len(samples)].command; !alike(c, want) {
			t.Errorf("decoded %+v, want %+v", c, want)
		}
		b = rest
	}
	if len(b) > 0 {
		t.Errorf("%d bytes are left", len(b))
	}
}

// TestDecoderIsTotal cuts and flips every byte of every sample.
func TestDecoderIsTotal(t *testing.T) {
	var d Decoder
	for _, s := range samples {
		b := AppendCommand(nil, s.command)
		for i := range b {
			if c, rest, err := d.Command(b[:i]); err == nil {
				t.Errorf("%s: %d of %d bytes decode as %+v, %d left", s.name, i, len(b), c, len(rest))
			}
			for _, x := range []byte{0x01, 0x80, 0xFF} {
				b[i] ^= x
				d.Command(b) // does not panic
				b[i] ^= x
			}
		}
	}
	if _, _, err := d.Command(nil); err != ErrCodec {
		t.Errorf("nothing decodes: %v", err)
	}
	if _, _, err := d.Command([]byte{200}); err != ErrCodec {
		t.Errorf("an unknown kind decodes: %v", err)
	}
}

// TestDecodingAllocatesNothing guards the decision path.
func TestDecodingAllocatesNothing(t *testing.T) {
	var d Decoder
	for _, s := range samples {
		switch s.command.(type) {
		case *Configure, *Restore, *Recount: // rare
			continue
		}
		b := AppendCommand(nil, s.command)
		if n := testing.AllocsPerRun(100, func() { d.Command(b) }); n > 0 {
			t.Errorf("%s: %v allocations", s.name, n)
		}
	}
}
