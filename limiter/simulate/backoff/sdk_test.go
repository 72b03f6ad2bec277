package backoff

import (
	"math/rand/v2"
	"testing"
	"time"
)

const (
	ms = time.Millisecond
	s  = time.Second
)

// Each SDK's delays, as its source has them: least and most of what jitter makes of them.
func TestDelay(t *testing.T) {
	for _, c := range []struct {
		sdk         SDK
		n           int
		told        time.Duration
		least, most time.Duration
		again       bool
	}{
		{OpenAIPython, 0, 0, 375 * ms, 500 * ms, true},
		{OpenAIPython, 1, 0, 750 * ms, 1 * s, true},
		{OpenAIPython, 2, 0, 0, 0, false},
		{OpenAIPython, 0, 1 * ms, 1 * ms, 1 * ms, true},
		{OpenAIPython, 1, 120 * s, 120 * s, 120 * s, true},
		{OpenAIPython, 0, 120*s + 1, 0, 0, false},
		{OpenAINode, 0, 60 * s, 60 * s, 60 * s, true},
		{OpenAINode, 0, 61 * s, 375 * ms, 500 * ms, true},
		{AnthropicPython, 1, 61 * s, 750 * ms, 1 * s, true},
		{OpenAIGo, 0, 5 * s, 5 * s, 5 * s, true},
		{OpenAIGo, 0, 50 * s, 8 * s, 8 * s, true},
		{AnthropicGo, 0, time.Hour, time.Hour, time.Hour, true},
		{GenAI, 0, 1 * s, 0, 0, false},
		{GenAIRetrying, 0, 30 * s, 1 * s, 2 * s, true}, // reads no Retry-After
		{GenAIRetrying, 3, 0, 8 * s, 9 * s, true},
		{GenAIRetrying, 4, 0, 0, 0, false},
		{SDK{Retries: 99, Base: 500 * ms, Cap: 8 * s, Less: 250}, 4, 0, 6 * s, 8 * s, true},
		{SDK{Retries: 99, Base: 500 * ms, Cap: 8 * s, Less: 250}, 98, 0, 6 * s, 8 * s, true},
	} {
		rnd := rand.New(rand.NewPCG(1, 1))
		least, most := time.Duration(1<<62), time.Duration(-1)
		for range 2000 {
			d, again := c.sdk.delay(c.n, c.told, rnd)
			if again != c.again || d < c.least || d > c.most {
				t.Fatalf("%s, retry %d, told %v: got %v, %v, want %v … %v, %v", c.sdk.Name, c.n, c.told, d, again, c.least, c.most, c.again)
			}
			least, most = min(least, d), max(most, d)
		}
		if room := (c.most - c.least) / 50; least > c.least+room || most < c.most-room {
			t.Errorf("%s, retry %d, told %v: only %v … %v of %v … %v", c.sdk.Name, c.n, c.told, least, most, c.least, c.most)
		}
	}
}

func TestNamed(t *testing.T) {
	if sdk, ok := Named("openai-go"); !ok || sdk != OpenAIGo {
		t.Errorf("got %+v, %v", sdk, ok)
	}
	if _, ok := Named("curl"); ok {
		t.Error("curl is known")
	}
}
