package config

// brokenLimits are limits with something wrong in them, and all that is to be said of
// each.
var brokenLimits = []brokenFile{
	{"metric", inPool("{token: 1M/min}"), []string{
		"f:6:37: unknown metric \"token\" in the limits of the pool a/p: what is not built in must be listed in `units` (did you mean \"tokens\"?)",
	}},
	{"unit not declared", inPool("{images: 10/min}"), []string{
		"f:6:37: unknown metric \"images\" in the limits of the pool a/p: what is not built in must be listed in `units`",
	}},
	{"quota of nothing", inPool("{tokens: 0/min, requests: -5/min}"), []string{
		`f:6:45: tokens: a quota of 0 lets nothing through: it must be above 0, or the line removed`,
		`f:6:62: requests: a quota of -5 lets nothing through: it must be above 0, or the line removed`,
	}},
	{"quota with a small m", inPool("{tokens: 2m/min}"), []string{
		`f:6:45: tokens: quota "2m" is not a number (did you mean "2M"?)`,
	}},
	{"quota with a fraction", inPool("{tokens: 0.5/min}"), []string{
		`f:6:45: tokens: quota "0.5" is not a whole number`,
	}},
	{"quota too large", inPool("{tokens: 2000000000G/min, requests: 2000000G/min}"), []string{
		`f:6:45: tokens: a quota of 2000000000G is too large: at most 1e15`,
		`f:6:72: requests: a quota of 2000000G is too large: at most 1e15`,
	}},
	{"dollars for tokens", inPool("{tokens: $5/min}"), []string{
		`f:6:45: tokens: quota "$5" is not a number`,
	}},
	{"no window", inPool("{tokens: 1M}"), []string{
		`f:6:45: tokens needs a window: write 1M/min`,
	}},
	{"unknown window", inPool("{tokens: 1M/minute, requests: [1/fortnight, 9/10]}"), []string{
		`f:6:45: tokens: "minute" is not a window such as s, min, h, day, week, month or 10s (did you mean "min"?)`,
		`f:6:67: requests: "fortnight" is not a window such as s, min, h, day, week, month or 10s`,
		`f:6:80: requests: "10" is not a window such as s, min, h, day, week, month or 10s (did you mean "10s"?)`,
	}},
	{"window below 2 D", inPool("{tokens: 1M/2s}"), []string{
		`f:6:45: tokens: at D = 1s (start_within + transit) a window must be longer than 2s, not 2s`,
	}},
	{"window too long", inPool("{tokens: 1M/9601h}"), []string{
		`f:6:45: tokens: a window of 9601h is too long: at most 400 days`,
	}},
	{"stock with a window", inPool("{concurrency: 400/min}"), []string{
		`f:6:50: concurrency is held from grant to release: it has no window (did you mean "400"?)`,
	}},
	{"stock with a burst and shape", inPool("{concurrency: {quota: 400, burst: 3, shape: calendar}}"), []string{
		`f:6:63: concurrency is held from grant to release: it has no burst`,
		`f:6:80: concurrency is held from grant to release: it has no shape calendar (did you mean "stock"?)`,
	}},
	{"stock of tokens", inPool("{tokens: {quota: 1M, window: min, shape: stock}}"), []string{
		`f:6:77: tokens has a window: only concurrency and enqueued_tokens are a stock`,
	}},
	{"shape", inPool("{tokens: {quota: 1M/min, shape: token_buckt}}"), []string{
		`f:6:68: shape must be one of sliding_window, token_bucket, calendar, stock, not "token_buckt" (did you mean "token_bucket"?)`,
	}},
	{"calendar of 24h", inPool("{tokens: {quota: 1M/24h, shape: calendar}}"), []string{
		`f:6:53: tokens: a calendar limit counts a day, week or month, not "24h"`,
	}},
	{"month that slides", inPool("{tokens: {quota: 1M/month, shape: sliding_window}}"), []string{
		`f:6:53: tokens: a month has no fixed length: only shape calendar counts one`,
	}},
	{"zone", inPool("{tokens: {quota: 1M/day, zone: America/Los_Angels}}"), []string{
		`f:6:67: tokens: "America/Los_Angels" is not a time zone such as America/Los_Angeles`,
	}},
	{"zone of this machine", inPool("{tokens: {quota: 1M/day, zone: Local}}"), []string{
		`f:6:67: tokens: "Local" is not a time zone such as America/Los_Angeles`,
	}},
	{"zone of a sliding window", inPool("{tokens: {quota: 1M/day, zone: UTC, shape: sliding_window}}"), []string{
		`f:6:61: tokens: only a calendar limit has a zone`,
	}},
	{"period of a sliding window", inPool("{tokens: {quota: 1M, period: day, shape: sliding_window}}"), []string{
		`f:6:57: tokens: only a calendar limit has a period: write window`,
	}},
	{"two windows", inPool("{tokens: {quota: 1M/min, window: h}}"), []string{
		`f:6:61: the limit of tokens has two windows`,
	}},
	{"no quota", inPool("{tokens: {window: h}}"), []string{
		`f:6:45: the limit of tokens in the pool a/p has no quota`,
	}},
	{"burst of a sliding window", inPool("{tokens: {quota: 1M/h, burst: 5, shape: sliding_window}}"), []string{
		`f:6:59: tokens: only a token_bucket has a burst`,
	}},
	{"burst below r D", inPool("{requests: {quota: 60/min, burst: 1, margin: 0%}}"), []string{
		`f:6:47: requests: at D = 1s a token_bucket of "60/min" must have a burst above 1: shorten start_within, or use sliding_window with a shorter second window`,
	}},
	{"margin that leaves nothing", inPool("{requests: {quota: 60/min, margin: 100%}}"), []string{
		`f:6:47: requests: a margin of 100% leaves nothing of the quota 60`,
	}},
	{"two limits of a name", inPool("{requests: [60/min, 70/min]}"), []string{
		"f:6:56: the pool a/p has two limits named \"requests/min\": give one a `name`",
	}},
	{"limit in itself a list", inPool("{requests: [[60/min]]}"), []string{
		`f:6:48: the limit of requests must be a mapping, not a list`,
	}},
	{"no limit", inPool("{requests: [], tokens: }"), []string{
		`f:6:37: requests of the pool a/p has no limit: write one, or remove the line`,
		`f:6:51: tokens of the pool a/p has no limit: write one, or remove the line`,
	}},
	{"limit renamed wrongly", inPool("{requests: [60/min, {quota: 1000/h, was: requests/min}, {quota: 90/day, was: requests/day}]}"), []string{
		`f:6:77: was: there still is limit "requests/min", so its counters stay there`,
		`f:6:113: was: limit "requests/day" has that name already`,
	}},
	{"cost of models without a price", inPool("{cost: $5/day}"), []string{
		"f:6:37: no call can reach this limit of cost: no model of the pool has a price; give one in `models`",
	}},
	{"cost in a fraction of a micro-USD", inPool("{cost: $0.0000001/day}"), []string{
		"f:6:37: no call can reach this limit of cost: no model of the pool has a price; give one in `models`",
		`f:6:43: cost: quota "0.0000001" has more decimals than are counted`,
	}},
}
