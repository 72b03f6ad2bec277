package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Replica counts what this process does with the log of one organization. Nil counts nothing.
type Replica struct {
	log                 *Log
	breaks              [breaks]atomic.Uint64
	restored, uncounted atomic.Uint64
	rollCalls           histogram
}

// A Break is why a log had to be loaded again.
type Break int

// What breaks a log.
const (
	Gone    Break = iota // there is none any more: it was begun anew
	History              // it is another: begun by another process, or another server answers
	Trimmed              // this process lagged so far behind that it missed entries
	Digest               // the same entries were decided otherwise: a fault
	breaks
)

func (b Break) String() string {
	return [breaks]string{"gone", "history", "trimmed", "digest"}[b]
}

// Appended measures a batch that was appended: when that began, and when it was done and
// applying what came back began. It has just been applied.
func (r *Replica) Appended(batch int, appending, applying Time) {
	if r != nil {
		r.log.Committed(batch, appending, applying)
	}
}

// Read measures a look for what others have appended: when that began and ended.
func (r *Replica) Read(reading, applying Time) {
	if r != nil {
		r.log.read.observe(int64(applying - reading))
	}
}

// Failed counts an append that failed. It may be tried again.
func (r *Replica) Failed() {
	if r != nil {
		r.log.Failed()
	}
}

// Broke counts a break.
func (r *Replica) Broke(why Break) {
	if r != nil {
		r.breaks[why].Add(1)
	}
}

// Restored counts leases that the log had lost and that this process put back.
func (r *Replica) Restored(leases int) {
	if r != nil {
		r.restored.Add(uint64(max(0, leases)))
	}
}

// Uncounted counts those of them that others may have granted on top of.
func (r *Replica) Uncounted(grants int) {
	if r != nil {
		r.uncounted.Add(uint64(max(0, grants)))
	}
}

// RollCall measures a roll call that has ended, in log time.
func (r *Replica) RollCall(took time.Duration) {
	if r != nil {
		r.rollCalls.observe(int64(took))
	}
}

func (r *Replica) collect(to chan<- prometheus.Metric, organization string) {
	for b := range breaks {
		to <- counter(logBreaks, r.breaks[b].Load(), organization, b.String())
	}
	to <- counter(restoredLeases, r.restored.Load(), organization)
	to <- counter(uncountedGrants, r.uncounted.Load(), organization)
	r.rollCalls.collect(to, rollCallSeconds, organization)
}
