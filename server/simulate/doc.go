// Package simulate replays traces of requests in virtual time through what serves: the policy
// that turns a request into charges, and the engine that decides. In place of the providers
// stand strict stand-ins, which refuse what exceeds a quota by an instant.
//
//	outcome, err := simulate.Replay(simulate.Options{Config: cfg, Trace: "requests.csv.gz", Load: 1.5, …})
//	outcome.Report.WriteText(os.Stdout)
//	outcome.WritePlot(file)
//
// A replay reads the trace three times: to survey what it asks for, through the engine, and
// through the same fleet without a limiter, which backs off on 429. Rows are streamed; what is
// kept is a number per wait, second and limit.
//
//	feed      the rows of the trace, with the classes and projects of the configuration
//	survey    the load that it offers, and so the pace at which it is replayed
//	Standin   the provider behind a pool, as its account's preset and limits say
//	Fleet     workers before one engine and the providers, in virtual time
//	Clerk     what the workers ask for and tell
//	Report    what came of it: tables, JSON, a plot
//
// Nothing here reads a clock, and all that is random is drawn by a seed: the same options give
// the same outcome to the last digit.
package simulate
