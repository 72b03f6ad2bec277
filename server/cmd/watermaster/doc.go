// Command watermaster shares out the rate limits of LLM providers among fleets of workers.
//
//	watermaster serve --config FILE   serves over gRPC and HTTP
//	watermaster check FILE            says what is wrong with a configuration, or what it sets
//	watermaster import-envoy DIR      prints the configuration that limits of envoyproxy/ratelimit are
//	watermaster simulate --config FILE --trace FILE   replays a trace in virtual time
//	watermaster top                   shows how full every limit of a running server is
//	watermaster healthcheck           says whether a running server serves
//	watermaster key                   makes a key for a caller
//	watermaster version
//
// It is the only place that names a concrete log. Flags may come from the environment:
// --log-level is WATERMASTER_LOG_LEVEL.
package main
