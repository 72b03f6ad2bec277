package replica

import (
	"encoding/binary"
	"slices"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/store"
)

// The payload of an entry is a version, what belongs to it, and commands one behind the other.
const (
	plainVersion = 1 // nothing more
	// standVersion: how the sender's engine stood when the batch was closed, see stand:
	// history 4, entries 8, digest 8.
	standVersion = 2
	headLen      = 1 + 4 + 8 + 8
)

// A Batch is what one append carries: commands that came while the append before it was under
// way.
type Batch struct {
	store.Batch // Number is 0 until it is closed
	commands    int
	bytes       []byte // room for the head, then the commands
}

// Add appends a command.
func (b *Batch) Add(cmd limiter.Command) {
	if len(b.bytes) == 0 {
		b.bytes = slices.Grow(b.bytes, headLen)[:headLen]
	}
	b.bytes = limiter.AppendCommand(b.bytes, cmd)
	b.commands++
}

// Len says how many commands there are.
func (b *Batch) Len() int { return b.commands }

// Clear makes a batch ready for other commands, keeping its memory.
func (b *Batch) Clear() {
	*b = Batch{bytes: b.bytes[:0]}
	if cap(b.bytes) > maxSpare {
		b.bytes = nil
	}
}

// maxSpare bounds the buffer that an idle batch keeps.
const maxSpare = 64 << 10

// A stand is how an engine stood after so many entries of a history. Engines of one history
// that have applied as many entries have the same digest.
type stand struct {
	history uint32 // the lower half of store.Snapshot.History
	entries uint64
	digest  uint64
}

// write finishes the payload. Without a stand it is what a log of one process has.
func (b *Batch) write(s *stand) {
	if len(b.bytes) == 0 {
		b.bytes = slices.Grow(b.bytes, headLen)[:headLen]
	}
	if s == nil {
		b.bytes[headLen-1] = plainVersion
		b.Payload = b.bytes[headLen-1:]
		return
	}
	b.bytes[0] = standVersion
	binary.BigEndian.PutUint32(b.bytes[1:], s.history)
	binary.BigEndian.PutUint64(b.bytes[5:], s.entries)
	binary.BigEndian.PutUint64(b.bytes[13:], s.digest)
	b.Payload = b.bytes
}

// open takes a payload apart. It says false for one of a version that is not known, or cut.
func open(payload []byte) (s stand, has bool, commands []byte, ok bool) {
	switch {
	case len(payload) == 0:
		return s, false, nil, true
	case payload[0] == plainVersion:
		return s, false, payload[1:], true
	case payload[0] == standVersion && len(payload) >= headLen:
		return stand{
			binary.BigEndian.Uint32(payload[1:]), binary.BigEndian.Uint64(payload[5:]), binary.BigEndian.Uint64(payload[13:]),
		}, true, payload[headLen:], true
	}
	return s, false, nil, false
}

// withoutAcquires gives the commands of a batch whose callers have been sent away: what they
// asked for they ask again, and what they told is still to be told.
func (b *Batch) withoutAcquires() *Batch {
	rest := &Batch{}
	if len(b.bytes) == 0 {
		return rest
	}
	var d limiter.Decoder
	for commands := b.bytes[headLen:]; len(commands) > 0; {
		cmd, next, err := d.Command(commands)
		if err != nil {
			return rest // it was encoded just now: this does not happen
		}
		switch cmd.(type) {
		case *limiter.Acquire, *limiter.Join, *limiter.Loss, *limiter.Restore:
		default:
			rest.Add(cmd)
		}
		commands = next
	}
	return rest
}
