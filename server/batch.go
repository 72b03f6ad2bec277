package server

import (
	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/replica"
)

// A batch is what one append carries: the commands of all callers that came while the
// append before it was under way.
type batch struct {
	replica.Batch
	calls []*call // by command; nil where nobody waits for the outcome
}

// add appends a command on behalf of a call, which may be nil.
func (b *batch) add(cmd limiter.Command, c *call) {
	b.Add(cmd)
	b.calls = append(b.calls, c)
}

// next gives the first call that waits, or nil.
func (b *batch) next() *call {
	for _, c := range b.calls {
		if c != nil {
			return c
		}
	}
	return nil
}

// clear makes a batch ready for other commands, keeping its memory.
func (b *batch) clear() {
	clear(b.calls)
	b.calls = b.calls[:0]
	b.Clear()
}
