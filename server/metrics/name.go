package metrics

import "github.com/prometheus/client_golang/prometheus"

// described are all metrics, in the order in which they stand here.
var described []*prometheus.Desc

func describe(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc(name, help, labels, nil)
	described = append(described, d)
	return d
}

var ofLimit = []string{"organization", "account", "pool", "project", "metric", "window"}

var (
	limitUtilization = describe("watermaster_limit_utilization_ratio",
		"What a limit has held and reserved, as a part of its effective quota. 1 is full; above 1 after debts or a lowered quota.", ofLimit...)
	limitRemaining = describe("watermaster_limit_remaining",
		"What a limit has left: effective quota less held and reserved, in the metric's unit (cost in micro-USD).", ofLimit...)
	limitQuota = describe("watermaster_limit_quota",
		"A limit as it is configured, in the metric's unit (cost in micro-USD).", ofLimit...)
	limitEffective = describe("watermaster_limit_effective_quota",
		"A limit's quota less its margin, in the metric's unit (cost in micro-USD).", ofLimit...)

	decisions = describe("watermaster_decisions_total",
		"Answers to Acquire: granted, wait (ask again, the place is kept) or rejected. The reason says why a request was rejected, or that a grant was told again.",
		"organization", "decision", "reason", "priority_class")
	waitSeconds = describe("watermaster_wait_seconds",
		"How long granted requests waited from the arrival of their first Acquire until the grant, in seconds.", "organization", "priority_class")
	waiters = describe("watermaster_waiters",
		"Requests that wait now, those included whose caller is just asking again.", "organization", "priority_class")
	longestWait = describe("watermaster_longest_wait_seconds",
		"How long the request has waited that waits longest now, in seconds. 0: none waits.", "organization", "priority_class")
	maxWaiters = describe("watermaster_max_waiters",
		"How many requests may wait in all organizations together before more are rejected as queue_full.")

	leases        = describe("watermaster_leases", "Leases in force.", "organization")
	leasesExpired = describe("watermaster_leases_expired_total",
		"Leases that ended by their TTL: the worker neither released nor renewed them.", "organization", "project")
	lateStarts = describe("watermaster_late_starts_total",
		"Calls whose start_within was over before they were sent (sent=true), or before they were given up as unsent (sent=false).",
		"organization", "project", "sent")
	estimateRatio = describe("watermaster_estimate_ratio",
		"Tokens that a call used as a part of those it was charged for at its grant. Above 1 its worker under-estimated.", "organization", "project")
	debtTokens = describe("watermaster_debt_tokens_total",
		"Tokens that calls used beyond what they were charged for at their grant. They were charged afterwards, whatever room there was.",
		"organization", "project")

	providerThrottled = describe("watermaster_provider_throttled_total",
		"Calls that the provider refused with 429, as workers told.", "organization", "account", "pool")
	gatesClosed = describe("watermaster_gates_closed",
		"Gates of a pool that are closed now: throttled, until a provider's time is over; blocked, for a reason that waiting does not cure.",
		"organization", "account", "pool", "cause")

	logAppendSeconds = describe("watermaster_log_append_seconds",
		"How long the log took to append one batch of commands, in seconds.")
	logReadSeconds = describe("watermaster_log_read_seconds",
		"How long it took to read what other processes have appended, after a nudge or in an idle moment, in seconds.")
	logApplySeconds = describe("watermaster_log_apply_seconds",
		"How long the engine took to apply what came back of one append, in seconds.")
	logBatchCommands = describe("watermaster_log_batch_commands",
		"Commands in one batch.")
	logAppendFailures = describe("watermaster_log_append_failures_total",
		"Appends that failed. Each batch is tried several times before its calls are answered UNAVAILABLE.")
	logTailBytes = describe("watermaster_log_tail_bytes",
		"Bytes in the log behind the latest snapshot: what a start has to replay. Absent where the log keeps no entries.", "organization")
	snapshotBytes = describe("watermaster_snapshot_bytes",
		"Bytes of the latest snapshot that this process took. 0: none. Absent where the log keeps no entries.", "organization")

	logBreaks = describe("watermaster_log_breaks_total",
		"How often a shared log was loaded again: it was gone and was begun anew (gone), it is another or of another server (history), "+
			"this process lagged too far behind (trimmed), it had decided otherwise than another (digest), or somebody said so (command).", "organization", "cause")
	restoredLeases = describe("watermaster_restored_leases_total",
		"Leases that a shared log had lost and that this process put back.", "organization")
	uncountedGrants = describe("watermaster_uncounted_grants_total",
		"Grants that were in force while others granted without knowing of them, until this process put them back.", "organization")
	rollCallSeconds = describe("watermaster_roll_call_seconds",
		"How long nothing was granted after a loss, until every process that was alive had put back what it knew, in seconds.", "organization")
	rollCallMissing = describe("watermaster_roll_call_missing",
		"Processes that a roll call waits for now. 0: there is none under way.", "organization")
	replicas = describe("watermaster_replicas",
		"Processes that were heard of in the organization's shared log within the last 10 s of its time. One without callers is not heard of.", "organization")
	storeAway = describe("watermaster_store_away",
		"1 while this process cannot reach the organization's shared log, else 0.", "organization")
	aloneGrants = describe("watermaster_alone_grants_total",
		"Grants that this process made on its own while it could not reach the shared log, by what allowed them (when_away).", "organization", "policy")

	rateLimitRequests = describe("watermaster_ratelimit_requests_total",
		"Answers to Envoy by the limits of a domain, by their overall code: ok, over_limit, or shadowed (over, and let through by --envoy-shadow).", "domain", "code")
	rateLimitHits = describe("watermaster_ratelimit_hits_total",
		"Hits that were asked of a rule of a domain's limits. Each is within or over.", "domain", "rule")
	rateLimitOver = describe("watermaster_ratelimit_over_limit_hits_total",
		"Hits that were over a rule's limit.", "domain", "rule")
	rateLimitNear = describe("watermaster_ratelimit_near_limit_hits_total",
		"Hits within a rule's limit that took a counter above 80 % of it.", "domain", "rule")
	rateLimitWithin = describe("watermaster_ratelimit_within_limit_hits_total",
		"Hits within a rule's limit. They were charged, unless another descriptor of the request was over.", "domain", "rule")
	rateLimitShadow = describe("watermaster_ratelimit_shadow_hits_total",
		"Hits over a rule's limit that were let through nevertheless: by shadow_mode, quota_mode or --envoy-shadow.", "domain", "rule")
	rateLimitFullest = describe("watermaster_ratelimit_fullest_ratio",
		"How full the fullest counter of a rule was that requests met in the last one to two minutes. 1 is full; above 1 where what is over was charged.", "domain", "rule")
	rateLimitCounters = describe("watermaster_ratelimit_counters",
		"Counters of a domain that are not empty.", "domain")
	rateLimitEvicted = describe("watermaster_ratelimit_evicted_counters_total",
		"Counters of a domain that were forgotten while they still counted, since it had as many as it may.", "domain")
	rateLimitLoads = describe("watermaster_ratelimit_config_loads_total",
		"Attempts to put the limits of --envoy-limits in force, by their result: ok or failed.", "result")
	rateLimitLastLoad = describe("watermaster_ratelimit_config_last_load_successful",
		"1 if the latest attempt to put the limits of --envoy-limits in force succeeded, else 0: what is in force is older than the files.")
	rateLimitLastSuccess = describe("watermaster_ratelimit_config_last_load_success_timestamp_seconds",
		"When the limits of --envoy-limits were put in force last, in seconds since 1970.")
	rateLimitLastFailure = describe("watermaster_ratelimit_config_last_load_failure_timestamp_seconds",
		"When an attempt to put the limits of --envoy-limits in force failed last, in seconds since 1970. 0: never.")

	configInfo = describe("watermaster_config_info",
		"1, with the revision and the hash of the configuration in force.", "revision", "hash")
	configReloads = describe("watermaster_config_reloads_total",
		"Attempts to put another configuration in force, by their result: ok or failed.", "result")
	configLastReload = describe("watermaster_config_last_reload_successful",
		"1 if the latest attempt to put a configuration in force succeeded, else 0: what is in force is older than the file.")
	configLastSuccess = describe("watermaster_config_last_reload_success_timestamp_seconds",
		"When a configuration was put in force last, at the start or later, in seconds since 1970.")
	configLastFailure = describe("watermaster_config_last_reload_failure_timestamp_seconds",
		"When an attempt to put a configuration in force failed last, in seconds since 1970. 0: never.")

	organizationsLost = describe("watermaster_organizations_lost",
		"Organizations whose state is lost to a fault. They decide nothing, and the server is not ready.")
	enginePanics = describe("watermaster_engine_panics_total",
		"Panics of the engine that were survived; the command was left out.", "organization")
	handlerPanics = describe("watermaster_handler_panics_total",
		"Panics of gRPC handlers that were survived; the call was answered INTERNAL.")
	coldStart = describe("watermaster_cold_start",
		"1 if the organization began without knowing what was used before, with what was assumed of it: pace, wait or trust. Absent: it knew.",
		"organization", "assumed")
	refusedCalls = describe("watermaster_refused_calls_total",
		"Calls and requests for pages that were not let through: without a credential that is known (unauthenticated), or for what it is not for (denied).", "cause")
	buildInfo = describe("watermaster_build_info",
		"1, with the version, the commit and the version of Go that the server was built from.", "version", "commit", "go_version")

	handled = describe("grpc_server_handled_total",
		"Calls that have ended, those by JSON over HTTP included, by method and code.", "grpc_type", "grpc_service", "grpc_method", "grpc_code")
	handlingSeconds = describe("grpc_server_handling_seconds",
		"How long unary calls took in the server, in seconds. An Acquire that waits takes as long as it is held open.", "grpc_type", "grpc_service", "grpc_method")
)
