// Package watermaster is the client of Watermaster, a service that shares out the rate limits
// of LLM providers.
//
// A [Limiter] asks the service before each call to a provider, holds the lease while the call
// runs and tells afterwards what was used:
//
//	limiter, err := watermaster.New("localhost:8081", watermaster.Options{Organization: "acme", Project: "search"})
//	...
//	defer limiter.Close()
//	err = limiter.Do(ctx, watermaster.Request{Model: "gpt-5", InputTokens: 1200, MaxOutputTokens: watermaster.Tokens(500)},
//		func(ctx context.Context, lease *watermaster.Lease) error {
//			answer, err := call(ctx, lease.Target.Model)
//			if err != nil {
//				return err
//			}
//			lease.SetUsage(watermaster.Usage{InputTokens: &answer.In, OutputTokens: &answer.Out})
//			return nil
//		})
//
// One lease is good for one HTTP attempt. A refusal is a [*Rejected], a service that cannot be
// reached an [*Unavailable], and a request that the service finds wrong a [*CallError]; all are
// for errors.As. How a call waits and what it may use comes from the service's configuration.
//
// A Limiter is for the whole process and safe for concurrent use. It opens connections and
// starts goroutines when they are needed, and Close ends them all.
package watermaster
