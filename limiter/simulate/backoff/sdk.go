package backoff

import (
	"math/rand/v2"
	"slices"
	"time"
)

// An SDK is how a client library answers a 429. Retry n, from 0, comes after
// min(Base·2ⁿ, Cap), less up to Less per mille of it, plus U(0, Plus), at random; or
// after what Retry-After says where the SDK obeys it.
type SDK struct {
	Name    string
	Retries int // after the first attempt
	Base    time.Duration
	Cap     time.Duration
	Less    int64 // ‰, 0 … 1000
	Plus    time.Duration

	Obeys   bool          // reads Retry-After
	Longest time.Duration // that it obeys; 0: any
	Beyond  Beyond        // what it does about a longer one
}

// Beyond is what an SDK does when Retry-After is longer than it obeys.
type Beyond uint8

const (
	BackOff Beyond = iota // its own short delay instead
	GiveUp                // no retry
	Clamp                 // the longest that it obeys
)

// The official SDKs, read from their source in November 2026, with their defaults.
var (
	OpenAIPython    = SDK{Name: "openai-python", Retries: 2, Base: 500 * time.Millisecond, Cap: 8 * time.Second, Less: 250, Obeys: true, Longest: 120 * time.Second, Beyond: GiveUp}
	OpenAINode      = SDK{Name: "openai-node", Retries: 2, Base: 500 * time.Millisecond, Cap: 8 * time.Second, Less: 250, Obeys: true, Longest: 60 * time.Second}
	OpenAIGo        = SDK{Name: "openai-go", Retries: 2, Base: 500 * time.Millisecond, Cap: 8 * time.Second, Less: 250, Obeys: true, Longest: 8 * time.Second, Beyond: Clamp}
	AnthropicPython = SDK{Name: "anthropic-python", Retries: 2, Base: 500 * time.Millisecond, Cap: 8 * time.Second, Less: 250, Obeys: true, Longest: 60 * time.Second}
	AnthropicGo     = SDK{Name: "anthropic-sdk-go", Retries: 2, Base: 500 * time.Millisecond, Cap: 8 * time.Second, Less: 250, Obeys: true}
	GenAI           = SDK{Name: "python-genai", Retries: 0}
	GenAIRetrying   = SDK{Name: "python-genai, retry options set", Retries: 4, Base: time.Second, Cap: 60 * time.Second, Plus: time.Second}
)

// SDKs are all that are known here.
func SDKs() []SDK {
	return []SDK{OpenAIPython, OpenAINode, OpenAIGo, AnthropicPython, AnthropicGo, GenAI, GenAIRetrying}
}

// Named finds an SDK by its name.
func Named(name string) (SDK, bool) {
	all := SDKs()
	i := slices.IndexFunc(all, func(s SDK) bool { return s.Name == name })
	if i < 0 {
		return SDK{}, false
	}
	return all[i], true
}

// delay is how long retry n waits; told is the Retry-After, 0 when there is none. ok is
// false when there is no such retry.
func (s SDK) delay(n int, told time.Duration, rnd *rand.Rand) (d time.Duration, ok bool) {
	if n >= s.Retries {
		return 0, false
	}
	if s.Obeys && told > 0 {
		switch {
		case s.Longest == 0 || told <= s.Longest:
			return told, true
		case s.Beyond == GiveUp:
			return 0, false
		case s.Beyond == Clamp:
			return s.Longest, true
		}
	}
	d = s.Cap
	if n < 40 && s.Base<<n < s.Cap {
		d = s.Base << n
	}
	if s.Less > 0 {
		d -= time.Duration(rnd.Int64N(int64(d)*s.Less/1000 + 1))
	}
	if s.Plus > 0 {
		d += time.Duration(rnd.Int64N(int64(s.Plus) + 1))
	}
	return d, true
}
