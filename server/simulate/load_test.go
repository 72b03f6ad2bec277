package simulate

import (
	"math"
	"strings"
	"testing"
	"time"
)

// fourCalls arrive over 30 s, so that with one mean gap the trace takes 40 s. Of 1000 + 200 tokens each.
const fourCalls = "t_ms,input_tokens,output_tokens,max_output_tokens\n" +
	"0,1000,100,200\n10000,1000,100,200\n20000,1000,100,200\n30000,1000,100,200\n"

func options(t testing.TB, text, path string) Options {
	t.Helper()
	return Options{
		Config: parse(t, text), Trace: path, Shape: Auto, FirstToken: 300 * time.Millisecond, TokenTime: 10 * time.Millisecond, Alone: true,
	}
}

func TestLoad(t *testing.T) {
	two := onePool("margin: 50%", "tokens: 12000/min") + "      other: {pools: {p: {models: [m], limits: {tokens: 6000/min}}}}\n"
	for _, c := range []struct {
		name, text    string
		load, stretch float64
		want          float64 // load that is reported
	}{
		// 4 × 1200 tokens at 12,000 a minute take 24 s, of 40.
		{"as recorded, by the whole quota", onePool("margin: 50%", "tokens: 12000/min"), 0, 1, 0.6},
		{"stretched", onePool("margin: 50%", "tokens: 12000/min"), 1.5, 0.4, 1.5},
		// Requests bind: 4 at 4 a minute take 60 s.
		{"the tightest limit counts", onePool("margin: 0%", "tokens: 12000/min, requests: 4/min"), 3, 0.5, 3},
		{"a day's quota does not", onePool("margin: 0%", "tokens: [12000/min, 100000/day]"), 0, 1, 0.6},
		// 1.3 s of service for each of 4 calls, one at a time: 5.2 s of 40.
		{"a stock is held while a call runs", onePool("margin: 0%", "concurrency: 1"), 0, 1, 0.13},
		// 24 s in one and 48 s in the other are 16 s in both.
		{"pools add up", two, 0, 1, 0.4},
	} {
		o := options(t, c.text, write(t, fourCalls))
		o.Load = c.load
		got, err := Replay(o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if r := got.Report; math.Abs(r.Load-c.want) > 1e-9 || math.Abs(r.Stretch-c.stretch) > 1e-9 {
			t.Errorf("%s: load %v by a stretch of %v, want %v by %v", c.name, r.Load, r.Stretch, c.want, c.stretch)
		}
		if got := got.Report.Arrivals.Duration(); got != time.Duration(c.stretch*30e9) {
			t.Errorf("%s: arrivals over %v, want %v", c.name, got, time.Duration(c.stretch*30e9))
		}
	}
}

func TestNoLoad(t *testing.T) {
	for _, c := range []struct{ name, text, trace string }{
		{"no rate is limited", onePool("margin: 0%", "tokens: 100000/day"), fourCalls},
		{"the trace has no length", onePool("margin: 0%", "tokens: 9000/min"), "t_ms,input_tokens,output_tokens\n0,1,1\n"},
	} {
		o := options(t, c.text, write(t, c.trace))
		o.Load = 2
		if _, err := Replay(o); err == nil || !strings.Contains(err.Error(), "no load can be set") {
			t.Errorf("%s: error %v", c.name, err)
		}
	}
}
