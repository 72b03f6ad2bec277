// Package envoy holds configurations of Envoy that ask Watermaster before each call, to be run as
// they are, and the tests that run them: a real Envoy, a watermaster and a strict stand-in for the
// provider. README.md tells what each is for.
package envoy
