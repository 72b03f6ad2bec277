// Package redistest starts Redis for tests: a server of its own on a free port of the
// loopback, in a temporary directory, that ends with the test.
package redistest
