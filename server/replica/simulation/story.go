package simulation

import (
	"fmt"
	"hash/fnv"
	"io"
	"time"
)

// A story tells what happened in a world, line by line.
type story struct {
	to     io.Writer // nil: nobody reads it
	digest uint64
}

// tell adds a line. What it is told must not depend on anything but the seed.
func (w *world) tell(format string, args ...any) {
	if w.story == nil {
		return
	}
	line := fmt.Sprintf("%11.6f  %s\n", float64(w.now())/float64(time.Second), fmt.Sprintf(format, args...))
	h := fnv.New64a()
	_, _ = h.Write([]byte(line))
	w.story.digest = w.story.digest*1099511628211 ^ h.Sum64()
	if w.story.to != nil {
		_, _ = io.WriteString(w.story.to, line)
	}
}
