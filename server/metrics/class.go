package metrics

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// A Class counts the answers to Acquire of one priority class.
type Class struct {
	name     string
	granted  atomic.Uint64
	again    atomic.Uint64
	waiting  atomic.Uint64
	rejected [maxReasons]atomic.Uint64
	waited   histogram
}

func newClass(name string) *Class { return &Class{name: name, waited: waits.histogram()} }

// Granted counts a grant that was told, after a wait over all calls of its request.
func (c *Class) Granted(waited time.Duration) {
	c.granted.Add(1)
	c.waited.observe(int64(waited))
}

// GrantedAgain counts a grant that was told once more.
func (c *Class) GrantedAgain() { c.again.Add(1) }

// Waiting counts an answer that the caller should ask again.
func (c *Class) Waiting() { c.waiting.Add(1) }

// Rejected counts a refusal.
func (c *Class) Rejected(r pb.Reason) {
	if r < 0 || r >= maxReasons {
		r = 0
	}
	c.rejected[r].Add(1)
}

// maxReasons bounds the numbers of reasons.
const maxReasons = 16

// reasons are the numbers of all reasons, ascending, and how they are shown.
var reasons, reasonNames = func() (list []int32, names [maxReasons]string) {
	for n, name := range pb.Reason_name {
		list = append(list, n)
		names[n] = strings.ToLower(strings.TrimPrefix(name, "REASON_"))
	}
	slices.Sort(list)
	return list, names
}()

func (c *Class) collect(to chan<- prometheus.Metric, organization string) {
	count := func(n *atomic.Uint64, decision, reason string) {
		to <- counter(decisions, n.Load(), organization, decision, reason, c.name)
	}
	count(&c.granted, "granted", "")
	count(&c.again, "granted", "again")
	count(&c.waiting, "wait", "")
	for _, n := range reasons {
		if n > 0 || c.rejected[n].Load() > 0 {
			count(&c.rejected[n], "rejected", reasonNames[n])
		}
	}
	c.waited.collect(to, waitSeconds, organization, c.name)
}
