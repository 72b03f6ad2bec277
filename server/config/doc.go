// Package config reads a configuration: a YAML file, strictly, into the types that the
// policy and the engine work with. [Parse] is pure but for the environment variables
// that a file names; [Load] reads a file; [Config.Describe] and [Compare] are what
// `watermaster check` prints.
//
// All problems of a file are told at once, each with its line and the nearest spelling.
//
// # Limits
//
// A limit is a line, a list of lines, or a mapping:
//
//	requests: 10000/min
//	tokens:   [2M/min, 500M/day]
//	cost:     $500/day                      # USD; resolved to micro-USD
//	concurrency: 400                        # a stock (enqueued_tokens too): never a window
//	images:   {quota: 60, window: min, burst: 10, margin: 5%}
//	requests: {quota: 1000, window: day, zone: America/Los_Angeles}
//
// Windows are s, min (or m), h, day, week, any duration (10s, 1h30m) or number of them
// (10min, 2day), and month. A limit is named metric/window as it is written
// (requests/10s) unless it has a `name`; to write a window otherwise is to rename it.
//
// What is not written:
//
//   - shape: calendar if there is a zone, a period or a month, and for cost by the day or
//     week; token_bucket if there is a burst; else, for a pool, what the provider is known to
//     be (providers.go), and sliding_window for cost and for everybody's own limits. A day
//     is 24 h and a week 168 h unless the shape is calendar: then it begins at midnight
//     (a week on Monday) in `zone`, UTC by default. A month is always a calendar's.
//   - burst: the quota.
//   - margin: the account's (10 %) for a pool's limits, none for own ones.
//   - D, the limit's Jitter: start_within + transit of the account (700 ms + 300 ms); for
//     limits of the organization and its projects, the longest of its accounts.
//
// # Other defaults
//
// A price's cached_input and cache_write are as its input. provider is generic. Without
// `projects` any project may draw, with weight 1; with it, only those named, and those of
// the template "*". Without `priority_classes` there are interactive {weight 16, max_wait
// 10s, reserve 5%}, standard {4, 2m} and batch {1, 1h, max_waiting 5000}; those given
// replace them, and one must be called standard. All but the heaviest are paced. Pressure
// is elevated at 80%, high at 90%, saturated at 100%; from high on it diverts;
// release_after is 30s. A level that leaves something out has it from the level below.
//
// # Credentials
//
//	credentials:
//	  - name: search-workers
//	    sha256: ${SEARCH_KEY_SHA256}              # of the key; a list while a key is rotated
//	    client_certificate: search.workers.acme   # or instead: a SAN, or the common name where there is none
//	    organization: acme                        # "*": any
//	    projects: [search, ads-*]                 # absent: all; the first, unless it ends in *, is what an empty field takes
//	    priority_classes: [interactive, standard] # absent: all
//	    services: [limiter, monitor]              # of limiter, monitor, envoy, admin; absent: these two
//
// No message quotes a value under sha256, and [Config.Redacted] gives the file without
// what may be secret.
//
// # Cold start
//
// cold_start, of the file or of an organization, is what is assumed of the use before a
// process that finds no state: pace (the default): that it was the full quota, evenly;
// wait: all of it in the last instant; trust: none.
//
// # Away
//
// when_away of an account is what each replica grants on its own while the log that they
// share cannot be reached:
//
//	when_away: margin         # the default: its part of the margin that is kept free below the quota
//	when_away: closed         # nothing
//	when_away: {share: 80%}   # its part of so much of what was free when the log was last read
//	when_away: open           # everything: the provider's limits are not kept
//
// A part is the whole divided by max_replicas, of the file or of an organization: 8 by
// default, 1 to 64, and not below the number of replicas that run. A pool of which a part is
// nothing grants nothing. Limits of the organization and its projects, of which no margin is
// kept free, are divided as those of the account that gives the most, and a part of them is
// one at least. Of what one process serves alone none of this matters.
//
// after_loss of an organization says for whom to wait when that log has lost entries, before
// anything is granted: quick (the default), for the processes that were heard in the last
// seconds, 5 s at most; exact, for all that were heard within the longest window, up to that
// long.
//
// # Retries
//
// retry_budget of an organization, 20% by default, is how many retries (attempt above 0) each
// granted first attempt earns; a few a minute are free, and 100% bounds nothing.
//
// # YAML
//
// Anchors, aliases and merge keys work; x-… keys are ignored at every level, so they may
// hold anchors. ${VAR} and ${VAR:-otherwise} are replaced in scalars after parsing; $${
// is a plain ${. A key that is given twice is an error, tags are not used, and a file,
// its nesting and what its aliases unfold to are bounded.
package config
