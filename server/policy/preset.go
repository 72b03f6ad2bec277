package policy

// The facts below are those of providers.md §1.3, of this month. [2nd] marks what a third
// party says, [U] what nobody confirms; in doubt the choice is the one that counts more.
const presetsAsOf = "2026-11"

// generic is for a provider of whom nothing is known: the whole estimate counts when the
// call arrives, nothing is given back, every header and error body is understood. It can't
// protect from a provider that counts a long call only when it ends; such a one needs
// output_on: completion with admission: input_and_cap.
var generic = Profile{
	Provider:         "generic",
	AsOf:             presetsAsOf,
	Admission:        AdmissionSum,
	CachedWeight:     1000,
	CacheWriteWeight: 1000,
	Burndown:         1000,
	FailedCount:      true,
	Headers:          HeadersAny,
}

var presets = []Profile{
	{
		Provider: "anthropic",
		AsOf:     presetsAsOf,
		// The input is estimated on admission and corrected while the call runs. The output:
		// an older page estimates it from max_tokens, the newer one counts what is
		// produced. Keeping the cap free until the end is safe under both.
		Admission: AdmissionInputAndCap,
		OutputOn:  OutputOnCompletion,
		Refund:    true,
		// Reads are free, writes count. Reads of Haiku 3.5 count.
		CachedWeight: 0,
		CachedWeights: []ModelWeight{
			{"3-5-haiku", 1000}, {"haiku-3-5", 1000},
		},
		CacheWriteWeight: 1000,
		Burndown:         1000,
		FailedCount:      true, // undocumented
		Headers:          HeadersAnthropic,
	},
	{
		Provider: "azure",
		AsOf:     presetsAsOf,
		// "An estimate of the prompt, max_tokens and best_of": the worker's cap is over
		// all choices. No refund is described. Prompts that are refused with 400 might count.
		Admission:        AdmissionSum,
		CachedWeight:     1000, // [2nd]; provisioned throughput deducts cached input whole
		CacheWriteWeight: 1000,
		Burndown:         1000,
		EnqueuedInput:    true,
		FailedCount:      true,
		Headers:          HeadersOpenAI,
	},
	{
		Provider: "bedrock",
		AsOf:     presetsAsOf,
		// On admission input + cache writes + max_tokens, when settled input + cache writes +
		// burndown × output. Whether max_tokens is multiplied on admission is disputed; we
		// reserve it multiplied (Profile.Burndown).
		Admission:        AdmissionSum,
		Refund:           true,
		CachedWeight:     0,
		CacheWriteWeight: 1000,
		Burndown:         1000,
		Burndowns: []ModelWeight{ // [2nd]; the first match counts
			{"opus-4-8", 15_000},
			{"sonnet-5", 10_000}, {"opus-5", 10_000}, {"fable-5-1", 10_000}, {"gpt-5-6", 10_000},
			{"claude-3-7", 5_000}, {"sonnet-4", 5_000}, {"opus-4", 5_000}, {"haiku-4", 5_000},
		},
		// Limits of input_tokens and output_tokens are those of the mantle endpoint: the
		// first counts max_tokens too until it is known what was used, the second what is
		// produced.
		CapInInput:  true,
		OutputOn:    OutputOnCompletion,
		FailedCount: true, // undocumented
		Headers:     HeadersNone,
	},
	{
		Provider: "deepseek",
		AsOf:     presetsAsOf,
		// Only calls in flight count. Should an account have other limits, then as generic.
		Admission:        AdmissionSum,
		CachedWeight:     1000,
		CacheWriteWeight: 1000,
		Burndown:         1000,
		FailedCount:      true,
		Headers:          HeadersOpenAI,
	},
	{
		Provider: "gemini",
		AsOf:     presetsAsOf,
		// Tokens are those of the input. Cached input is undocumented; 400 and 500 count
		// against the quota [2nd].
		Admission:        AdmissionInput,
		CachedWeight:     1000,
		CacheWriteWeight: 1000,
		Burndown:         1000,
		FailedCount:      true,
		Headers:          HeadersNone,
	},
	generic,
	{
		Provider: "groq",
		AsOf:     presetsAsOf,
		// An estimate with max_completion_tokens [U]; what happens at the end is unknown.
		Admission:        AdmissionSum,
		CachedWeight:     0,
		CacheWriteWeight: 1000,
		Burndown:         1000,
		FailedCount:      true, // undocumented
		Headers:          HeadersGroq,
	},
	{
		Provider: "mistral",
		AsOf:     presetsAsOf,
		// Undocumented throughout.
		Admission:        AdmissionSum,
		CachedWeight:     1000,
		CacheWriteWeight: 1000,
		Burndown:         1000,
		FailedCount:      true,
		Headers:          HeadersAny,
	},
	{
		Provider: "openai",
		AsOf:     presetsAsOf,
		// "The maximum of max_tokens and the estimated number of tokens based on the
		// character count" reads as the larger or as the sum; the sum counts more. A refund
		// is undocumented [U].
		Admission:        AdmissionSum,
		CachedWeight:     1000, // [2nd]
		CacheWriteWeight: 1000,
		Burndown:         1000,
		EnqueuedInput:    true,
		FailedCount:      true,
		Headers:          HeadersOpenAI,
	},
}

// Preset gives the profile of a provider. Its lists are shared: they must not be changed.
func Preset(provider string) (Profile, bool) {
	for i := range presets {
		if presets[i].Provider == provider {
			return presets[i], true
		}
	}
	return Profile{}, false
}

// Presets lists the providers that have a profile, ascending.
func Presets() []string {
	names := make([]string, len(presets))
	for i := range presets {
		names[i] = presets[i].Provider
	}
	return names
}
