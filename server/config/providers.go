package config

import (
	"slices"

	"github.com/watermaster-project/watermaster/limiter"
)

// A preset is what this package must know of a provider; all else stands in
// server/policy. As of 2026-11.
type preset struct {
	name string
	// shape is how it counts its windows. A token bucket only where its own replies
	// show one with the burst equal to the quota: Anthropic documents a bucket too, but
	// may enforce 60 a minute as 1 a second.
	shape limiter.Shape
}

var presets = []preset{
	{"openai", limiter.TokenBucket},
	{"azure", limiter.SlidingWindow},
	{"anthropic", limiter.SlidingWindow},
	{"gemini", limiter.SlidingWindow},
	{"bedrock", limiter.SlidingWindow},
	{"mistral", limiter.SlidingWindow},
	{"groq", limiter.TokenBucket},
	{"deepseek", limiter.SlidingWindow},
	{generic, limiter.SlidingWindow},
}

// generic is the provider of an account that names none.
const generic = "generic"

// Providers lists the names that an account's provider may have.
func Providers() []string {
	var names []string
	for _, p := range presets {
		names = append(names, p.name)
	}
	return names
}

// shapeOf gives a provider's shape; of an unknown one, the shape that is always safe.
func shapeOf(provider string) limiter.Shape {
	i := slices.IndexFunc(presets, func(p preset) bool { return p.name == provider })
	if i < 0 {
		return limiter.SlidingWindow
	}
	return presets[i].shape
}
