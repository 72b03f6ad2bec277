// Package standin is a strict stand-in for an LLM provider over HTTP: for tests, for
// demonstrations, and for whoever wants to see what a fleet does at a rate limit without a bill.
//
//	POST /v1/chat/completions   as OpenAI's, plain and streamed
//	POST /v1/responses          likewise
//	POST /v1/messages           as Anthropic's, plain and streamed
//	GET  /v1/models             what every model's name would be accepted as
//	GET  /report                what it has seen so far, as JSON
//	POST /reset                 forgets all of it
//
// One account with one set of limits is behind all paths and all models. It is judged by
// package limiter/simulate/provider, which shares nothing with the engine, in real time and at
// the instant at which a request has been read. What it refuses it refuses as the provider does
// whose path was asked: status, headers, body.
//
// # Tokens
//
// A prompt has as many tokens as a quarter of the bytes of its texts, rounded up. A reply has
// those that Options say, or as many as the request allows, if that is less. The text is made of
// the model's name and the prompt: the same request has the same reply.
//
// A caller that goes away ends its call, with what was produced until then; what was counted
// stays counted as the limits have it.
//
// # Faults on demand
//
// Headers of a request make its answer go wrong, so that clients can be tested:
//
//	x-standin-status: 503   an error of that status, as the provider words it
//	x-standin-cut: 3        the connection breaks after so many events of a stream
//	x-standin-delay: 2s     so much later than else
//	x-standin-output: 200   so many tokens
//	x-standin-cached: 100   so many of the prompt's tokens are read from a cache
//	x-standin-split: 1      a stream is sent in pieces of so many bytes
//
// No prompt and no key is kept or logged.
package standin
