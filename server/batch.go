package server

import (
	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/store"
)

// payloadVersion begins the payload of every entry; what follows are commands, one
// behind the other.
const payloadVersion = 1

// A batch is what one append carries: the commands of all callers that came while the
// append before it was under way.
type batch struct {
	store.Batch         // Number is 0 until it is closed
	calls       []*call // by command; nil where nobody waits for the outcome
}

// add appends a command on behalf of a call, which may be nil.
func (b *batch) add(cmd limiter.Command, c *call) {
	if len(b.Payload) == 0 {
		b.Payload = append(b.Payload, payloadVersion)
	}
	b.Payload = limiter.AppendCommand(b.Payload, cmd)
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
	*b = batch{Batch: store.Batch{Payload: b.Payload[:0]}, calls: b.calls[:0]}
	if cap(b.Payload) > maxSparePayload {
		b.Payload = nil
	}
}

// maxSparePayload bounds the buffer that an idle organization keeps.
const maxSparePayload = 64 << 10
