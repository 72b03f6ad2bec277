package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Log measures the work on the logs of all organizations.
type Log struct {
	append, read, apply, commands histogram
	failures                      atomic.Uint64
}

// A Time is when a part of the work began.
type Time time.Duration

var began = time.Now()

// Now costs half of what time.Now does.
func Now() Time { return Time(time.Since(began)) }

// Committed measures a batch of commands: when its append began, and when that was done and
// applying what came back began. It has just been applied.
func (l *Log) Committed(batch int, appending, applying Time) {
	l.append.observe(int64(applying - appending))
	l.apply.observe(int64(Now() - applying))
	l.commands.observe(int64(batch))
}

// Failed counts an append that failed. It may be tried again.
func (l *Log) Failed() { l.failures.Add(1) }

func (l *Log) collect(to chan<- prometheus.Metric) {
	l.append.collect(to, logAppendSeconds)
	l.read.collect(to, logReadSeconds)
	l.apply.collect(to, logApplySeconds)
	l.commands.collect(to, logBatchCommands)
	to <- counter(logAppendFailures, l.failures.Load())
}
