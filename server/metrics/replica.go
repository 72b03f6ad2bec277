package metrics

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/watermaster-project/watermaster/server/config"
)

// A Replica counts what this process does with the log of one organization.
type Replica struct {
	log                 *Log
	breaks              [len(breaks)]atomic.Uint64
	restored, uncounted atomic.Uint64
	rollCalls           histogram
	alone               [config.AwayPolicies]atomic.Uint64 // grants
}

// breaks are the causes for which a log is loaded again; package replica says what they mean.
var breaks = [...]string{"gone", "history", "trimmed", "digest", "command", other}

// Committed measures a batch of commands: when its append began, and when that was done and
// applying what came back began. It has just been applied.
func (r *Replica) Committed(batch int, appending, applying Time) {
	r.log.Committed(batch, appending, applying)
}

// Read measures a look for what others have appended: when that began and ended.
func (r *Replica) Read(reading, applying Time) { r.log.read.observe(int64(applying - reading)) }

// Failed counts an append or a look that failed. It may be tried again.
func (r *Replica) Failed() { r.log.Failed() }

// Broke counts a log that was loaded again for a cause.
func (r *Replica) Broke(cause string) {
	i := slices.Index(breaks[:], cause)
	if i < 0 {
		i = len(breaks) - 1
	}
	r.breaks[i].Add(1)
}

// Restored counts leases that the log had lost and that this process put back.
func (r *Replica) Restored(leases int) { r.restored.Add(uint64(max(0, leases))) }

// Uncounted counts those of them that others may have granted on top of.
func (r *Replica) Uncounted(grants int) { r.uncounted.Add(uint64(max(0, grants))) }

// Alone counts a grant that was made without the log.
func (r *Replica) Alone(by config.AwayPolicy) {
	if r != nil {
		r.alone[by].Add(1)
	}
}

// RollCall measures a roll call that has ended, in log time.
func (r *Replica) RollCall(length time.Duration) { r.rollCalls.observe(int64(length)) }

func (r *Replica) collect(to chan<- prometheus.Metric, organization string) {
	for i, cause := range breaks {
		to <- counter(logBreaks, r.breaks[i].Load(), organization, cause)
	}
	to <- counter(restoredLeases, r.restored.Load(), organization)
	to <- counter(uncountedGrants, r.uncounted.Load(), organization)
	for p := range config.AwayPolicies {
		if p != config.AwayClosed { // which grants nothing
			to <- counter(aloneGrants, r.alone[p].Load(), organization, p.String())
		}
	}
	r.rollCalls.collect(to, rollCallSeconds, organization)
}
