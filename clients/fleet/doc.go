// Fleet runs workers in three languages on one budget: each calls a strict stand-in for a
// provider through the official OpenAI SDK of its language, half of the calls streamed, and
// a third of the workers is killed half-way. It prints what the same workers got with
// Watermaster's wrapper, and without.
//
//	go run ./clients/fleet                        # both, a minute each
//	go run ./clients/fleet --readme README.md     # and writes the table there
//
// The workers are programs beside each client: clients/python/tests/worker.py,
// clients/typescript/test/worker.mjs and clients/go/sdktest/worker. All have the same flags
// and tell of each call in a line of JSON; see [call].
package main
