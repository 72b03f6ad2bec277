package redis

import (
	"sync"
	"time"
)

// A marker is a random key that never expires. Who has seen it unchanged for some time
// knows that Redis has lost nothing in that time, so that an organization without a log has
// been idle. It is one for all, or in a cluster one for each slot.
type marker struct {
	value  string
	server string // another may lack the end of what the former had
	since  int64  // monotonic clock
}

type markers struct {
	mu   sync.Mutex
	seen map[string]marker
}

// see notes what a key holds; "": nothing.
func (m *markers) see(key, value string, server string, now int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.seen[key]; value == "" || old.value != value || old.server != server {
		m.seen[key] = marker{value, server, now}
	}
}

// known gives the marker that was seen last, and for how long it has been the same; without
// one 0.
func (m *markers) known(key string, now int64) (value string, kept time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.seen[key]
	if v.value == "" {
		return "", 0
	}
	return v.value, time.Duration(now - v.since)
}
