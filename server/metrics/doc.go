// Package metrics counts what a server does and shows it to Prometheus. METRICS.md, beside the
// package server, says what each metric means and what to do about it.
//
// # What is counted, and what is looked at
//
// What happens is counted where it happens, by atomics that are found beforehand: those of a
// class by its place in the configuration, those of the log by a pointer. Counting takes no
// lock that decisions need and allocates nothing. How things stand (limits, waiters, leases,
// gates) is asked of the server at a scrape, and kept nowhere.
//
// # Bounded labels
//
// A label's value is a name of the configuration, or one of a fixed list; never what a request
// says. Projects may be made from a template by whoever names one, so at most [MaxProjects] of
// an organization are told apart (project.go). The others are counted together, as project
// "other".
//
// # Reloads
//
// What keeps its name goes on. What is renamed begins anew under its new name, and the series
// of the former name end; so do those of what is taken out of the configuration. If it comes
// back, its counters go on from where they were.
//
// # Several replicas
//
// A call, an expired lease or a 429 is counted by one process, the one that was called or
// whose command let the time pass, so that sums over replicas count each once. How things
// stand every replica shows alike: there take the maximum.
package metrics
