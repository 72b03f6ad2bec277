// Package provider is a strict stand-in for an LLM provider: the judge of the claim
// that no call is ever refused and no window ever exceeds its quota.
//
// It knows nothing of leases, queues or workers. Calls arrive at an instant of virtual
// time, and each limit judges them by that alone:
//
//	p, err := provider.New(provider.Config{Limits: []provider.Limit{
//		{Metric: provider.Tokens, Quota: 50_000, Window: time.Minute, Shape: provider.Bucket},
//	}})
//	v := p.Arrive(now, provider.Call{ID: 1, Input: 900, MaxOutput: 500})
//	if v.OK { … p.Complete(now+life, 1, 320) } else { … v.RetryAfter … }
//
// A call is charged to all limits or to none. Four shapes, all in exact integers:
//
//	Bucket   holds Burst, refills evenly at Quota per Window
//	Sliding  at most Quota in every window (s, s+Window]
//	Fixed    at most Quota in every window [Phase + k·Window, Phase + (k+1)·Window)
//	Stock    at most Quota calls in flight; no window
//
// Limit.Parts adds a quantised limit: Quota/Parts per Window/Parts, judged in a shape
// of its own, beside the whole.
//
// [Charge] says what is counted when: an estimate on admission, kept or settled at the
// end, or the output as it is produced. What is produced cannot be refused, so it may
// take a limit over its quota; arrivals are then refused until it is back.
//
// Judging and measuring are apart. Beside each limit stands a record of what was
// accepted, which decides nothing and knows no shape: its worst sliding window is exact
// for every limit, and [Provider.Use] and [Provider.Amount] tell what was used when. With Config.Lenient nothing
// is refused, so that overshoot is measured rather than cut off by refusals.
//
// The package imports nothing of this module: it shares no arithmetic with the engine
// that it judges. Memory is bounded by what the longest window holds, by the calls in
// flight, and by one number per limit and bin of time.
package provider
