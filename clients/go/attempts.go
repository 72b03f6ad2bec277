package watermaster

import "sync"

// rememberedIDs is how many request ids the attempts are counted of; the oldest are forgotten.
const rememberedIDs = 4096

// attempts numbers the HTTP attempts of request ids that callers chose, so that two calls under
// one id never share a grant.
type attempts struct {
	mu    sync.Mutex
	next  map[string]uint32
	order []string // a ring, once it is full
	at    int
}

// take is the next attempt of the id, and no less than atLeast.
func (a *attempts) take(id string, atLeast uint32) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	next, known := a.next[id]
	if !known {
		if a.next == nil {
			a.next = map[string]uint32{}
		}
		if len(a.order) < rememberedIDs {
			a.order = append(a.order, id)
		} else {
			delete(a.next, a.order[a.at])
			a.order[a.at] = id
			a.at = (a.at + 1) % rememberedIDs
		}
	}
	attempt := max(next, atLeast)
	a.next[id] = attempt + 1
	return attempt
}

// giveBack lets an attempt that was not granted be taken again: its place in the queue is kept.
func (a *attempts) giveBack(id string, attempt uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if next, known := a.next[id]; known && next == attempt+1 {
		a.next[id] = attempt
	}
}
