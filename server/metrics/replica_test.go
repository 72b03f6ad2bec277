package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestReplica: what happens to a shared log is shown by organization, and nothing of a log
// that is not shared.
func TestReplica(t *testing.T) {
	s := New(func() State { return State{} })
	v := View{Edition: s.Edition(configured(), &configured().Organizations[0])}
	alone := testutil.CollectAndCount(shown(func(to chan<- prometheus.Metric) { v.collect(to) }), "watermaster_log_breaks_total",
		"watermaster_restored_leases_total", "watermaster_uncounted_grants_total", "watermaster_roll_call_seconds",
		"watermaster_roll_call_missing", "watermaster_replicas", "watermaster_store_away")
	want(t, "metrics of a log that is not shared", alone, 0)

	r := v.Edition.Replica
	r.Committed(3, Now(), Now())
	r.Read(Now(), Now())
	r.Failed()
	for b, n := range map[string]int{"gone": 1, "history": 2, "trimmed": 3, "digest": 4, "unheard of": 5} {
		for range n {
			r.Broke(b)
		}
	}
	r.Restored(7)
	r.Restored(-1)
	r.Uncounted(2)
	r.RollCall(90 * time.Millisecond)
	v.Shared, v.Replicas, v.Missing, v.Away = true, 3, 1, true
	err := testutil.CollectAndCompare(shown(func(to chan<- prometheus.Metric) { v.collect(to) }), strings.NewReader(`
# HELP watermaster_log_breaks_total How often a shared log was loaded again: it was gone and was begun anew (gone), it is another or of another server (history), this process lagged too far behind (trimmed), it had decided otherwise than another (digest), or somebody said so (command).
# TYPE watermaster_log_breaks_total counter
watermaster_log_breaks_total{cause="command",organization="acme"} 0
watermaster_log_breaks_total{cause="digest",organization="acme"} 4
watermaster_log_breaks_total{cause="gone",organization="acme"} 1
watermaster_log_breaks_total{cause="history",organization="acme"} 2
watermaster_log_breaks_total{cause="other",organization="acme"} 5
watermaster_log_breaks_total{cause="trimmed",organization="acme"} 3
# HELP watermaster_replicas Processes that were heard of in the organization's shared log within the last 10 s of its time. One without callers is not heard of.
# TYPE watermaster_replicas gauge
watermaster_replicas{organization="acme"} 3
# HELP watermaster_restored_leases_total Leases that a shared log had lost and that this process put back.
# TYPE watermaster_restored_leases_total counter
watermaster_restored_leases_total{organization="acme"} 7
# HELP watermaster_roll_call_missing Processes that a roll call waits for now. 0: there is none under way.
# TYPE watermaster_roll_call_missing gauge
watermaster_roll_call_missing{organization="acme"} 1
# HELP watermaster_store_away 1 while this process cannot reach the organization's shared log, else 0.
# TYPE watermaster_store_away gauge
watermaster_store_away{organization="acme"} 1
# HELP watermaster_uncounted_grants_total Grants that were in force while others granted without knowing of them, until this process put them back.
# TYPE watermaster_uncounted_grants_total counter
watermaster_uncounted_grants_total{organization="acme"} 2
`), "watermaster_log_breaks_total", "watermaster_restored_leases_total", "watermaster_uncounted_grants_total",
		"watermaster_roll_call_missing", "watermaster_replicas", "watermaster_store_away")
	if err != nil {
		t.Error(err)
	}
	for _, h := range []*histogram{&s.Log.append, &s.Log.read, &s.Log.commands, &r.rollCalls} {
		if h.empty() {
			t.Error("something was not measured")
		}
	}
	want(t, "appends that failed", s.Log.failures.Load(), 1)
}
