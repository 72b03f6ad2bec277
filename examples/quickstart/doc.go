// Command quickstart is a fleet of workers in one process. It replays a trace of LLM
// requests in real time against a strict stand-in for a provider, and asks a running
// watermaster before each call:
//
//	watermaster serve --config examples/quickstart/config.yaml &
//	go run ./examples/quickstart --for 60s
//
// The stand-in has the quotas of config.yaml and refuses with 429 whatever exceeds them. At
// the end stand how often that happened, how much of the quota was used, and how
// long each priority class waited.
package main
