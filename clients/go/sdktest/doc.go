// Package sdktest tests the client beneath the official SDKs of OpenAI and Anthropic, against
// real processes of `watermaster serve` and of `watermaster provider`. It is a module of its own, so
// that whoever uses the client does not have the SDKs among what it depends on.
package sdktest
