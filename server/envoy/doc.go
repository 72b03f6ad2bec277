// Package envoy reads the limits of envoyproxy/ratelimit's format, finds those that a request
// of Envoy's is held to, and builds the answer. It has no clock, and no I/O but [Load]; what
// is drawn on is the engine's to decide:
//
//	RateLimitRequest ── Domain.Match ── limiter.Hit ── engine ── events ── Match.Response
//
// # Files
//
// Every file of a directory and its subdirectories is read, whatever it is called, but those
// whose names begin with a dot (an editor's, git's, and the ..data that Kubernetes swaps
// below a ConfigMap). What links lead to is read once. A file holds one domain:
//
//	domain: gateway
//	descriptors:
//	  - key: user                 # any user: a counter for each
//	    rate_limit: {unit: minute, requests_per_unit: 60}
//	  - key: user
//	    value: alice              # goes before the one without a value
//	    rate_limit: {unit: minute, requests_per_unit: 600, name: alice}
//	    descriptors: []           # more entries of the same descriptor
//
// Beside rate_limit stand shadow_mode, quota_mode, detailed_metric, value_to_metric,
// share_threshold and metadata; within it unit, requests_per_unit, unlimited, name and
// replaces. All problems of all files are told at once, with their lines. A key that exists,
// but has no effect where it stands, is a warning.
//
// What envoyproxy/ratelimit's own YAML takes is taken: anchors and merges, numbers as values,
// yes and no. Stricter is that a key given twice in a mapping, a second document in a file, and
// a directory without any file are errors; and that files are at most 1 MiB.
//
// # Lookup
//
// Entry by entry: key and value as they are; else the first wildcard of the file that fits;
// else the key alone. The first that there is decides: what lies beside it is not tried if
// the next entry fits nothing below. A limit holds if the last entry arrives at it.
//
// As there, key and value are looked up joined by "_": key a_b is key a with value b.
//
// # Counters
//
// A limit has one counter for each sequence of entries, or one for all values that a wildcard
// with share_threshold fits. An override draws on the counter that its entries have anyway, if
// the window is the same. A counter's name is a digest of its entries and its window, so that
// it is the same at every replica, after a restart, and after a reload that changes the quota.
// Windows slide, and are exact: a month is 30 days and a year 365.
package envoy
