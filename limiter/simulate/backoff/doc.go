// Package backoff is the baseline: a fleet of workers without a limiter, each of which
// sends its calls when they come up and backs off on 429 as the official SDKs do.
//
// It is a discrete-event simulation in virtual time against a
// [github.com/watermaster-project/watermaster/limiter/simulate/provider]. Each row of a
// trace is sent at its time and reaches the provider after a delay of U(0, Transit). An
// admitted call runs for Config.Service. A refused one is sent again as the SDK's rules
// say, and has failed when the SDK gives up: the worker returns an error, nobody queues
// it again. The answer takes no time to come back.
//
//	result, err := backoff.Run(backoff.Config{
//		Provider: config,
//		Transit:  time.Second,
//		Service:  func(r trace.Row) time.Duration { return time.Second + time.Duration(r.Output)*20*time.Millisecond },
//		SDK:      backoff.OpenAIPython,
//	}, trace.All("requests.csv.gz", trace.Options{}))
//
// The same configuration, rows and seed give the same result to the last digit.
package backoff
